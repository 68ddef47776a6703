"""A run's tables as they were known at a moment: one frame. Pure, and only the analysis' sums.

A request is known when it has ended. Windows reach back from the moment: 5 s for latencies and
shares, 1 s for rates. Fairness asks only since the last fault, so that what each backend could take
is one number, and leaves out those that could take nothing.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Protocol

import pandas as pd

from experiments.analysis.client_totals import need_requests
from experiments.analysis.conditions import Conditions
from experiments.analysis.fairness import connections_used, fairness_verdict, load_per_backend
from experiments.analysis.faults import applied
from experiments.analysis.latency import percentiles
from experiments.analysis.throughput import in_window, total
from experiments.live.frame import (
    MOST_FRAMES,
    BackendFrame,
    Event,
    Fairness,
    Frame,
    Latency,
    Reading,
    Scene,
    Totals,
)
from experiments.live.scene import scene_of
from experiments.plan.faults import KINDS, RESTORE, Fault
from experiments.tables.dataset import Run
from experiments.tables.schema import empty_frame

WINDOW_S = 5.0
RATE_WINDOW_S = 1.0
FRAMES_PER_S = 4
FEW = 50
"""Connections, below which Jain's index says nothing."""
_SILENT_S = 1.0
_SHOWN = (0.5, 0.95, 0.99)
_NO_READING = Reading()


def film_of(run: Run) -> tuple[Scene, Iterator[Frame]]:
    """What stays of a stored run, and its frames as they are made: four a second, or at most
    `MOST_FRAMES`, the last with all that is known. DatasetError for a run of totals alone."""
    need_requests(run)
    tables = Tables(run)
    step_s = max(1 / FRAMES_PER_S, tables.end_s / MOST_FRAMES)
    times_s = (step_s * number for number in range(math.ceil(tables.end_s / step_s)))
    scene = scene_of(run, step_s, tables.end_s)
    return scene, (tables.frame(t_s) for t_s in chain(times_s, [tables.end_s]))


class Known(Protocol):
    """What is known of a run: all of a stored one, of one that is being made what there is."""

    @property
    def manifest(self) -> dict[str, Any]:
        """What was asked and where."""

    @property
    def requests(self) -> pd.DataFrame:
        """Of table `requests`, at least the columns `NEEDED`."""

    @property
    def samples(self) -> pd.DataFrame:
        """Table `samples`."""

    @property
    def faults(self) -> pd.DataFrame:
        """Table `faults`."""


class Tables:
    """What a run's frames are made of; nothing is changed after it was made."""

    def __init__(self, run: Known) -> None:
        """Read the tables."""
        self.where = Conditions.of_manifest(run.manifest)
        self._requests = run.requests[NEEDED].sort_values("ended_s", ignore_index=True)
        self._faults = run.faults.sort_values("applied_s", ignore_index=True)
        values = run.samples[run.samples["quantity"].isin(_SAMPLED)]
        self._samples = {
            key: group.set_index("t_s")["value"]
            for key, group in values.groupby(["source", "quantity"])
        }
        last_s = self._requests["ended_s"].max()
        self.end_s = float(max(self.where.duration_s, 0.0 if math.isnan(last_s) else last_s))

    def frame(self, t_s: float) -> Frame:
        """The run at `t_s`; at its end with every request, also those that never ended."""
        known = self._known(t_s)
        recent = known[known["ended_s"] > t_s - WINDOW_S]
        done = self._faults[self._faults["applied_s"] <= t_s]
        begun = self._requests["sent_s"] <= t_s
        return Frame(
            t_s=t_s,
            window_s=WINDOW_S,
            in_flight=int(begun.sum() - known["sent_s"].notna().sum()),
            unanswered_so_far=int((known["status"] != "ok").sum()),
            latency=_latency(recent, self.where.timeout_ms),
            backends=tuple(self._backends(t_s, recent, done)),
            fairness=self._fairness(t_s, recent, done),
            totals=self._totals(t_s, known),
            events=tuple(
                Event(t_s=when_s, label=str(fault))
                for when_s, fault in zip(done["applied_s"], applied(done), strict=True)
            ),
        )

    def _known(self, t_s: float) -> pd.DataFrame:
        if t_s >= self.end_s:
            return self._requests
        return self._requests.iloc[: self._requests["ended_s"].searchsorted(t_s, side="right")]

    def _backends(
        self, t_s: float, recent: pd.DataFrame, done: pd.DataFrame
    ) -> Iterator[BackendFrame]:
        by_name = dict(iter(recent.groupby("backend")))
        reached = int(recent["backend"].notna().sum())
        for name in self.where.backends:
            own = by_name.get(name, recent.iloc[:0])
            p50, _, p99 = _readings(own, self.where.timeout_ms)
            state, since_s, up = _state(name, done)
            yield BackendFrame(
                name=name,
                state=state,
                since_s=since_s,
                up=up,
                requests=len(own),
                share=len(own) / reached if reached else None,
                rps=float((own["ended_s"] > t_s - RATE_WINDOW_S).sum()) / RATE_WINDOW_S,
                p50=p50,
                p99=p99,
                failed=int((own["status"] != "ok").sum()),
                open=self._sampled(name, "active_connections", t_s),
                queue=self._sampled(name, "queue_length", t_s),
                busy=self._sampled(name, "busy", t_s),
            )

    def _sampled(self, source: str, quantity: str, t_s: float) -> int | None:
        values = self._samples.get((source, quantity))
        place = 0 if values is None else int(values.index.searchsorted(t_s, side="right"))
        if values is None or not place or values.index[place - 1] < t_s - _SILENT_S:
            return None
        return int(values.iloc[place - 1])

    def _fairness(self, t_s: float, recent: pd.DataFrame, done: pd.DataFrame) -> Fairness:
        """Since the last fault, at most over the window."""
        changed_s = max(done[["at_s", "applied_s"]].max()) if len(done) else 0.0
        since_s = max(t_s - WINDOW_S, changed_s)
        rows = in_window(recent, (since_s, math.inf), "ended_s")
        always = (-math.inf, math.inf)
        decisions = _rounded(connections_used(rows, always))
        if decisions < FEW or t_s <= since_s:
            return Fairness()
        could_take = self.where.capacities((since_s, t_s))
        return _judged(rows, self.where.backends, could_take, always, decisions)

    def _totals(self, t_s: float, known: pd.DataFrame) -> Totals:
        begin_s, end_s = self.where.window_s
        window_s = (begin_s, min(end_s, t_s))
        rows = in_window(known, window_s)
        over = window_s[1] > begin_s
        p50, p95, p99 = _readings(rows, self.where.timeout_ms, none=self.where.overloaded)
        return Totals(
            requests=len(rows),
            unanswered=int((rows["status"] != "ok").sum()),
            completed_rps=total(known, window_s).completed_rps if over else None,
            p50=p50,
            p95=p95,
            p99=p99,
            fairness=self._final_fairness(known) if t_s >= self.end_s else Fairness(),
        )

    def _final_fairness(self, known: pd.DataFrame) -> Fairness:
        window_s = self.where.window_s
        decisions = connections_used(known, window_s)
        return _judged(known, self.where.backends, self.where.capacities(), window_s, decisions)


# Of table `requests`.
NEEDED = [
    *("intended_s", "sent_s", "connected_s", "first_byte_s", "ended_s", "latency_ms", "status"),
    *("backend", "bytes_received", "local"),
]
_SAMPLED = ("active_connections", "queue_length", "busy")


def _judged(
    rows: pd.DataFrame,
    backends: Sequence[str],
    could_take: Sequence[float],
    window_s: tuple[float, float],
    decisions: int,
) -> Fairness:
    load = load_per_backend(rows, empty_frame("connections"), backends, window_s)
    found = fairness_verdict(load["requests"].to_list(), could_take, decisions=decisions)
    if math.isnan(found.jain):
        return Fairness()
    return Fairness(
        jain=found.jain, mean=found.floor.mean, low=found.floor.lowest, evenness=str(found)
    )


def _rounded(count: int) -> int:
    """To two digits, downwards: chance is known for few counts only, and its band none too
    narrow. Each count costs 50 000 draws."""
    digits = max(0, len(str(count)) - 2)
    unit: int = 10**digits
    return count // unit * unit


def _latency(rows: pd.DataFrame, timeout_ms: float) -> Latency:
    p50, p95, p99 = _readings(rows, timeout_ms)
    unanswered = int((rows["status"] != "ok").sum())
    return Latency(p50=p50, p95=p95, p99=p99, requests=len(rows), unanswered=unanswered)


def _readings(rows: pd.DataFrame, timeout_ms: float, *, none: bool = False) -> list[Reading]:
    """Of `_SHOWN`."""
    if none or rows.empty:
        return [_NO_READING] * len(_SHOWN)
    return [
        Reading(ms=timeout_ms if each.censored else each.latency_ms, censored=each.censored)
        for each in percentiles(rows, timeout_ms, _SHOWN)
    ]


def _state(name: str, done: pd.DataFrame) -> tuple[str, float, bool]:
    """What is done to it at present, since when, and whether it is meant to serve."""
    ailments: list[Fault] = []
    since_s = 0.0
    for when_s, fault in zip(done["applied_s"], applied(done), strict=True):
        if name in {end for host in fault.hosts for end in host.split("-")}:
            ailments = [] if fault.action == RESTORE else [*ailments, fault]
            since_s = float(when_s)
    words = ", ".join(_STATES.get(fault.action) or _with_value(fault) for fault in ailments)
    return words or "up", since_s, not any(KINDS[fault.action].leaves for fault in ailments)


_STATES = {"kill": "killed", "pause": "paused", "drain": "draining", "cut": "cut off"}


def _with_value(fault: Fault) -> str:
    """`slow x0.25`: the fault without its subject."""
    return str(fault).replace(f" {fault.subject}", "")
