"""What shapes have in common: numbered hosts, their addresses, their links."""

from collections.abc import Iterable

from topologies.shapes.shape import Host, Link, LinkSpec, Role, Specs

MOST = 250
UNIMPAIRED = LinkSpec()

_LETTERS: dict[Role, str] = {"client": "c", "balancer": "lb", "backend": "b"}
_SUBNETS: dict[Role, int] = {"balancer": 0, "client": 1, "backend": 2}


def numbered(role: Role, count: int) -> tuple[Host, ...]:
    """c1.. (10.0.1.x), b1.. (10.0.2.x); of balancers a single one is `lb`, several lb1..
    (10.0.0.x). Raises ValueError unless there are 1 to 250."""
    if not 1 <= count <= MOST:
        raise ValueError(f"{role}s is {count}, expected 1 to {MOST}")
    alone = role == "balancer" and count == 1
    return tuple(
        Host(
            _LETTERS[role] if alone else f"{_LETTERS[role]}{number}",
            role,
            f"10.0.{_SUBNETS[role]}.{number}",
        )
        for number in range(1, count + 1)
    )


def at(switch: str, hosts: Iterable[Host], link: Specs) -> list[Link]:
    """All on one switch, by links alike."""
    return [Link.of(host.name, switch, link) for host in hosts]


def spread(switches: tuple[str, ...], hosts: tuple[Host, ...], link: Specs) -> list[Link]:
    """In turn over switches, by links alike."""
    return [
        Link.of(host.name, switches[place % len(switches)], link)
        for place, host in enumerate(hosts)
    ]
