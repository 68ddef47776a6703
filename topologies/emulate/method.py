"""The seam between a network and the way its links get their delay and loss."""

from dataclasses import asdict, dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class DirectionCounters:
    """What one direction of one link did to its packets so far.

    `seen` packets came in, `dropped` of them were lost on purpose, `overflow` were lost because
    the emulation could not keep up. `late` were released more than 1 ms after their time;
    `lateness_*_ms` (median, 99 %, 99.9 %, maximum) are over all released, None where the kernel
    schedules the packets and does not tell; the quantiles are rounded up to 0.1 ms.
    """

    seen: int = 0
    dropped: int = 0
    late: int = 0
    overflow: int = 0
    lateness_p50_ms: float | None = None
    lateness_p99_ms: float | None = None
    lateness_p999_ms: float | None = None
    lateness_max_ms: float | None = None

    def to_json(self) -> dict[str, int | float | None]:
        """Plain values under the field names."""
        return asdict(self)


class LinkMethod(Protocol):
    """One way of giving links their delay, jitter and loss. Built ready; `stop` ends it."""

    name: str

    @property
    def pids(self) -> tuple[int, ...]:
        """Its own processes; none where the kernel does all of it."""

    def counters(self) -> dict[str, DirectionCounters]:
        """Totals since `restart_counts`, by direction (`c1->s1`), for impaired links only."""

    def restart_counts(self) -> None:
        """Count from zero again."""

    def restart_draws(self) -> None:
        """Begin every direction's seeded sequence again, so that a run depends on its seed."""

    def check_alive(self) -> None:
        """Raise LinkDead, naming the links, if packets are no longer treated as asked."""

    def stop(self) -> None:
        """End the helpers of this method; what it set in the namespaces dies with them."""


class PlainLinks:
    """Links without delay and loss: nothing to do, nothing to count."""

    name = "none"
    pids = ()

    def counters(self) -> dict[str, DirectionCounters]:
        """No direction is impaired."""
        return {}

    def restart_counts(self) -> None:
        """Nothing is counted."""

    def restart_draws(self) -> None:
        """Nothing is drawn."""

    def check_alive(self) -> None:
        """Nothing can die."""

    def stop(self) -> None:
        """Nothing was started."""
