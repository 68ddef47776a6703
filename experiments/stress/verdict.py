"""From figures to a table and verdicts; pure."""

from collections.abc import Mapping

from experiments.stress.scenes import SCENES, Figure, Scene

Figures = Mapping[str, Mapping[str, Figure]]
"""By scene and system."""
OURS = "nginy"
HEAD = ("", "figure", "quiet", "goal", "loop lag p99", "verdict")
MOST_LAG_MS = 5.0
"""In every scene."""


def bound(scene: Scene, figures: Mapping[str, Figure]) -> float | None:
    """What the figure of nginy may be at most (at least, where more is better); None: what it is
    held against was not measured."""
    goal = scene.goal
    if goal.held is not None:
        return goal.held + (figures[OURS].quiet or 0.0)
    if goal.beside is None or goal.beside not in figures:
        return None
    return figures[goal.beside].value + (-goal.slack if goal.more_is_better else goal.slack)


def reached(scene: Scene, figures: Mapping[str, Figure]) -> bool | None:
    """Whether nginy reached the goal; None: nobody can say."""
    limit = bound(scene, figures) if OURS in figures else None
    if limit is None:
        return None
    value, lag_ms = figures[OURS].value, figures[OURS].lag_ms
    if lag_ms is not None and lag_ms > MOST_LAG_MS:
        return False
    return value >= limit if scene.goal.more_is_better else value <= limit


def table(figures: Figures) -> str:
    """A group of lines for each scene."""
    rows: list[tuple[str, ...]] = [HEAD]
    for name, its in figures.items():
        rows.append((f"{name}: {SCENES[name].title}", *[""] * (len(HEAD) - 1)))
        rows += [_row(SCENES[name], system, its) for system in its]
    widths = [max(len(row[i]) for row in rows if row[1] or i) for i in range(len(HEAD))]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join(lines)


def _row(scene: Scene, system: str, figures: Mapping[str, Figure]) -> tuple[str, ...]:
    value, quiet, lag_ms = figures[system]
    cells = (f"  {system}", f"{value:.1f}", "" if quiet is None else f"{quiet:.1f}")
    limit = bound(scene, figures) if system == OURS else None
    if limit is None:
        return (*cells, "", "", "not judged" if system == OURS else "")
    sign = ">=" if scene.goal.more_is_better else "<="
    word = "reached" if reached(scene, figures) else "MISSED"
    return (*cells, f"{sign} {limit:.1f}", "" if lag_ms is None else f"{lag_ms:.1f} ms", word)
