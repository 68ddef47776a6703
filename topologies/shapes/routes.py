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
    homes: dict[str, list[str]] = {}
    neighbours: dict[str, list[str]] = {switch: [] for switch in switches}
    for end, switch in links:
        if end in neighbours:
            neighbours[end].append(switch)
            neighbours[switch].append(end)
        else:
            homes.setdefault(end, []).append(switch)
    away = {switch: _distances(switch, neighbours) for switch in switches}
    found: dict[str, dict[str, str]] = {switch: {} for switch in switches}
    turns: Counter[str] = Counter()
    for host in hosts:
        (home,) = homes.get(host, [None])
        if home is None or len(away[home]) < len(switches):
            missing = [switch for switch in switches if home is None or switch not in away[home]]
            raise ValueError(f"{host} cannot be reached from {', '.join(missing)}")
        found[home][host] = host
        for switch in switches:
            if switch != home:
                nearest = away[home][switch] - 1
                nearer = [each for each in neighbours[switch] if away[home][each] == nearest]
                found[switch][host] = nearer[turns[switch] % len(nearer)]
                turns[switch] += len(nearer) > 1
    return found


def _distances(switch: str, neighbours: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Trunks to `switch` from every switch that can reach it."""
    away = {switch: 0}
    todo = deque([switch])
    while todo:
        here = todo.popleft()
        for beside in neighbours[here]:
            if beside not in away:
                away[beside] = away[here] + 1
                todo.append(beside)
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
