"""A run that is being made is shown as it will be when it is stored."""

import math
import re
import shutil
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from experiments.lab.by_hand import DONE, START
from experiments.live.aggregate import Tables, film_of
from experiments.live.follow import Growing, Tail, follow
from experiments.live.frame import Frame, Scene
from experiments.tables.dataset import DatasetError, Run, load_run
from experiments.tables.schema import BACKEND_QUANTITIES
from tests.unit.experiments.live.reels import golden

T0_S = 1000.0
TIMES = ("intended_s", "sent_s", "connected_s", "first_byte_s", "ended_s")


def test_a_line_comes_when_it_is_whole_and_a_damaged_one_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    tail = Tail(path)
    assert tail.read() == []
    path.write_bytes(b'{"a": 1}\n{"a"')
    assert tail.read() == [{"a": 1}]
    assert tail.read() == []
    with path.open("ab") as file:
        file.write(b': 2}\nnonsense\n[3]\n{"a": 4}\n')
    assert tail.read() == [{"a": 2}, {"a": 4}]
    assert tail.damaged == 2


def lines(path: Path, rows: "list[dict[str, Any]]") -> None:
    with path.open("ab") as file:
        file.writelines(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)


class Made:
    """A stored run, as it was while it was made."""

    def __init__(self, folder: Path) -> None:
        self.stored = golden()
        self.raw = folder / "raw"
        self.raw.mkdir(parents=True)
        for name in ("manifest", "calibration"):
            shutil.copy(self.stored.path / f"{name}.json", folder)

    def until(self, from_s: float, to_s: float) -> None:
        """What the programs wrote in that time."""
        run: Run = self.stored
        ended = run.requests[run.requests["ended_s"].between(from_s, to_s, inclusive="right")]
        for row in ended.to_dict("records"):
            known = {str(key): None if value != value else value for key, value in row.items()}
            known |= {name: known[name] + T0_S for name in TIMES if known[name] is not None}
            lines(self.raw / f"live-{row['client']}.jsonl", [known])
        wide = run.samples[run.samples["t_s"].between(from_s, to_s, inclusive="right")]
        for (name, t_s), group in wide.groupby(["source", "t_s"]):
            values = dict(zip(group["quantity"], group["value"], strict=True))
            if set(BACKEND_QUANTITIES) <= values.keys():
                row = {"t_s": t_s + T0_S, "backend": name, **values}
                lines(self.raw / f"samples-{name}.jsonl", [row])


def rounded(frame: Frame) -> str:
    """All but what nobody has told yet; the clock's origin costs the last digits."""
    return re.sub(
        r"\d+\.\d+",
        lambda found: f"{float(found[0]):.6f}",
        frame.model_dump_json(exclude={"in_flight"}),
    )


def test_its_frames_are_those_of_the_stored_run(tmp_path: Path) -> None:
    made = Made(tmp_path)
    growing = Growing(load_run(tmp_path), T0_S)
    tables = Tables(made.stored)
    before_s = -math.inf
    for t_s in (0.5, 1.0, 2.25, 3.5):
        made.until(before_s, t_s)
        before_s = t_s
        growing.read()
        found, expected = growing.frame(t_s), tables.frame(t_s)
        assert rounded(found) == rounded(expected)
    assert found.totals.requests > 0


def test_what_was_done_and_refused_is_shown(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.until(-math.inf, 2.0)
    growing = Growing(load_run(tmp_path), T0_S)
    row = {"at_s": 1.5, "applied_s": T0_S + 1.5, "action": "kill", "subject": "b2", "value": None}
    lines(made.raw / DONE, [row, {"t_s": 1.75, "refused": "kill b9"}])
    lines(made.raw / "live-c1.jsonl", [{"t_s": T0_S + 2, "client": "c1", "in_flight": 7}])
    growing.read()
    frame = growing.frame(2.0)
    assert [(each.t_s, each.label) for each in frame.events] == [
        (1.5, "kill b2"),
        (1.75, "refused: kill b9"),
    ]
    assert [each.name for each in frame.backends if not each.up] == ["b2"]
    assert frame.in_flight == 7
    assert growing.frame(1.6).events == frame.events[:1]


def test_when_it_has_its_verdict_the_stored_run_follows(tmp_path: Path) -> None:
    made = Made(tmp_path)
    # Load began so long ago that all frames of it are due.
    now_s = time.monotonic()
    (made.raw / START).write_bytes(orjson.dumps({"t0_s": now_s - 1000}))
    found = follow(tmp_path)
    live = next(found)
    assert isinstance(live, Scene)
    assert live.live
    assert live.valid is None
    assert isinstance(next(found), Frame)
    for name in ("requests.parquet", "samples.parquet", "verdict.json"):
        shutil.copy(made.stored.path / name, tmp_path)
    scene, *frames = found
    expected, film = film_of(made.stored)
    assert scene == expected.model_copy(update={"run_id": tmp_path.name})
    assert frames == list(film)


def test_a_run_that_ended_before_load_says_why(tmp_path: Path) -> None:
    made = Made(tmp_path)
    verdict = {"schema_version": 1, "valid": False, "reasons": ["links: too slow"]}
    (tmp_path / "verdict.json").write_bytes(orjson.dumps(verdict))
    assert made.raw.exists()
    with pytest.raises(DatasetError, match="ended before load began: links: too slow"):
        next(follow(tmp_path))
