"""Where the time of a request goes, algorithm by algorithm."""

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from experiments.analysis.caption import Caption
from experiments.figures.page import legend, page
from experiments.figures.style import COLOURS, STYLE

_ROW_IN = 0.42
_HATCHES = ("", "///", "...", "xxx", "\\\\\\")
"""So that parts are told apart in grey, too."""


def latency_stack(parts: pd.DataFrame, caption: Caption) -> Figure:
    """One bar per row of `parts` (from `where_time_goes.stack`), its columns one after the other:
    together they are the mean latency of what was answered."""
    with mpl.rc_context(STYLE):
        figure, (axes,) = page(1, 1.2 + _ROW_IN * len(parts), caption)
        left = pd.Series(0.0, index=parts.index)
        for colour, hatch, column in zip(COLOURS, _HATCHES, parts.columns, strict=False):
            width = parts[column]
            axes.barh(
                range(len(parts)),
                width,
                left=left,
                label=column,
                color=colour,
                hatch=hatch,
                edgecolor="white",
                linewidth=0.5,
            )
            left = left + width
        for row, total in enumerate(left):
            axes.annotate(f" {total:.3g}", (total, row), va="center", fontsize=8)
        axes.set_yticks(range(len(parts)), list(parts.index))
        axes.set_ylim(len(parts) - 0.5, -0.5)
        axes.set_xlim(0, float(left.max()) * 1.08)
        axes.set_xlabel("mean latency of answered requests (ms)")
        axes.grid(visible=False, axis="y")
        legend(axes)
    return figure
