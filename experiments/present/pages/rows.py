"""A stored run as one line of a list.

What it says is kept beside the run (`.summary.json`), so that a list of many is made without
reading their tables again.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from experiments.analysis.conditions import Conditions
from experiments.analysis.latency import percentiles
from experiments.analysis.throughput import in_window
from experiments.tables.dataset import Run, load_run
from nginy.errors import NginyError

KEPT = ".summary.json"
VERSION = 1
NONE = "-"


@dataclass(frozen=True, slots=True)
class Row:
    """In words, what a list says; `reason` is why it is not valid, empty if it is."""

    started_utc: str
    algorithm: str
    system: str
    protocol: str
    arm: str
    loss_pct: str
    delay_ms: str
    load: str
    seed: str
    reason: str
    p50: str
    p99: str


def row_of(run: Run) -> Row:
    """Percentiles over the measured interval, `>= 5000 ms` where they are censored, `-` where there
    is none."""
    where = Conditions.of_manifest(run.manifest)
    p50, p99 = _percentiles(run, where)
    return Row(
        started_utc=run.manifest.get("started_utc", ""),
        algorithm=where.label or where.algorithm,
        system=where.system,
        protocol=where.protocol,
        arm="simulated" if where.simulated else "emulated",
        loss_pct=f"{where.loss_pct:g}",
        delay_ms=f"{where.delay_ms:g}",
        load=where.kind if where.load is None else f"{where.load:g}",
        seed=str(where.seed),
        reason="" if run.verdict["valid"] else "; ".join(run.verdict["reasons"]) or "no reason",
        p50=p50,
        p99=p99,
    )


def _percentiles(run: Run, where: Conditions) -> tuple[str, str]:
    if not run.measured or where.overloaded:
        return NONE, NONE
    requests = in_window(run.requests, where.window_s)
    p50, p99 = percentiles(requests, where.timeout_ms, (0.5, 0.99))
    return (str(p50), str(p99)) if len(requests) else (NONE, NONE)


def unreadable(why: object) -> Row:
    """Of a run whose files cannot be read."""
    said = f"cannot be read: {why}"
    return Row("", *(NONE,) * 8, said, NONE, NONE)


def keep(run: Run) -> Row:
    """`row_of`, stored beside the run."""
    row = row_of(run)
    content = {"schema_version": VERSION, **asdict(row)}
    (run.path / KEPT).write_bytes(orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE))
    return row


def stored_row(folder: Path) -> Row:
    """Of the run in `folder`: as it was kept, or made and kept now, where that is older than the
    verdict, or of another version."""
    try:
        return _kept(folder) or keep(load_run(folder))
    except (NginyError, OSError, LookupError, TypeError, ValueError) as error:
        # A folder that somebody put there, or of a version that nobody knows: the list goes on.
        return unreadable(f"{type(error).__name__}: {error}")


def _kept(folder: Path) -> Row | None:
    path = folder / KEPT
    try:
        if path.stat().st_mtime_ns < (folder / "verdict.json").stat().st_mtime_ns:
            return None
        content = orjson.loads(path.read_bytes())
        if content.pop("schema_version") != VERSION:
            return None
        return Row(**content)
    except (OSError, LookupError, TypeError, ValueError):
        return None
