"""What shapes have in common: numbered hosts, their addresses, their links."""

from collections.abc import Iterable

from topologies.shapes.shape import Host, Link, LinkSpec, Role, Specs

MOST = 100_000
"""More than any emulation carries: the simulation has them, too."""
FEW = 250
"""So many have addresses that people know by heart."""
UNIMPAIRED = LinkSpec()

_LETTERS: dict[Role, str] = {"client": "c", "balancer": "lb", "backend": "b"}
_SUBNETS: dict[Role, int] = {"balancer": 0, "client": 1, "backend": 2}


def numbered(role: Role, count: int) -> tuple[Host, ...]:
    """c1.. (10.0.1.x), b1.. (10.0.2.x); of balancers a single one is `lb`, several lb1..
    (10.0.0.x). Where there are more than 250 they are in 10.16.0.0/12 and so on, by role.

    Raises ValueError unless there are 1 to 100 000.
    """
    if not 1 <= count <= MOST:
        raise ValueError(f"{role}s is {count}, expected 1 to {MOST}")
    alone = role == "balancer" and count == 1
    return tuple(
        Host(
            _LETTERS[role] if alone else f"{_LETTERS[role]}{number}",
            role,
            _address(role, number, count),
        )
        for number in range(1, count + 1)
    )


def _address(role: Role, number: int, count: int) -> str:
    subnet = _SUBNETS[role]
    if count <= FEW:
        return f"10.0.{subnet}.{number}"
    return f"10.{16 * (subnet + 1) + number // 65_536}.{number // 256 % 256}.{number % 256}"


def at(switch: str, hosts: Iterable[Host], link: Specs) -> list[Link]:
    """All on one switch, by links alike."""
    return [Link.of(host.name, switch, link) for host in hosts]


def spread(switches: tuple[str, ...], hosts: tuple[Host, ...], link: Specs) -> list[Link]:
    """In turn over switches, by links alike."""
    return [
        Link.of(host.name, switches[place % len(switches)], link)
        for place, host in enumerate(hosts)
    ]
