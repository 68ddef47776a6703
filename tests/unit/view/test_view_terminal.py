"""What a terminal shows of a frame, whatever its size; a frame in one line."""

import pytest

from nginy.view.frame import frame
from nginy.view.marks import mark
from nginy.view.observer import Seen
from nginy.view.picture import line_of, picture
from nginy.view.terminal import TREND, Trends, screen, spoken, text_of
from tests.rules import World, one_rule
from tests.unit.view.documents import document, fail, serve

HOSTILE = "a\x1b[31m\x07\u202e\n"


def framed(world: World, names: dict[str, str] | None = None) -> Seen:
    """Two seconds with traffic, and a backend that is down."""
    before = document(world)
    world.now += 2
    serve(world, 100)
    fail(world, 2)
    world.backend(2).set_healthy(False, world.now)
    now = document(world)
    for each in (before, now):
        for backend in each["rules"][0]["backends"]:
            backend["id"] = (names or {}).get(backend["id"], backend["id"])
    return Seen(1, frame([mark(before)], now), 0.0, "")


def lines(seen: Seen, width: int, height: int = 100) -> list[str]:
    assert seen.frame is not None
    return [line.text for line in screen(seen, picture(seen.frame), Trends(), width, height)]


def test_everything_that_is_known_is_there() -> None:
    text = lines(
        framed(one_rule({"max_connections": 9}, {}, strategy={"type": "round_robin"})), 200
    )
    joined = "\n".join(text)
    assert "rule web (tcp, 0.0.0.0/0:80, round_robin)" in text
    for part in (
        *("event loop late in the last minute: p99 0.4 ms, at most 2.0 ms", "fairness: "),
        *("46.4 new/s, 0.91 failed/s", "1 of 2 backends usable", "102 picked"),
        *("✕ unhealthy", "● usable" if "● usable" in joined else "✕ usable", "/9"),
    ):
        assert part in joined, joined


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("height", [5, 24])
def test_it_is_no_larger_than_the_terminal(width: int, height: int) -> None:
    shown = lines(framed(one_rule(*({} for _ in range(30)))), width, height)
    assert len(shown) <= height
    assert max(map(len, shown)) <= width
    assert "more lines" in shown[-1]


def test_names_cannot_command_the_terminal() -> None:
    seen = framed(one_rule({}, {}), {"b1": HOSTILE, "b2": HOSTILE * 2})
    assert seen.frame is not None
    for text in (*lines(seen, 200), line_of(seen.frame), *text_of(seen.frame, 200).split("\n")):
        assert text.isprintable(), text


def test_a_problem_is_the_first_line_and_the_last_frame_stays() -> None:
    good = framed(one_rule({}, {}))
    bad = Seen(2, good.frame, 12.0, "no process answers at /s")
    first, *rest = lines(bad, 120)
    assert first == "✕ no process answers at /s; last frame 12 s ago"
    assert rest == lines(good, 120)[1:]
    assert [line.text for line in screen(Seen(1, None, 1.0, "gone"), None, Trends(), 80, 24)] == [
        "✕ gone"
    ]


def test_trends_grow_frame_by_frame_and_are_bounded() -> None:
    seen = framed(one_rule({}, {}))
    assert seen.frame is not None
    shown = picture(seen.frame)
    trends = Trends()
    for _ in range(TREND + 9):
        trends.add(shown)
    key = shown.rules[0].key
    assert trends.of(key, "b1") == "█" * TREND
    assert trends.of(key, "nobody") == ""


def test_a_line_has_every_backend_that_is_not_well() -> None:
    seen = framed(one_rule(*({} for _ in range(30)), strategy={"type": "round_robin"}))
    said = spoken(seen)
    assert "b2 " in said
    assert " unhealthy" in said
    assert "and 22 more" in said
    assert "loop late p99 0.4 ms" in said
    assert spoken(Seen(1, seen.frame, 0.0, "gone")) == "gone"
