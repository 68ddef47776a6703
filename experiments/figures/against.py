"""The figures of a sweep: a quantity against a factor."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.analysis.caption import Caption
from experiments.figures.page import from_zero, legend, page
from experiments.figures.style import GREY, STYLE, styles


@dataclass(frozen=True, slots=True)
class Quantity:
    """A column of the sweep's table as an axis."""

    column: str
    label: str
    at_most_one: bool = False


JAIN = Quantity("jain", "Jain's index (requests)", at_most_one=True)
GOODPUT = Quantity("goodput_mbps", "goodput (Mbit/s)")
THROUGHPUT = Quantity("throughput_mbps", "throughput (Mbit/s)")
P99 = Quantity("p99_ms", "p99 latency (ms)")
SERVED = Quantity("served_ms", "mean time at the backends (ms)")

_FACTORS = {
    "loss_pct": ("loss, each way (%)", "loss", " %"),
    "delay_ms": ("delay, one way (ms)", "delay", " ms"),
    "load": ("offered load", "load", ""),
}
"""By column: the axis, and how a level is named above a panel."""


def sweep_against(
    cells: pd.DataFrame,
    factor: str,
    quantity: Quantity,
    caption: Caption,
    *,
    floor: float | None = None,
    others: Sequence[str] = ("loss_pct", "delay_ms"),
    exact: pd.DataFrame | None = None,
) -> Figure:
    """`quantity` against the column `factor`, one mark per algorithm and level, with intervals.

    `cells` from `cell_intervals`; one panel per combination of levels of `others` (but `factor`).
    Levels stand side by side and are not joined: nothing is known between them. `floor`: a level to
    compare with, such as what random assignment reaches. Means that are infinite (a percentile of
    requests that were never answered) are drawn as arrows at the top; the interval of an index
    that cannot exceed 1 is cut there. `exact`: what theory says, as the same columns with `value`;
    marked by a short line of its own.
    """
    rest = [name for name in others if name != factor]
    panels = sorted(set(cells[rest].itertuples(index=False, name=None)))
    with mpl.rc_context(STYLE):
        figure, all_axes = page(len(panels), 3.4, caption, side_by_side=True)
        for axes, levels in zip(all_axes, panels, strict=True):
            here = (cells[rest] == list(levels)).all(axis="columns")
            _sweep_panel(axes, cells[here], factor, quantity)
            if exact is not None and len(exact):
                known = exact[(exact[rest] == list(levels)).all(axis="columns")]
                _exact_marks(axes, cells[here], known, factor)
            axes.set_title(_named(rest, levels), loc="left")
            axes.set_xlabel(_FACTORS.get(factor, (factor,))[0])
            if floor is not None:
                axes.axhline(
                    floor, color=GREY, linestyle=":", label="chance: mean of\nrandom assignment"
                )
        _sweep_scale(all_axes, cells, quantity, floor)
        all_axes[0].set_ylabel(quantity.label)
        legend(all_axes[-1])
    return figure


def _named(factors: Sequence[str], levels: Sequence[object]) -> str:
    """`delay 25 ms, load 0.7`."""
    parts = []
    for factor, level in zip(factors, levels, strict=True):
        _, name, unit = _FACTORS.get(factor, (factor, factor, ""))
        parts.append(f"{name} {level:g}{unit}" if isinstance(level, float | int) else f"{level}")
    return ", ".join(parts)


def _sweep_panel(axes: Axes, cells: pd.DataFrame, factor: str, quantity: Quantity) -> None:
    """Marks are moved apart a little, or their intervals would hide each other."""
    levels = sorted(cells[factor].unique())
    place = {level: position for position, level in enumerate(levels)}
    algorithms = sorted(cells["algorithm"].unique())
    for number, (style, name) in enumerate(zip(styles(), algorithms, strict=False)):
        rows = cells[cells["algorithm"] == name].sort_values(factor)
        x = rows[factor].map(place).astype(float) + 0.08 * (number - (len(algorithms) - 1) / 2)
        high = rows["high"].clip(upper=1.0) if quantity.at_most_one else rows["high"]
        error = np.nan_to_num(np.array([rows["mean"] - rows["low"], high - rows["mean"]]))
        finite = np.isfinite(rows["mean"].to_numpy())
        axes.errorbar(
            x[finite],
            rows["mean"][finite],
            yerr=error[:, finite],
            label=name,
            capsize=2.5,
            elinewidth=1,
            color=style.color,
            linestyle="none",
            marker=style.marker,
        )
        axes.plot(
            x[~finite],
            np.full((~finite).sum(), 0.97),
            transform=axes.get_xaxis_transform(),
            color=style.color,
            marker=r"$\uparrow$",
            markersize=9,
            linestyle="none",
            label=None if finite.all() else "no less than\nthe timeout",
        )
    axes.set_xticks(range(len(levels)), [_word(level) for level in levels])
    axes.set_xlim(-0.4, len(levels) - 0.6)


def _exact_marks(axes: Axes, cells: pd.DataFrame, known: pd.DataFrame, factor: str) -> None:
    """Beside the algorithm's own mark."""
    place = {level: number for number, level in enumerate(sorted(cells[factor].unique()))}
    algorithms = sorted(cells["algorithm"].unique())
    for number, (style, name) in enumerate(zip(styles(), algorithms, strict=False)):
        rows = known[known["algorithm"] == name]
        if len(rows):
            x = rows[factor].map(place).astype(float) + 0.08 * (number - (len(algorithms) - 1) / 2)
            axes.plot(
                x,
                rows["value"],
                marker="_",
                markersize=14,
                markeredgewidth=2,
                color=style.color,
                linestyle="none",
                label=f"{name}, theory",
            )


def _word(level: object) -> str:
    return f"{level:g}" if isinstance(level, float | int) else str(level)


def _sweep_scale(
    all_axes: Sequence[Axes], cells: pd.DataFrame, quantity: Quantity, floor: float | None
) -> None:
    """Rates and times from zero (no ticks where no value is finite); an index that cannot exceed 1
    from a little below its least."""
    if not quantity.at_most_one:
        from_zero(all_axes[0])
        if not np.isfinite(cells["mean"]).any():
            all_axes[0].set_yticks([])
        return
    lowest = np.nanmin([*cells["low"], *cells["mean"], floor if floor is not None else 1.0])
    margin = 0.1 * max(1 - lowest, 0.01)
    all_axes[0].set_ylim(max(0.0, lowest - margin), 1 + margin / 2)
    all_axes[0].yaxis.set_major_locator(MaxNLocator(6))
