"""Paired differences between algorithms, as a forest plot."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from experiments.analysis.caption import Caption
from experiments.analysis.compare import Difference
from experiments.figures.page import page
from experiments.figures.style import GREY, STYLE

_ROW_IN = 0.22
DECIDED, OPEN = "#0072B2", GREY


def forest(differences: Sequence[Difference], label: str, caption: Caption) -> Figure:
    """One row per difference with its 95 % interval, and none at zero. Filled: can be told from
    none (Holm, 5 % over all rows); hollow: cannot. Rows without a finite difference say so."""
    with mpl.rc_context(STYLE):
        figure, (axes,) = page(1, 1.1 + _ROW_IN * len(differences), caption)
        axes.axvline(0, color=GREY, linestyle=":")
        for row, each in enumerate(differences):
            if not np.isfinite(each.mean):
                axes.text(0, row, " censored or not paired", va="center", fontsize=8, color=GREY)
                continue
            color = DECIDED if each.decided else OPEN
            error = np.nan_to_num([[each.mean - each.low], [each.high - each.mean]])
            axes.errorbar(
                each.mean,
                row,
                xerr=error,
                marker="o",
                color=color,
                markerfacecolor=color if each.decided else "white",
                capsize=2.5,
                linestyle="none",
            )
        names = [
            f"{each.first} - {each.second}{f' ({each.where})' if each.where else ''}, n = {each.n}"
            for each in differences
        ]
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel(f"difference of {label}: to the left, the first is smaller")
    return figure
