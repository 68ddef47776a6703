import re
from itertools import combinations
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topologies.shapes.draw import in_words, svg
from topologies.shapes.shape import LinkSpec, Shape
from topologies.shapes.shapes import dumbbell, leaf_spine, star, two_sites

SHAPES = {
    "star": star(3, 4, client_link=LinkSpec(delay_ms=10, loss_pct=0.5)),
    "many": star(40, 50),
    "chain": star(3, 4, balancers=3),
    "dumbbell": dumbbell(4, 2, bottleneck=LinkSpec(rate_mbps=20)),
    "two_sites": two_sites(2, 4, 2, between_sites=LinkSpec(delay_ms=15)),
    "leaf_spine": leaf_spine(4, 6, 2, 2),
}
RECTANGLE = re.compile(
    r'<rect class="\w+" x="([-\d.]+)" y="([-\d.]+)" width="(\d+)" height="(\d+)"'
)


def overlapping(drawn: str) -> list[tuple[list[float], list[float]]]:
    boxes = [[float(each) for each in found] for found in RECTANGLE.findall(drawn)]
    return [
        (one, other)
        for one, other in combinations(boxes, 2)
        if abs(one[0] - other[0]) < one[2] and abs(one[1] - other[1]) < one[3]
    ]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_every_shape_draws_itself_and_no_box_hides_another(shape: Shape) -> None:
    drawn = svg(shape)
    ElementTree.fromstring(drawn)
    assert drawn == svg(shape)
    assert overlapping(drawn) == []
    for name in shape.switches:
        assert f">{name}<" in drawn


@given(st.integers(1, 30), st.integers(1, 30))
def test_of_many_hosts_those_left_out_are_counted(clients: int, backends: int) -> None:
    drawn = svg(star(clients, backends))
    assert overlapping(drawn) == []
    shown = len(RECTANGLE.findall(drawn)) - 2
    hidden = sum(int(each) for each in re.findall(r">(\d+) more \w+<", drawn))
    assert shown + hidden == clients + backends


def test_links_say_what_was_asked_and_what_was_measured() -> None:
    drawn = svg(SHAPES["star"], {"c1->s1": "10.02 ms, 0.48 %"})
    assert drawn.count("10 ms, 0.5 % loss<") == 3
    assert drawn.count("measured 10.02 ms, 0.48 %<") == 1
    assert in_words(LinkSpec()) == ""
    lossy = LinkSpec(delay_ms=5, jitter_ms=1, loss_pct=2, loss_burst_packets=4)
    assert in_words(lossy) == "5 ± 1 ms, 2 % loss in rows of 4"


def test_names_are_text() -> None:
    shape = Shape("<b>&", SHAPES["star"].hosts, ("s1",), SHAPES["star"].links)
    assert "<title>&lt;b&gt;&amp;</title>" in svg(shape)
