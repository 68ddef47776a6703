import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from experiments.lab.by_hand import DONE, START, ByHand
from experiments.lab.faults import Faults
from experiments.plan.scenario import parse_scenario
from topologies.shapes.shape import LinkSpec

ASKED = parse_scenario({"network": {"clients": 2, "backends": 2}, "duration_s": 30}, "test")
LOSS = b'{"action":"loss","subject":"c1","value":20}'


class Links:
    """Of the scenario; what they are changed to is noted."""

    def __init__(self) -> None:
        self.shape = ASKED.topology
        self.changed: list[Mapping[str, LinkSpec]] = []

    def change_links(self, specs: Mapping[str, LinkSpec]) -> None:
        self.changed.append(specs)


class Hand:
    """A run that has begun 5 s ago, and the pipe by which it is told."""

    def __init__(self, raw: Path) -> None:
        self.reads, self.writes = os.pipe()
        self.links = Links()
        self.faults = Faults((), None, self.links, lambda _: None)  # type: ignore[arg-type]
        self.run = ByHand(self.reads)
        self.raw = raw
        self.t0_s = time.monotonic() - 5

    def told(self, content: bytes) -> list[dict[str, Any]]:
        os.write(self.writes, content)
        self.run.obey(ASKED, self.faults, self.raw, self.t0_s)
        path = self.raw / DONE
        return [orjson.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture
def hand(tmp_path: Path) -> Iterator[Hand]:
    made = Hand(tmp_path)
    yield made
    for end in (made.reads, made.writes):
        os.close(end)


def test_a_line_is_done_noted_and_can_be_repeated(hand: Hand) -> None:
    (row,) = hand.told(LOSS + b"\n")
    assert (row["action"], row["subject"], row["value"]) == ("loss", "c1", 20)
    assert {spec.loss_pct for spec in hand.links.changed[0].values()} == {20}
    (fault,) = hand.run.scenario(ASKED).faults
    assert str(fault) == "loss c1 20 %"
    assert 0 <= row["applied_s"] - hand.t0_s - fault.at_s < 0.001


def test_what_is_refused_changes_nothing_and_the_next_is_done(hand: Hand) -> None:
    rows = hand.told(b'{"action":"kill","subject":"b9"}\nnonsense\n' + LOSS + b"\n")
    assert ["refused" in row for row in rows] == [True, True, False]
    assert "b9" in rows[0]["refused"]
    assert len(hand.links.changed) == 1
    assert len(hand.run.scenario(ASKED).faults) == 1


def test_a_line_may_come_in_parts_and_one_without_end_is_refused(hand: Hand) -> None:
    os.write(hand.writes, LOSS[:10])
    hand.run.obey(ASKED, hand.faults, hand.raw, hand.t0_s)
    assert not hand.links.changed
    assert len(hand.told(LOSS[10:] + b"\n")) == 1
    for _ in range(3):
        os.write(hand.writes, b"x" * 30_000)
        hand.run.obey(ASKED, hand.faults, hand.raw, hand.t0_s)
    assert "bytes" in hand.told(b"\n" + LOSS + b"\n")[-2]["refused"]
    assert len(hand.links.changed) == 2


def test_when_the_page_is_gone_the_run_goes_on(hand: Hand) -> None:
    os.close(hand.writes)
    for _ in range(2):
        hand.run.obey(ASKED, hand.faults, hand.raw, hand.t0_s)
    hand.writes = os.open(os.devnull, os.O_WRONLY)
    assert hand.run.scenario(ASKED) == ASKED


def test_what_was_asked_before_load_began_is_forgotten(hand: Hand) -> None:
    os.write(hand.writes, LOSS + b"\n")
    hand.run.start(hand.raw, 12.5)
    hand.run.obey(ASKED, hand.faults, hand.raw, hand.t0_s)
    assert not hand.links.changed
    assert orjson.loads((hand.raw / START).read_bytes()) == {"t0_s": 12.5}


def test_only_links_of_clients_are_prepared(hand: Hand) -> None:
    shape = hand.run.prepared(ASKED, ASKED.topology)
    assert {link.name for link in shape.links if link.changes} == {"c1-s1", "c2-s1"}
