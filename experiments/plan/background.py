"""Traffic beside the requests, which competes for the links and goes past the balancer."""

from collections.abc import Collection, Iterable
from typing import Literal

from pydantic import Field, model_validator

from experiments.plan.base import SettingsModel
from topologies.shapes.shape import Shape

MOST_MBPS = 200.0
"""In all. The machine that carries it also measures (one TCP flow through the link emulator reaches
some 1 000 Mbit/s on an otherwise idle machine, and the requests need the rest)."""


class BackgroundFlow(SettingsModel):
    """Bulk traffic from host to host, from before the load begins until it ends.

    `flows`: so many connections at once. `rate_mbps`: of each, as sent; None: as much as TCP gets,
    which needs a link with a rate on the way.
    """

    source: str
    destination: str
    protocol: Literal["tcp", "udp"] = "tcp"
    flows: int = Field(1, ge=1, le=32)
    rate_mbps: float | None = Field(None, gt=0, le=MOST_MBPS)

    @model_validator(mode="after")
    def _udp_says_its_rate(self) -> "BackgroundFlow":
        if self.protocol == "udp" and self.rate_mbps is None:
            raise ValueError("protocol udp: nothing slows it down, so it needs a rate_mbps")
        return self

    def __str__(self) -> str:
        """`c1>b1`."""
        return f"{self.source}>{self.destination}"

    def most_mbps(self, shape: Shape) -> float:
        """What it can take: its own rate, or that of the narrowest link on its way; infinite where
        nothing bounds it."""
        ways = shape.way(self.source, self.destination)
        narrowest = min(shape.specs[edge].rate_mbps or float("inf") for edge in ways)
        return min(narrowest, self.flows * (self.rate_mbps or float("inf")))


def check_background(flows: Iterable[BackgroundFlow], hosts: Collection[str], shape: Shape) -> None:
    """Raise ValueError, naming the flow, for hosts that are not there and for more traffic than the
    machine can carry besides."""
    for number, flow in enumerate(flows):
        place = f"background[{number}]"
        for end in (flow.source, flow.destination):
            if end not in hosts:
                raise ValueError(f"{place}: no host {end!r}; there are: {', '.join(hosts)}")
        if flow.source == flow.destination:
            raise ValueError(f"{place}: from {flow.source} to itself")
        if flow.most_mbps(shape) > MOST_MBPS:
            raise ValueError(
                f"{place}: {flow}: up to {MOST_MBPS:g} Mbit/s can be carried beside a measurement: "
                "give it a rate_mbps, or a link on its way (RATE=100)"
            )
