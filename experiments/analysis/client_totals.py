"""What a client that keeps no record of each request says of all of them. Pure."""

import pandas as pd

from experiments.tables.dataset import Run
from experiments.tables.schema import DatasetError

_PREFIX = "wrk_"
ERRORS = ("errors_connect", "errors_read", "errors_write", "errors_status")


def client_totals(samples: pd.DataFrame) -> pd.DataFrame:
    """One row per client (the index) of what wrk counted over the whole run, warm-up included:
    `seconds`, `requests`, `bytes` (with heads), ERRORS, `timeouts`, and `latency_*_ms`, its own
    figures of a closed loop. No rows of a run without such a client."""
    rows = samples[samples["quantity"].str.startswith(_PREFIX)]
    named = rows.assign(quantity=rows["quantity"].str.removeprefix(_PREFIX))
    return named.pivot(index="source", columns="quantity", values="value")


def answered(totals: pd.DataFrame) -> int:
    """Requests of all clients that were answered with a status below 400."""
    return int((totals["requests"] - totals["errors_status"]).sum()) if len(totals) else 0


def totals_only(run: Run) -> bool:
    """Whether its clients kept no record of each request."""
    return bool(run.manifest["scenario"]["workload"].get("kind") == "wrk")


def need_requests(run: Run) -> None:
    """Raise DatasetError for a run that has none: it must not look like one without an answer."""
    if totals_only(run):
        raise DatasetError(
            f"{run.path}: workload.kind wrk gives totals alone, no record of each request, so this "
            "run can neither be compared nor replayed: workload.kind: http can"
        )
