"""A network as pure data: hosts, switches and links with units. No system call happens here."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal

Role = Literal["client", "balancer", "backend"]

MAX_MBPS = 100_000.0

SUBNET = ipaddress.IPv4Network("10.0.0.0/16")
"""Every host of a shape lives in this one subnet."""

METERS = ipaddress.IPv4Network("10.0.255.0/24")
"""Reserved: the measuring host that calibration needs on every switch."""

# "<name>-eth0" must fit the kernel's 15 characters for an interface name.
_NAME = re.compile(r"[a-z][a-z0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """What a link does to a packet, one way; both directions alike.

    `delay_ms`: fixed one-way delay. `jitter_ms`: the delay of each packet is drawn uniformly from
    delay ± jitter, and a packet never overtakes an earlier one of its direction. `loss_pct`:
    independent per packet. `rate_mbps`: 10^6 bit/s of Ethernet frames; None: not limited.

    Raises ValueError for a value out of range.
    """

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss_pct: float = 0.0
    rate_mbps: float | None = None

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

    @property
    def impaired(self) -> bool:
        """Whether packets are delayed or lost (a rate alone needs no emulator)."""
        return self.delay_ms > 0 or self.loss_pct > 0


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
    """A cable between a host and a switch."""

    host: str
    switch: str
    spec: LinkSpec

    @property
    def name(self) -> str:
        """`c1-s1`: how every message and table names this link."""
        return f"{self.host}-{self.switch}"

    @property
    def directions(self) -> tuple[str, str]:
        """`("c1->s1", "s1->c1")`: leaving the host, and reaching it."""
        return f"{self.host}->{self.switch}", f"{self.switch}->{self.host}"


@dataclass(frozen=True, slots=True)
class Shape:
    """A whole network: every host hangs on exactly one switch by one link.

    Raises ValueError where names or addresses repeat, or a link names an unknown end.
    """

    name: str
    hosts: tuple[Host, ...]
    switches: tuple[str, ...]
    links: tuple[Link, ...]

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        _refuse_repeats("name", [host.name for host in self.hosts] + list(self.switches))
        _refuse_repeats("address", [host.address for host in self.hosts])
        for switch in self.switches:
            if not _NAME.fullmatch(switch):
                raise ValueError(f"switch name {switch!r}: expected up to 9 of a-z and 0-9")
        for link in self.links:
            if link.switch not in self.switches:
                raise ValueError(f"link {link.name}: no switch named {link.switch}")
        ends = sorted(link.host for link in self.links)
        if ends != sorted(host.name for host in self.hosts):
            raise ValueError("every host needs exactly one link, and every link a known host")

    def with_role(self, role: Role) -> tuple[Host, ...]:
        """The hosts of one role, in order."""
        return tuple(host for host in self.hosts if host.role == role)

    def host(self, name: str) -> Host:
        """The host of that name; KeyError where there is none."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(name)

    def link_of(self, host: str) -> Link:
        """The one link of that host; KeyError where there is none."""
        for link in self.links:
            if link.host == host:
                return link
        raise KeyError(host)


def _refuse_repeats(what: str, values: list[str]) -> None:
    repeated = sorted({value for value in values if values.count(value) > 1})
    if repeated:
        raise ValueError(f"{what} used twice: {', '.join(repeated)}")
