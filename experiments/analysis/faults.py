"""What faults did: one row each, with the times to detect and to re-balance. Pure functions.

Faults that are due at the same moment count as one as far as the time until the next is concerned.
"""

from collections.abc import Hashable, Mapping, Sequence
from math import inf, isnan
from typing import Any

import pandas as pd

from experiments.analysis.detection import (
    choices,
    datagrams_carried,
    time_to_leave,
    time_to_return,
)
from experiments.analysis.measured import Measured
from experiments.analysis.rebalancing import Around, time_to_rebalance
from experiments.plan.faults import KINDS, RESTORE
from experiments.plan.faults import Fault as Planned

Fault = Mapping[Hashable, Any]
"""A row of table `faults`."""


def applied(faults: pd.DataFrame) -> list[Planned]:
    """The rows of table `faults` as a scenario has them."""
    columns = (faults[name] for name in ("at_s", "action", "subject", "value"))
    return [
        Planned(at_s=at_s, action=action, subject=subject, value=None if isnan(value) else value)
        for at_s, action, subject, value in zip(*columns, strict=True)
    ]


def fault_table(
    faults: pd.DataFrame,
    connections: pd.DataFrame,
    requests: pd.DataFrame,
    flows: pd.DataFrame,
    backends: Sequence[str],
    duration_s: float,
) -> pd.DataFrame:
    """One row per fault: the table's columns, `detect_s`, `rebalance_s`, and why one is null.

    From the tables of those names. Times count from when the fault was applied.
    """
    chosen = choices(connections)
    carried = datagrams_carried(requests, flows)
    sent = requests.dropna(subset=["sent_s"])
    times_s = sent["sent_s"].to_list()
    answered = (sent["status"] == "ok").map({True: "answered", False: "unanswered"})
    ends = (answered + " " + sent["backend"].fillna("by none")).to_list()
    rows = []
    for fault in faults.to_dict("records"):
        detect = _detect(fault, faults, chosen, carried, duration_s)
        around = Around(
            _before_s(faults, fault), fault["applied_s"], _after_s(faults, fault, duration_s)
        )
        rebalance = time_to_rebalance(times_s, ends, len(backends), around)
        rows.append(
            {
                **fault,
                "detect_s": detect.seconds,
                "detect_reason": detect.reason,
                "rebalance_s": rebalance.seconds,
                "rebalance_reason": rebalance.reason,
            }
        )
    return pd.DataFrame(rows)


def _detect(
    fault: Fault,
    faults: pd.DataFrame,
    chosen: pd.DataFrame,
    carried: pd.DataFrame,
    duration_s: float,
) -> Measured:
    name, applied_s = fault["subject"], fault["applied_s"]
    own = faults[faults["subject"] == name]
    end_s = _after_s(own, fault, duration_s)
    if not _to_be_left(fault, own):
        return Measured(None, "a backend is not to be left for that")
    names = name.split("+")
    if not chosen["backend"].isin(names).any():
        return Measured(None, "no backend, or none that was ever chosen")
    if fault["action"] in ("kill", RESTORE):
        chosen = pd.concat([chosen, carried])
    times_s = chosen.loc[chosen["backend"].isin(names), "t_s"].to_list()
    if fault["action"] == RESTORE:
        return time_to_return(times_s, applied_s, end_s)
    return time_to_leave(times_s, applied_s, end_s, _before_s(own, fault))


def _to_be_left(fault: Fault, own: pd.DataFrame) -> bool:
    """Whether new connections are to go elsewhere; of a `restore`, whether they were to before."""
    if fault["action"] != RESTORE:
        return KINDS[fault["action"]].leaves
    earlier = own.loc[own["applied_s"] < fault["applied_s"], "action"].to_list()
    restored = max((i for i, action in enumerate(earlier) if action == RESTORE), default=-1)
    return any(KINDS[action].leaves for action in earlier[restored + 1 :])


def _before_s(faults: pd.DataFrame, fault: Fault) -> float:
    """When the last one that was due earlier was applied; 0 if there is none."""
    earlier = faults.loc[faults["at_s"] < fault["at_s"], "applied_s"]
    return float(earlier.max()) if len(earlier) else 0.0


def _after_s(faults: pd.DataFrame, fault: Fault, duration_s: float) -> float:
    """When the first one that is due later was applied; at most the end of load."""
    later = faults.loc[faults["at_s"] > fault["at_s"], "applied_s"]
    return min(float(later.min()) if len(later) else inf, duration_s)
