"""A run that is shown while it is made, and done things to by hand.

It leaves in its folder what a follower needs besides the files of the programs in the hosts: when
load began (`raw/start.json`) and what was done or refused (`raw/done.jsonl`). What is asked of it
comes from one pipe, a line of JSON each (`plan/click.py`).
"""

import math
import os
import time
from pathlib import Path
from typing import Any

import orjson

from experiments.lab.faults import AppliedFault, Faults
from experiments.plan.click import MOST_LINE_BYTES, read_click
from experiments.plan.clicked import check_click, clicked
from experiments.plan.faults import Fault
from experiments.plan.scenario import Scenario
from topologies.shapes.shape import Shape

START, DONE = "start.json", "done.jsonl"
CLICKED = "clicked.yaml"
_MOST_BYTES = 1 << 16


class ByHand:
    """Of one run."""

    def __init__(self, commands: int) -> None:
        """`commands`: file descriptor of the pipe's end that is read; it is made non-blocking."""
        os.set_blocking(commands, False)
        self._commands = commands
        self._rest = b""
        self._told = 0
        self._done: list[Fault] = []

    def prepared(self, scenario: Scenario, shape: Shape) -> Shape:
        """With the clients' links ready to be changed."""
        return shape.changing(frozenset(shape.link_of(name).name for name in scenario.clients()))

    def start(self, raw: Path, t0_s: float) -> None:
        """Load begins at `t0_s`, CLOCK_MONOTONIC; what was asked before is forgotten."""
        self._read()
        aside = raw / f".{START}.part"
        aside.write_bytes(orjson.dumps({"t0_s": t0_s}))
        aside.rename(raw / START)

    def obey(self, scenario: Scenario, faults: Faults, raw: Path, t0_s: float) -> None:
        """Do what is asked, as the scheduled faults are done, and note all that was."""
        for line in self._read():
            try:
                self._click(line, scenario, faults, t0_s)
            except ValueError as error:
                self._note(raw, {"t_s": time.monotonic() - t0_s, "refused": str(error)[:200]})
        for applied in faults.applied[self._told :]:
            self._note(raw, applied.row)
        self._told = len(faults.applied)

    def scenario(self, asked: Scenario) -> Scenario:
        """What was done, as it could have been asked for."""
        return clicked(asked, self._done)

    def _click(self, line: bytes, scenario: Scenario, faults: Faults, t0_s: float) -> None:
        now_s = time.monotonic() - t0_s
        if now_s < 0:
            raise ValueError("load has not begun")
        wanted = read_click(line)
        check_click(scenario, self._done, wanted.fault(now_s))
        applied_s = faults.apply_now(wanted.fault(now_s)).applied_s
        # Downwards: a fault that is applied before it is due would be early.
        fault = wanted.fault(math.floor((applied_s - t0_s) * 1000) / 1000)
        faults.applied[-1] = AppliedFault(fault, applied_s)
        self._done.append(fault)

    def _read(self) -> list[bytes]:
        """Whole lines; of one that does not end, only so much that it is refused."""
        try:
            self._rest += os.read(self._commands, _MOST_BYTES)
        except BlockingIOError:
            return []
        *lines, rest = self._rest.split(b"\n")
        self._rest = rest[: MOST_LINE_BYTES + 1]
        return lines

    def _note(self, raw: Path, row: dict[str, Any]) -> None:
        with (raw / DONE).open("ab") as file:
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
