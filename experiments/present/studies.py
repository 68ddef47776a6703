"""A study's outcome: shown, drawn, stored."""

from collections.abc import Sequence
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from experiments import figures
from experiments.analysis.caption import sweep_caption
from experiments.analysis.claims import Compared, Judged, together
from experiments.analysis.compare import Difference
from experiments.plan.study import Study, Where
from experiments.tables.dataset import Run
from experiments.tables.sweep import Made

OUTCOME_FILE = "study.json"
_COLOURS = {"held": "green", "refuted": "red", "undecided": "yellow"}


def show_study(
    study: Study,
    judged: Sequence[Judged],
    beside: Sequence[Compared],
    drawn: Sequence[Path],
    console: Console,
) -> None:
    """Every claim with its interval, every expected value beside what was measured, the figure."""
    for each in judged:
        outcome, _, rest = str(each).partition(": ")
        console.print(
            f"  [{_COLOURS[outcome]}]{outcome:9}[/] {rest}", highlight=False, soft_wrap=True
        )
    if beside:
        table = Table("what", "of", "expected", "measured, 95 %", "source", box=None)
        for pair in beside:
            found, wanted = pair.measured, pair.expected
            measured = f"{found.mean:.4g} [{found.low:.4g}, {found.high:.4g}]"
            mark = "" if pair.inside else "  (outside)"
            cells = (wanted.metric, words(wanted.of), f"{wanted.value:g}", f"{measured}{mark}")
            table.add_row(*cells, wanted.source)
        console.print(table)
    for path in drawn:
        console.print(f"  figure   {path}", highlight=False, soft_wrap=True)
    console.print(f"  look at  {study.look_at}", highlight=False)


def words(where: Where) -> str:
    """`round_robin, delay_ms 5`."""
    return ", ".join(
        str(level) if column == "algorithm" else f"{column} {level}"
        for column, level in where.items()
    )


def draw_claims(
    judged: Sequence[Judged], runs: Sequence[Run], folder: Path, made: Made
) -> list[Path]:
    """One row per claim of each metric, as differences are drawn."""
    caption = sweep_caption(runs, made)
    into = folder / "figures"
    into.mkdir(parents=True, exist_ok=True)
    drawn: list[Path] = []
    for metric in dict.fromkeys(each.claim.metric for each in judged):
        rows = [_row(each) for each in judged if each.claim.metric == metric]
        figure = figures.forest(rows, metric, caption)
        drawn += figures.save(figure, into / f"claims_{metric}")
    return drawn


def _row(judged: Judged) -> Difference:
    claim, found = judged.claim, judged.interval
    second = words(claim.than) if claim.than else str(claim.below or claim.above)
    return Difference(
        words(claim.of),
        second,
        (),
        claim.metric,
        found.mean,
        found.low,
        found.high,
        found.n,
        judged.p_holm,
    )


def write_study(
    study: Study, judged: Sequence[Judged], beside: Sequence[Compared], folder: Path
) -> None:
    """`study.json`: the outcome, and every number it rests on."""
    content = {
        "schema_version": 1,
        "title": study.title,
        "question": study.question,
        "hypothesis": study.hypothesis,
        "outcome": together(judged),
        "claims": [
            {
                **each.claim.model_dump(exclude_none=True),
                "outcome": each.outcome,
                "mean": each.interval.mean,
                "low": each.interval.low,
                "high": each.interval.high,
                "n": each.interval.n,
                "p_holm": each.p_holm,
                "said": str(each),
            }
            for each in judged
        ],
        "expected": [
            {
                **each.expected.model_dump(),
                "mean": each.measured.mean,
                "low": each.measured.low,
                "high": each.measured.high,
                "inside": each.inside,
            }
            for each in beside
        ],
    }
    options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
    (folder / OUTCOME_FILE).write_bytes(orjson.dumps(content, option=options))
