"""What a backend says of its own load."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoadReport:
    """One report. Utilisation in percent of what there is, 0 to 100."""

    cpu_pct: float = 0.0
    mem_pct: float = 0.0
    net_pct: float = 0.0
    io_pct: float = 0.0
    in_flight: int | None = None
    """Requests being served (a probe's answer pushed unasked)."""
    latency_s: float | None = None
    """The backend's own estimate of its latency."""
