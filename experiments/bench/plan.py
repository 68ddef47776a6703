"""What a benchmark was asked to do, and the order it does it in; pure."""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, TypeVar

from experiments.bench.report import Sample
from experiments.lab.systems.contract import SystemKind, TransportProtocol

T = TypeVar("T")
Record = Callable[[Sample], None]
"""Takes each measurement as it is made."""


class Plan(NamedTuple):
    """The same for all parts."""

    peers: Sequence[SystemKind]
    workloads: Collection[str]
    """Names in `report.WORKLOADS`."""
    rounds: int
    seconds: int
    """Of each measurement of a rate."""
    bulk_mib: int
    held: int
    """Idle connections or sessions, of the measurements of memory."""

    def chosen(self, *workloads: str) -> list[str]:
        """Those of them that were asked for."""
        return [each for each in workloads if each in self.workloads]

    def carrying(self, protocol: TransportProtocol) -> list[SystemKind]:
        """The peers that can."""
        return [peer for peer in self.peers if protocol in peer.protocols]


def turns(things: Sequence[T], round_number: int) -> list[T]:
    """In another order each round: everyone comes first, and any two in both orders."""
    shift = round_number // 2 % len(things)
    order = [*things[shift:], *things[:shift]]
    return order[::-1] if round_number % 2 else order
