"""The seam between a network and the way its links get their delay and loss."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Protocol

from topologies.emulate.port import Port
from topologies.shapes.shape import LinkSpec


@dataclass(frozen=True, slots=True)
class DirectionCounters:
    """What one direction of one link did to its packets so far.

    `seen` packets came in or were made as copies, `dropped` of them were lost on purpose,
    `overflow` were lost because the emulation could not keep up. `late` were released more
    than 1 ms after their time; `lateness_*_ms` (median, 99 %, 99.9 %, maximum) are over all
    released, None where the kernel schedules the packets and does not tell; the quantiles are
    rounded up to 0.1 ms.
    """

    seen: int = 0
    dropped: int = 0
    late: int = 0
    overflow: int = 0
    reordered: int | None = None
    """Sent ahead of those that are held; None where the kernel does not tell, as with `bursts`."""
    duplicated: int | None = None
    """Copies made; None where the kernel does not tell."""
    bursts: int | None = None
    """Rows of packets lost one after the other."""
    lateness_p50_ms: float | None = None
    lateness_p99_ms: float | None = None
    lateness_p999_ms: float | None = None
    lateness_max_ms: float | None = None

    def since(self, before: "DirectionCounters") -> "DirectionCounters":
        """What was counted between two readings; of the lateness, that of all."""
        return replace(
            self,
            seen=self.seen - before.seen,
            dropped=self.dropped - before.dropped,
            late=self.late - before.late,
            overflow=self.overflow - before.overflow,
            bursts=_less(self.bursts, before.bursts),
            reordered=_less(self.reordered, before.reordered),
            duplicated=_less(self.duplicated, before.duplicated),
        )

    def to_json(self) -> dict[str, int | float | None]:
        """Plain values under the field names."""
        return asdict(self)


def _less(now: int | None, before: int | None) -> int | None:
    return None if now is None else now - (before or 0)


class LinkMethod(Protocol):
    """One way of giving links their delay, jitter and loss. Built ready; `stop` ends it."""

    name: str
    seeded: bool
    """Whether the same seed loses the same packets."""

    @property
    def pids(self) -> tuple[int, ...]:
        """Its own processes; none where the kernel does all of it."""

    def counters(self) -> dict[str, DirectionCounters]:
        """Totals since `restart_counts`, by direction (`c1->s1`), for impaired links only."""

    def restart_counts(self) -> None:
        """Count from zero again."""

    def restart_draws(self) -> None:
        """Begin every direction's seeded sequence again, so that a run depends on its seed."""

    def change(self, port: Port, specs: Mapping[str, LinkSpec]) -> None:
        """From now on the directions of `port`, which are emulated, do this (the rate is not its
        affair); their seeded sequences go on. Raises LinkDead."""

    def check_alive(self) -> None:
        """Raise LinkDead, naming the links, if packets are no longer treated as asked."""

    def stop(self) -> None:
        """End the helpers of this method; what it set in the namespaces dies with them."""


class PlainLinks:
    """Links without delay and loss: nothing to do, nothing to count."""

    name = "none"
    seeded = True
    pids = ()

    def counters(self) -> dict[str, DirectionCounters]:
        """No direction is impaired."""
        return {}

    def restart_counts(self) -> None:
        """Nothing is counted."""

    def restart_draws(self) -> None:
        """Nothing is drawn."""

    def change(self, port: Port, specs: Mapping[str, LinkSpec]) -> None:
        """Nothing is emulated, so nothing was announced as changing."""
        raise ValueError(f"link {port.link.name} was not to be changed")

    def check_alive(self) -> None:
        """Nothing can die."""

    def stop(self) -> None:
        """Nothing was started."""
