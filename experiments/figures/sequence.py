"""The figure of one connection's packets: bytes against time."""

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from experiments.analysis.caption import Caption
from experiments.figures.page import legend, page
from experiments.figures.style import COLOURS, STYLE

_MARKS = {"syn": "^", "data": ".", "ack": "|", "fin": "s", "rst": "x"}


def packet_sequence(packets: pd.DataFrame, caption: Caption) -> Figure:
    """Each packet at its time and the number of its first byte, a panel per way; `packets` from
    `read_sequence`. Those that were sent again are ringed."""
    zero_s = packets["time_s"].min()
    with mpl.rc_context(STYLE):
        figure, panels = page(2, 4.2, caption)
        for axes, way, from_whom in zip(panels, ("up", "down"), ("client", "server"), strict=True):
            mine = packets[packets["way"] == way]
            for colour, (kind, marker) in zip(COLOURS, _MARKS.items(), strict=False):
                rows = mine[mine["kind"] == kind]
                if len(rows):
                    x, y = 1e3 * (rows["time_s"] - zero_s), rows["first_byte"]
                    axes.plot(x, y, marker, color=colour, label=kind)
            again = mine[mine["again"]]
            x, y = 1e3 * (again["time_s"] - zero_s), again["first_byte"]
            label = f"sent again ({len(again)})"
            axes.plot(x, y, "o", label=label, mfc="none", mec="black", markersize=10)
            axes.set_ylabel(f"bytes from the {from_whom}")
            legend(axes)
        panels[-1].set_xlabel("time since the first packet (ms)")
    return figure
