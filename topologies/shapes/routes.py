"""Which way packets take between switches: the shortest, fixed by the destination. Pure.

Of several shortest ways each destination has one, taken in turn, as static multipath would spread
them: Linux's bridge knows one port per address, so single flows to one host cannot take two ways.
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence

Edge = str
"""`c1->s1`."""


def forwarding(
    hosts: Sequence[str], switches: Sequence[str], links: Sequence[tuple[str, str]]
) -> dict[str, dict[str, str]]:
    """For each switch, by host: the neighbour that it sends what is for that host to.

    `links` are pairs of a host or switch and a switch. Raises ValueError if a host cannot be
    reached from a switch.
    """
    neighbours: dict[str, list[str]] = {switch: [] for switch in switches}
    for end, switch in links:
        neighbours[switch].append(end)
        if end in neighbours:
            neighbours[end].append(switch)
    found: dict[str, dict[str, str]] = {switch: {} for switch in switches}
    turns: Counter[str] = Counter()
    for host in hosts:
        away = _distances(host, neighbours)
        if missing := [switch for switch in switches if switch not in away]:
            raise ValueError(f"{host} cannot be reached from {', '.join(missing)}")
        for switch in switches:
            nearest = min(away[next_] for next_ in neighbours[switch] if next_ in away)
            nearer = [next_ for next_ in neighbours[switch] if away.get(next_) == nearest]
            found[switch][host] = nearer[turns[switch] % len(nearer)]
            turns[switch] += len(nearer) > 1
    return found


def _distances(host: str, neighbours: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Links to `host` from itself and from every switch that can reach it."""
    away = {host: 0}
    todo = deque(switch for switch, beside in neighbours.items() if host in beside)
    away |= dict.fromkeys(todo, 1)
    while todo:
        here = todo.popleft()
        for switch in neighbours[here]:
            if switch in neighbours and switch not in away:
                away[switch] = away[here] + 1
                todo.append(switch)
    return away


def way(
    tables: Mapping[str, Mapping[str, str]], first: str, source: str, destination: str
) -> tuple[Edge, ...]:
    """The directions from `source`, at switch `first`, to `destination`, in order."""
    edges = [f"{source}->{first}"]
    here = first
    while here != destination:
        following = tables[here][destination]
        edges.append(f"{here}->{following}")
        here = following
    return tuple(edges)
