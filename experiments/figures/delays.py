"""What the links were asked for, and how long packets took."""

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from experiments.analysis.caption import Caption
from experiments.figures.page import legend, page
from experiments.figures.style import COLOURS, GREY, STYLE
from experiments.judge.punctuality import OneWay

_ROW_IN = 0.26


def one_way_delays(ways: Sequence[OneWay], caption: Caption) -> Figure:
    """One row per direction between a client and a balancer, by captures at both ends: how much
    later than asked packets came. Median, 99 %, 99.9 % and the latest."""
    marks = (
        ("median", "p50_ms", "o"),
        ("99 %", "p99_ms", "s"),
        ("99.9 %", "p999_ms", "^"),
        ("latest", "max_ms", "x"),
    )
    with mpl.rc_context(STYLE):
        figure, (axes,) = page(1, 1.2 + _ROW_IN * len(ways), caption)
        axes.axvline(0, color=GREY, linestyle=":")
        rows = range(len(ways))
        for colour, (label, name, marker) in zip(COLOURS, marks, strict=False):
            values = [getattr(way, name) for way in ways]
            axes.plot(values, rows, marker, color=colour, label=label, linestyle="none")
        names = [
            f"{way.client} {way.direction}, {way.asked_ms:g} ms asked, n = {way.packets}"
            for way in ways
        ]
        axes.set_yticks(rows, names, fontsize=8)
        axes.set_ylim(len(ways) - 0.5, -0.5)
        axes.set_xlabel("measured less asked one-way delay (ms)")
        legend(axes)
    return figure
