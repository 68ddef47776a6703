"""What `nginy status` prints of a document."""

import json
from typing import Any

import orjson
import pytest

from nginy.backend.health import CheckResult
from nginy.backend.wishes import Admin, Origin
from nginy.cli.status_text import status_lines
from nginy.errors import BackendError
from nginy.traffic.close_reason import CloseReason
from nginy.traffic.status import status
from nginy.view.text import in_bytes, in_time, printable
from tests.rules import Carrier, World, one_rule


def document(world: World) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(orjson.dumps(status(world.rules, world.ledger, world.now)))
    return found


def lines(world: World, width: int) -> list[str]:
    return list(status_lines(document(world), width))


def many(count: int) -> World:
    return one_rule(
        *(
            {"address": f"10.0.{n // 200}.{1 + n % 200}:80", "max_connections": 1000}
            for n in range(count)
        ),
        strategy={"type": "least_conn"},
    )


def troubled() -> World:
    world = one_rule(
        {"max_connections": 100}, {"weight": 2}, {"backup": True}, {},
        strategy={"type": "least_conn"},
        access=[{"deny": "10.66.0.0/16"}],
    )  # fmt: skip
    for _ in range(3):
        carrier = Carrier(world)
        carrier.choose()
        carrier.reach()
        carrier.carry(1500, 2_345_678)
    failing = Carrier(world)
    failing.choose()
    failing.fail(BackendError("refused", "ECONNREFUSED"))
    failing.close(CloseReason.CONNECT_FAILED)
    world.backend(4).last_check = CheckResult(11.5, 0.25, False, "no answer")
    world.backend(4).set_healthy(False, 11.5)
    world.backend(2).set_admin(Admin.DRAIN, 2.0, Origin.AGENT)
    world.now = 14.0
    return world


def test_all_of_it_where_there_is_room() -> None:
    text = lines(troubled(), 200)
    joined = "\n".join(text)
    assert "rule web (tcp, 0.0.0.0/0:80, least_conn)" in text
    assert "  2 open, 4 picked, 4.50 kB up, 7.04 MB down" in text
    assert "  closed: connect_failed 1, backend_down 1" in text
    rows = {line.split()[0]: line for line in text if line.startswith("  b") and ":80 " in line}
    for part in ("usable", "100 %", "/100", "open /"):
        assert part in rows["b1"]
    assert "draining (agent) for 12 s" in rows["b2"]
    assert "usable, backup" in rows["b3"]
    assert "unhealthy for 2.50 s" in rows["b4"]
    assert "failed 2.50 s ago" in rows["b4"]
    assert "  b4: check failed after 250 ms: no answer" in text
    assert joined.count("attempts failed: ECONNREFUSED 1") == 1
    (heading,) = (line for line in text if line.startswith("  backend"))
    for column in ("backend", "state", "share", "up"):
        start = heading.index(column)
        assert all(row[start - 2 : start] == "  " for row in rows.values())


@pytest.mark.parametrize("width", [80, 100, 120])
def test_lines_are_no_longer_than_the_terminal(width: int) -> None:
    for world in (troubled(), many(1000)):
        text = lines(world, width)
        assert max(map(len, text)) <= width
        (heading,) = (line for line in text if line.startswith("  backend"))
        assert {"open", "picked", "up", "down"} <= set(heading.split())


def test_a_thousand_backends_take_a_line_each_and_few_notes() -> None:
    world = many(1000)
    for backend in world.pool.values():
        backend.last_check = CheckResult(0.0, 0.001, False, "refused")
    text = lines(world, 120)
    assert len([line for line in text if "usable" in line]) == 1000
    assert text[-1] == "  and 980 more: see --json"
    assert len(text) < 1030


def test_a_long_name_leaves_room_for_the_others() -> None:
    world = one_rule({})
    world.backend(1).id = "x" * 500
    (row,) = (line for line in lines(world, 100) if "usable" in line)
    assert "…" in row
    assert "100 %" in row


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1234, "1.23 kB"), (56_789_000, "57 MB")],
)
def test_bytes(count: int, text: str) -> None:
    assert in_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 ms"), (0.012, "12 ms"), (1.5, "1.50 s"), (59.0, "59 s"), (120.0, "2 min"),
     (5400.0, "1.50 h"), (864_000.0, "10 d")],
)  # fmt: skip
def test_times(seconds: float, text: str) -> None:
    assert in_time(seconds) == text


def test_what_a_terminal_obeys_is_escaped() -> None:
    assert printable("\x1b[2J\u202eé\n") == r"\x1b[2J\u202eé\n"
