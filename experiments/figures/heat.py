"""A quantity over two factors at once, one panel per algorithm."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.analysis.caption import Caption
from experiments.figures.against import Quantity
from experiments.figures.page import page
from experiments.figures.style import STYLE


def heat_map(
    cells: pd.DataFrame, factors: tuple[str, str], quantity: Quantity, caption: Caption
) -> Figure:
    """Means over replicates as colours of one scale, written into each cell with their number.

    `cells` from `cell_intervals`. A cell without a finite mean is left white.
    """
    across, up = factors
    algorithms = sorted(cells["algorithm"].unique())
    tables = {
        name: cells[cells["algorithm"] == name].pivot_table(index=up, columns=across, values="mean")
        for name in algorithms
    }
    finite = cells["mean"][np.isfinite(cells["mean"])]
    with mpl.rc_context(STYLE):
        figure, panels = page(len(algorithms), 2.8, caption, side_by_side=True)
        for axes, (name, table) in zip(panels, tables.items(), strict=True):
            image = axes.imshow(
                table, cmap="viridis", vmin=finite.min(), vmax=finite.max(), aspect="auto"
            )
            axes.set_xticks(range(len(table.columns)), [f"{level}" for level in table.columns])
            axes.set_yticks(range(len(table.index)), [f"{level}" for level in table.index])
            axes.set(title=name, xlabel=across)
            axes.grid(visible=False)
            for (row, column), value in np.ndenumerate(table.to_numpy()):
                light = value < (finite.min() + finite.max()) / 2
                colour = "white" if light else "black"
                axes.text(column, row, f"{value:.3g}", ha="center", va="center", color=colour)
        panels[0].set_ylabel(up)
        figure.colorbar(image, ax=panels[-1], label=quantity.label)
    return figure
