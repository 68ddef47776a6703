"""A run that is being made: its scene and frames from the files that grow in its folder.

The same frames as of a stored run (`aggregate.py`), of what is known so far: of requests what the
clients wrote, of backends their samples, and what was done. When the run has its verdict, the film
of its tables follows, from the beginning: what stays on the page is what is stored.
"""

import os
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import orjson
import pandas as pd

from experiments.lab.by_hand import DONE, START
from experiments.live.aggregate import FRAMES_PER_S, NEEDED, Tables, film_of
from experiments.live.frame import MOST_FRAMES, Event, Frame, Scene
from experiments.live.scene import scene_of
from experiments.plan.faults import Fault
from experiments.tables.dataset import Run, is_complete, load_run
from experiments.tables.schema import (
    DatasetError,
    empty_frame,
    faults_frame,
    requests_frame,
    samples_frame,
)

_POLL_S = 0.1
_LAG_S = 0.3
"""Programs in the hosts write four times a second or more often."""
_SAMPLES_KEPT_S = 5.0
"""A frame shows the last ones; it may be so late."""


class Tail:
    """A file of JSON lines that grows."""

    def __init__(self, path: Path) -> None:
        """It may not be there yet."""
        self._path = path
        self._at = 0
        self.damaged = 0
        """Lines that were no JSON object, and are left out."""

    def read(self) -> list[dict[str, Any]]:
        """What has come since; a line that has not ended comes when it has."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._at)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._at += len(whole)
        rows = [row for line in whole.splitlines() if (row := _row(line)) is not None]
        self.damaged += whole.count(b"\n") - len(rows)
        return rows


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


@dataclass
class Growing:
    """What is known so far of the run in a folder: as much of its tables as frames need."""

    run: Run
    t0_s: float
    requests: pd.DataFrame = field(default_factory=lambda: empty_frame("requests")[NEEDED])
    samples: pd.DataFrame = field(default_factory=lambda: empty_frame("samples"))
    """The last ones."""
    faults: pd.DataFrame = field(default_factory=lambda: empty_frame("faults"))
    refused: list[Event] = field(default_factory=list)
    in_flight: dict[str, int] = field(default_factory=dict)
    _done: list[dict[str, Any]] = field(default_factory=list)
    _sampled: deque[dict[str, Any]] = field(default_factory=deque)
    _tails: dict[Path, Tail] = field(default_factory=dict)

    @property
    def manifest(self) -> dict[str, Any]:
        """With the faults so far: what each backend could take follows from them."""
        done = [Fault(**_fault(row)).model_dump(mode="json") for row in self._done]
        scenario = self.run.manifest["scenario"] | {"faults": done}
        return self.run.manifest | {"scenario": scenario}

    def read(self) -> None:
        """What has been written since."""
        raw = self.run.path / "raw"
        rows = list(chain.from_iterable(self._new(path) for path in raw.glob("live-*.jsonl")))
        self.in_flight |= {row["client"]: row["in_flight"] for row in rows if "in_flight" in row}
        if ended := [row for row in rows if "seq" in row]:
            new = requests_frame(ended, self.t0_s)[NEEDED]
            kept = [each for each in (self.requests, new) if len(each)]
            self.requests = pd.concat(kept, ignore_index=True)
        for path in raw.glob("samples-*.jsonl"):
            self._sampled.extend(row for row in self._new(path) if _is_sample(row))
        last_s = max((row["t_s"] for row in self._sampled), default=0.0)
        while self._sampled and self._sampled[0]["t_s"] < last_s - _SAMPLES_KEPT_S:
            self._sampled.popleft()
        self.samples = samples_frame(self._sampled, self.t0_s)
        for row in self._new(raw / DONE):
            if "refused" in row:
                label = f"refused: {row['refused']}"
                self.refused.append(Event(t_s=row["t_s"], label=label))
            else:
                self._done.append(row)
        self.faults = faults_frame(self._done, self.t0_s)

    def frame(self, t_s: float) -> Frame:
        """Of that moment, as far as was read."""
        made = Tables(self).frame(t_s)
        return made.model_copy(
            update={
                "in_flight": sum(self.in_flight.values()),
                "events": (*made.events, *(each for each in self.refused if each.t_s <= t_s)),
            }
        )

    def _new(self, path: Path) -> list[dict[str, Any]]:
        return self._tails.setdefault(path, Tail(path)).read()


def _is_sample(row: dict[str, Any]) -> bool:
    return "backend" in row and not row.get("final")


def _fault(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "applied_s"}


def follow(folder: Path) -> Iterator[Scene | Frame]:
    """The scene and frames of the run that is being made there, as they come to be; then again of
    what is stored, when it is. Raises DatasetError if it ends before load begins."""
    growing = _begun(folder)
    duration_s = growing.run.manifest["scenario"]["duration_s"]
    step_s = max(1 / FRAMES_PER_S, duration_s / MOST_FRAMES)
    scene = scene_of(growing.run, step_s, duration_s)
    yield scene.model_copy(update={"live": True})
    number = 0
    parent = os.getppid()
    while not is_complete(folder):
        _stay_with(parent)
        t_s = number * step_s
        if t_s < duration_s and time.monotonic() - growing.t0_s > t_s + _LAG_S:
            growing.read()
            yield growing.frame(t_s)
            number += 1
        else:
            time.sleep(_POLL_S)
    scene, frames = film_of(load_run(folder))
    yield scene
    yield from frames


def _stay_with(parent: int) -> None:
    """Raises DatasetError where who asked for the frames is gone: the run may never end."""
    if os.getppid() != parent:
        raise DatasetError("nobody is there any more to be shown this run")


def _begun(folder: Path) -> Growing:
    start, parent = folder / "raw" / START, os.getppid()
    while not start.exists():
        _stay_with(parent)
        if is_complete(folder):
            reasons = "; ".join(load_run(folder).verdict["reasons"])
            raise DatasetError(f"{folder}: this run ended before load began: {reasons}")
        time.sleep(_POLL_S)
    return Growing(load_run(folder), orjson.loads(start.read_bytes())["t0_s"])
