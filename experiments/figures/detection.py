"""How long algorithms took to notice faults and to spread the load anew, run by run."""

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from experiments.analysis.caption import Caption
from experiments.figures.page import from_zero, legend, page
from experiments.figures.style import STYLE, styles


def times_to_detect(table: pd.DataFrame, caption: Caption) -> Figure:
    """A point per run, fault and algorithm: seconds until it was noticed, and until the load was
    spread anew; those that could not be told are left out, and counted below.

    `table` has `algorithm`, `fault` (in words), `detect_s` and `rebalance_s`.
    """
    faults = list(dict.fromkeys(table["fault"]))
    algorithms = sorted(table["algorithm"].unique())
    with mpl.rc_context(STYLE):
        figure, panels = page(2, 5.0, caption)
        for axes, column in zip(panels, ("detect_s", "rebalance_s"), strict=True):
            for number, (style, name) in enumerate(zip(styles(), algorithms, strict=False)):
                own = table[table["algorithm"] == name]
                shift = 0.12 * (number - (len(algorithms) - 1) / 2)
                x = own["fault"].map(faults.index) + shift
                axes.plot(
                    x, own[column], style.marker, color=style.color, linestyle="none", label=name
                )
            told = table.groupby("fault")[column].apply(lambda each: each.notna().sum())
            names = [f"{fault}\nn = {told[fault]}" for fault in faults]
            axes.set_xticks(range(len(faults)), names, fontsize=7, rotation=20)
            axes.tick_params(labelbottom=True)
            from_zero(axes)
            legend(axes)
        panels[0].set_ylabel("detected after (s)")
        panels[1].set_ylabel("re-balanced after (s)")
    return figure
