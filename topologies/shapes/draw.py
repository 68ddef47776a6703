"""A shape as a picture: SVG text, the same for the same shape. Pure.

Clients on the left, backends on the right, switches between them by how far they are from the
clients, balancers above the switch that they hang on.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

from topologies.shapes.routes import Edge
from topologies.shapes.shape import Link, LinkSpec, Shape

MOST_SHOWN = 12
"""Hosts of a role at one switch; of more, the first three and the last."""
_COLUMN, _ROW, _LINE = 250, 66, 13
_BOX = (84, 30)
_STYLE = """
text{font:12px sans-serif;fill:#1a1a1a}
.soft{font-size:10.5px;fill:#444;paint-order:stroke;stroke:#fff;stroke-width:3px}
rect{fill:#fff;stroke:#333;rx:5px}
.balancer{stroke:#0072b2;stroke-width:2.5px}
.switch{fill:#eee}
line{stroke:#888;stroke-width:1.5px}
.limited{stroke:#d55e00;stroke-width:3px}
@media(prefers-color-scheme:dark){text{fill:#eee}.soft{fill:#bbb;stroke:#111}rect{fill:#1c1f22;stroke:#ccc}
.switch{fill:#333}line{stroke:#888}}
"""

Measured = Mapping[Edge, str]
"""What calibration found of a direction, in words."""


class _Spot(NamedTuple):
    x: float
    y: float


def svg(shape: Shape, measured: Measured | None = None) -> str:
    """The whole picture. What was asked of a link stands at it where it is not a plain one, and
    below that what was measured."""
    rows = {switch: _rows(shape, switch) for switch in shape.switches}
    spots = _spots(shape, rows)
    width = max(spot.x for spot in spots.values()) + 150
    height = max(spot.y for spot in spots.values()) + 60
    lines = [_line(link, spots) for link in shape.links if link.end in spots]
    boxes = [
        _box(name, spots[name], role, _said(shape.link_of(name), measured or {}))
        for name, role in _hosts(shape)
        if name in spots
    ]
    boxes += [_box(name, spots[name], "switch", ()) for name in shape.switches]
    trunks = [
        _label(link, spots, _said(link, measured or {}))
        for link in shape.links
        if link.end in shape.switches
    ]
    left_out = [_left_out(role, hidden, spots) for role, hidden in _hidden(rows)]
    told = f"{len(shape.hosts)} hosts, {len(shape.switches)} switches"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
            f'width="{width:g}" height="{height:g}" role="img">',
            f"<title>{escape(shape.name)}</title><desc>{told}</desc><style>{_STYLE}</style>",
            *lines,
            *boxes,
            *trunks,
            *left_out,
            "</svg>\n",
        ]
    )


def _hosts(shape: Shape) -> list[tuple[str, str]]:
    return [(host.name, host.role) for host in shape.hosts]


def _rows(shape: Shape, switch: str) -> dict[str, list[str]]:
    """The hosts at a switch by role."""
    here = {link.end for link in shape.links if link.switch == switch}
    found: dict[str, list[str]] = {"client": [], "balancer": [], "backend": []}
    for name, role in _hosts(shape):
        if name in here:
            found[role].append(name)
    return found


def _shown(names: Sequence[str]) -> list[str]:
    return list(names) if len(names) <= MOST_SHOWN else [*names[:3], names[-1]]


def _hidden(rows: Mapping[str, Mapping[str, Sequence[str]]]) -> list[tuple[str, Sequence[str]]]:
    return [
        (role, names)
        for of_switch in rows.values()
        for role, names in of_switch.items()
        if len(names) > MOST_SHOWN
    ]


def _distances(shape: Shape, rows: Mapping[str, Mapping[str, Sequence[str]]]) -> dict[str, int]:
    """Of each switch from those that have clients, in trunks."""
    distance = {name: 0 for name, of_switch in rows.items() if of_switch["client"]}
    distance = distance or {shape.switches[0]: 0}
    trunks = [(link.end, link.switch) for link in shape.links if link.end in shape.switches]
    for _ in shape.switches:
        for pair in trunks:
            for near, far in (pair, pair[::-1]):
                if near in distance and distance.get(far, len(trunks) + 1) > distance[near] + 1:
                    distance[far] = distance[near] + 1
    return {name: distance.get(name, 0) for name in shape.switches}


def _spots(shape: Shape, rows: Mapping[str, Mapping[str, Sequence[str]]]) -> dict[str, _Spot]:
    """Where each box's middle is."""
    distance = _distances(shape, rows)
    spots: dict[str, _Spot] = {}
    below = dict.fromkeys(range(-1, max(distance.values()) + 2), 40.0)
    last = max(distance.values()) + 1
    for switch in sorted(shape.switches, key=lambda name: (distance[name], name)):
        column, of_switch = distance[switch], rows[switch]
        clients, backends = _shown(of_switch["client"]), _shown(of_switch["backend"])
        balancers = of_switch["balancer"]
        tall = max(len(clients), len(backends), len(balancers) + 1, 1)
        columns = {column} | ({-1} if clients else set()) | ({last} if backends else set())
        top = max(below[each] for each in columns)
        for names, place in ((clients, -1), (backends, last)):
            first = top + (tall - len(names)) * _ROW / 2
            for number, name in enumerate(names):
                spots[name] = _at(place, first + number * _ROW)
        for number, name in enumerate(balancers):
            spots[name] = _at(column, top + number * _ROW)
        spots[switch] = _at(
            column, top + (max(tall - 1, len(balancers)) + len(balancers)) * _ROW / 2
        )
        for each in columns:
            below[each] = top + tall * _ROW + 20
    return spots


def _at(column: int, y: float) -> _Spot:
    return _Spot(120 + (column + 1) * _COLUMN, y)


def _line(link: Link, spots: Mapping[str, _Spot]) -> str:
    one, other = spots[link.end], spots[link.switch]
    limited = any(spec.rate_mbps for spec in link.specs.values())
    kind = ' class="limited"' if limited else ""
    return f'<line{kind} x1="{one.x:g}" y1="{one.y:g}" x2="{other.x:g}" y2="{other.y:g}"/>'


def _box(name: str, spot: _Spot, role: str, said: Sequence[str]) -> str:
    width, height = _BOX
    box = (
        f'<rect class="{role}" x="{spot.x - width / 2:g}" y="{spot.y - height / 2:g}" '
        f'width="{width}" height="{height}"/>'
        f'<text x="{spot.x:g}" y="{spot.y + 4:g}" text-anchor="middle">{escape(name)}</text>'
    )
    return box + _lines(said, spot.x, spot.y + height / 2 + _LINE - 2)


def _label(link: Link, spots: Mapping[str, _Spot], said: Sequence[str]) -> str:
    """Above the middle of a trunk."""
    one, other = spots[link.end], spots[link.switch]
    x, y = (one.x + other.x) / 2, (one.y + other.y) / 2
    return _lines(said, x, y - 6 - _LINE * (len(said) - 1))


def _lines(said: Sequence[str], x: float, y: float) -> str:
    return "".join(
        f'<text class="soft" x="{x:g}" y="{y + _LINE * number:g}" text-anchor="middle">'
        f"{escape(text)}</text>"
        for number, text in enumerate(said)
    )


def _left_out(role: str, names: Sequence[str], spots: Mapping[str, _Spot]) -> str:
    spot = spots[names[-1]]
    said = f"{len(names) - 4} more {role}s"
    return _lines([said], spot.x, spot.y - _BOX[1] / 2 - 4)


def _said(link: Link, measured: Measured) -> list[str]:
    """What was asked of both directions, if they are alike in one line, and what was measured."""
    leaving, reaching = (in_words(spec) for spec in link.specs.values())
    if leaving == reaching:
        said = [leaving] if leaving else []
    else:
        arrows = zip(("from", "to"), (leaving, reaching), strict=True)
        said = [f"{way} {link.end}: {words or 'plain'}" for way, words in arrows]
    if said:
        found = dict.fromkeys(measured[each] for each in link.directions if each in measured)
        said += [f"measured {words}" for words in found]
    return said


def in_words(spec: LinkSpec) -> str:
    """`10 ± 2 ms, 1 % loss, 20 Mbit/s`; empty for a plain link."""
    return ", ".join(words_of(spec))


def words_of(spec: LinkSpec) -> list[str]:
    """What is not as on a plain cable, each in a few words."""
    parts = []
    if spec.delay_ms:
        jitter = f" ± {spec.jitter_ms:g}" if spec.jitter_ms else ""
        parts.append(f"{spec.delay_ms:g}{jitter} ms")
    if spec.loss_pct:
        bursts = spec.loss_burst_packets
        parts.append(f"{spec.loss_pct:g} % loss" + (f" in rows of {bursts:g}" if bursts else ""))
    if spec.reorder_pct:
        parts.append(f"{spec.reorder_pct:g} % overtake")
    if spec.duplicate_pct:
        parts.append(f"{spec.duplicate_pct:g} % doubled")
    if spec.rate_mbps:
        queue = f", queue {spec.queue_packets}" if spec.queue_packets else ""
        parts.append(f"{spec.rate_mbps:g} Mbit/s{queue}")
    return parts
