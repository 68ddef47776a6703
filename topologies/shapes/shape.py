"""A network as pure data: hosts, switches and links with units. No system call happens here."""

import ipaddress
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from topologies.shapes.routes import Edge, forwarding, way

Role = Literal["client", "balancer", "backend"]

MAX_MBPS = 100_000.0

SUBNET = ipaddress.IPv4Network("10.0.0.0/8")
"""Every host of a shape lives in this one subnet."""

METERS = ipaddress.IPv4Network("10.0.255.0/24")
"""Reserved: the measuring host that calibration needs on every switch."""

# "<name>-eth0" must fit the kernel's 15 characters for an interface name.
_NAME = re.compile(r"[a-z][a-z0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """What one direction of a link does to a packet.

    `delay_ms`: fixed. `jitter_ms`: the delay of each packet is drawn uniformly from delay ± jitter,
    and a packet never overtakes an earlier one. `loss_pct`: of packets; independent of each other,
    or with `loss_burst_packets` in bursts of that mean length (Gilbert's model: a bad state that
    loses everything, entered and left by chance; E. N. Gilbert, "Capacity of a burst-noise
    channel", 1960). `reorder_pct`: so many packets are not delayed, and overtake those that are.
    `duplicate_pct`: of so many packets there are two, the second a packet by itself (its own loss,
    jitter, place in the queue). Where loss takes the first of two, the other goes on alone: so does
    netem (sch_netem.c, netem_enqueue), and the emulator.
    `rate_mbps`: 10^6 bit/s of Ethernet frames; None: not limited. `queue_packets`: full frames that
    may wait for the rate; None: one bandwidth-delay product, and at least 100.

    Raises ValueError for a value out of range.
    """

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss_pct: float = 0.0
    rate_mbps: float | None = None
    loss_burst_packets: float | None = None
    reorder_pct: float = 0.0
    queue_packets: int | None = None
    duplicate_pct: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no link can do; NaN fails every comparison and so is refused as well."""
        if not 0 <= self.delay_ms <= 60_000:
            raise ValueError(f"delay_ms is {self.delay_ms}, expected 0 to 60000")
        if not 0 <= self.jitter_ms <= self.delay_ms:
            raise ValueError(
                f"jitter_ms is {self.jitter_ms}, expected 0 to delay_ms ({self.delay_ms})"
            )
        if not 0 <= self.loss_pct <= 100:
            raise ValueError(f"loss_pct is {self.loss_pct}, expected 0 to 100")
        if self.rate_mbps is not None and not 0 < self.rate_mbps <= MAX_MBPS:
            raise ValueError(
                f"rate_mbps is {self.rate_mbps}, expected above 0 to {MAX_MBPS:g}, or None"
            )
        self._check_bursts()
        self._check_order_and_queue()
        self._check_duplicates()

    def _check_bursts(self) -> None:
        burst = self.loss_burst_packets
        if burst is None:
            return
        if not (0 < self.loss_pct < 100 and 1 <= burst <= 1000):
            raise ValueError(
                f"loss_burst_packets is {burst}, expected 1 to 1000, of a loss_pct between 0 and "
                f"100 (it is {self.loss_pct})"
            )
        if self.loss_pct > 100 * burst / (burst + 1):
            raise ValueError(
                f"loss_pct {self.loss_pct:g} in bursts of {burst:g} packets: between two bursts at "
                f"least one packet gets through, so at most {100 * burst / (burst + 1):.3g} %"
            )

    def _check_order_and_queue(self) -> None:
        if not 0 <= self.reorder_pct < 100:
            raise ValueError(f"reorder_pct is {self.reorder_pct}, expected 0 to below 100")
        if self.reorder_pct and (not self.delay_ms or self.jitter_ms):
            raise ValueError(
                "reorder_pct needs a delay_ms for the others, and no jitter_ms: a packet overtakes "
                "by not being delayed"
            )
        if self.queue_packets is None:
            return
        if self.rate_mbps is None or not 1 <= self.queue_packets <= 1_000_000:
            raise ValueError(
                f"queue_packets is {self.queue_packets}, expected 1 to 1000000, before a rate_mbps"
            )

    def _check_duplicates(self) -> None:
        if not 0 <= self.duplicate_pct <= 100:
            raise ValueError(f"duplicate_pct is {self.duplicate_pct}, expected 0 to 100")
        if self.duplicate_pct and self.loss_pct == 100:
            raise ValueError(
                f"duplicate_pct is {self.duplicate_pct} and loss_pct 100, expected one of the two: "
                "loss takes one of two packets, and the other would get through"
            )
        if self.duplicate_pct and self.loss_burst_packets is not None:
            raise ValueError(
                f"duplicate_pct is {self.duplicate_pct} and loss_burst_packets is "
                f"{self.loss_burst_packets}, expected one of the two: a doubled packet "
                "interrupts a burst, whose length could not be verified"
            )

    @property
    def impaired(self) -> bool:
        """Whether packets are delayed, lost or doubled (a rate alone needs no emulator)."""
        return self.delay_ms > 0 or self.loss_pct > 0 or self.duplicate_pct > 0

    @property
    def mean_delay_ms(self) -> float:
        """Over all packets that are not lost."""
        return self.delay_ms * (1 - self.reorder_pct / 100)


Specs = LinkSpec | tuple[LinkSpec, LinkSpec]
"""Of both directions alike; or of what leaves the host (or a trunk's first switch), and of what
reaches it."""


@dataclass(frozen=True, slots=True)
class Host:
    """One virtual host. `address` is IPv4, inside `SUBNET`."""

    name: str
    role: Role
    address: str

    def __post_init__(self) -> None:
        """Refuse a name that does not fit an interface name, and an address outside the subnet."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"host name {self.name!r}: expected up to 9 of a-z and 0-9")
        address = ipaddress.IPv4Address(self.address)
        if address not in SUBNET or address == SUBNET[0]:
            raise ValueError(f"{self.name}: address {self.address} is outside {SUBNET}")
        if address in METERS:
            raise ValueError(f"{self.name}: {METERS} is reserved for calibration")


@dataclass(frozen=True, slots=True)
class Link:
    """A cable between `end`, a host or another switch (then it is a trunk), and `switch`, at whose
    port it gets its delay and loss."""

    end: str
    switch: str
    leaving: LinkSpec = LinkSpec()
    """From `end` to `switch`."""
    reaching: LinkSpec = LinkSpec()
    """From `switch` to `end`."""
    changes: bool = False
    """Something is going to be changed while it is used: it has its emulator from the start."""

    @classmethod
    def of(cls, end: str, switch: str, specs: Specs) -> "Link":
        """A link whose directions are alike, or have a spec each."""
        return cls(end, switch, *((specs, specs) if isinstance(specs, LinkSpec) else specs))

    @property
    def name(self) -> str:
        """`c1-s1`: how every message and table names this link."""
        return f"{self.end}-{self.switch}"

    @property
    def directions(self) -> tuple[str, str]:
        """`("c1->s1", "s1->c1")`: leaving, and reaching."""
        return f"{self.end}->{self.switch}", f"{self.switch}->{self.end}"

    @property
    def specs(self) -> Mapping[str, LinkSpec]:
        """By direction, leaving first."""
        return dict(zip(self.directions, (self.leaving, self.reaching), strict=True))

    def with_specs(self, specs: Mapping[str, LinkSpec]) -> "Link":
        """The same with other values of some directions."""
        leaving, reaching = self.directions
        return replace(
            self,
            leaving=specs.get(leaving, self.leaving),
            reaching=specs.get(reaching, self.reaching),
        )


@dataclass(frozen=True)
class Shape:
    """A whole network: every host hangs on exactly one switch by one link, and trunks join the
    switches, also in circles: which way
    a packet takes is fixed (`routes.py`).

    Raises ValueError where names or addresses repeat, a link names an unknown end, or a host cannot
    be reached.
    """

    name: str
    hosts: tuple[Host, ...]
    switches: tuple[str, ...]
    links: tuple[Link, ...]

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        _refuse_repeats("name", [host.name for host in self.hosts] + list(self.switches))
        _refuse_repeats("address", [host.address for host in self.hosts])
        _refuse_repeats("link", [link.name for link in self.links])
        for switch in self.switches:
            if not _NAME.fullmatch(switch):
                raise ValueError(f"switch name {switch!r}: expected up to 9 of a-z and 0-9")
        for link in self.links:
            if link.switch not in self.switches:
                raise ValueError(f"link {link.name}: no switch named {link.switch}")
            if link.end == link.switch:
                raise ValueError(f"link {link.name}: joins a switch with itself")
        ends = sorted(link.end for link in self.links if link.end not in self.switches)
        if ends != sorted(host.name for host in self.hosts):
            raise ValueError("every host needs exactly one link, and every link a known host")
        _ = self.forwarding

    @cached_property
    def forwarding(self) -> Mapping[str, Mapping[str, str]]:
        """For each switch: the neighbour (host or switch) that a packet to each host goes to."""
        hosts = [host.name for host in self.hosts]
        return forwarding(hosts, self.switches, [(link.end, link.switch) for link in self.links])

    def way(self, source: str, destination: str) -> tuple[Edge, ...]:
        """The directions (`c1->s1`) that a packet between two hosts crosses, in order."""
        return way(self.forwarding, self.link_of(source).switch, source, destination)

    @cached_property
    def specs(self) -> Mapping[Edge, LinkSpec]:
        """What each direction of each link does."""
        return {name: spec for link in self.links for name, spec in link.specs.items()}

    def specs_between(self, source: str, destination: str) -> tuple[LinkSpec, ...]:
        """Of the way between two hosts."""
        return tuple(self.specs[edge] for edge in self.way(source, destination))

    def with_role(self, role: Role) -> tuple[Host, ...]:
        """The hosts of one role, in order."""
        return self._by_role.get(role, ())

    @cached_property
    def _by_role(self) -> dict[Role, tuple[Host, ...]]:
        roles = {host.role for host in self.hosts}
        return {role: tuple(host for host in self.hosts if host.role == role) for role in roles}

    def host(self, name: str) -> Host:
        """The host of that name; KeyError where there is none."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> Mapping[str, Host]:
        return {host.name: host for host in self.hosts}

    def link(self, name: str) -> Link:
        """The link of that name (`c1-s1`), or the one link of that host; KeyError otherwise."""
        for link in self.links:
            if link.name == name:
                return link
        return self.link_of(name)

    def link_of(self, host: str) -> Link:
        """The one link of that host; KeyError where there is none."""
        return self._links[host]

    @cached_property
    def _links(self) -> Mapping[str, Link]:
        return {link.end: link for link in self.links if link.end not in self.switches}

    def changing(self, links: frozenset[str]) -> "Shape":
        """The same, some of whose links (by name) are going to be changed while they are used."""
        return replace(
            self,
            links=tuple(
                replace(link, changes=True) if link.name in links else link for link in self.links
            ),
        )


def _refuse_repeats(what: str, values: list[str]) -> None:
    repeated = sorted(value for value, count in Counter(values).items() if count > 1)
    if repeated:
        raise ValueError(f"{what} used twice: {', '.join(repeated)}")
