"""Figures over the time of a run: load per backend, throughput, what became of datagrams."""

from collections.abc import Sequence

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.analysis.caption import Caption
from experiments.figures.page import from_zero, legend, page
from experiments.figures.style import BAND, COLOURS, GREY, STYLE, styles
from experiments.figures.time_axis import Marker, time_axis


def backend_load(
    counts: pd.DataFrame,
    fairness: pd.DataFrame,
    warmup_s: float,
    caption: Caption,
    markers: Sequence[Marker] = (),
) -> Figure:
    """Requests per second of each backend, and below it Jain's index beside chance.

    `counts` from `requests_per_second`, `fairness` from `jain_per_second`; `markers`: what happened
    when.
    """
    with mpl.rc_context(STYLE):
        figure, (load, index) = page(2, 5.2, caption)
        if len(counts.columns) <= len(COLOURS):
            _line_per_backend(load, counts)
        else:
            _range_of_backends(load, counts)
        load.set(ylabel="requests per second")
        from_zero(load)
        middle = fairness.index + 0.5
        index.fill_between(
            middle, fairness["random_low"], 1, color=BAND, label="95 % of random\nassignments"
        )
        index.plot(
            middle,
            fairness["random_mean"],
            color=GREY,
            linestyle="--",
            linewidth=1,
            label="their mean",
        )
        index.plot(middle, fairness["jain"], color="black", marker=".", label="measured")
        index.set(xlabel="time since start of load (s)", ylabel="Jain's index per second")
        lowest = min(float(fairness[["random_low", "jain"]].min().fillna(0.9).min()), 0.99)
        index.set_ylim(lowest - 0.1 * (1 - lowest), 1 + 0.02 * (1 - lowest))
        time_axis((load, index), len(counts), warmup_s, markers)
        legend(load, title="backend")
        legend(index)
    return figure


def throughput_over_time(
    seconds: pd.DataFrame, warmup_s: float, caption: Caption, markers: Sequence[Marker] = ()
) -> Figure:
    """Mbit/s received and of whole answers, and below it requests offered and completed.

    `seconds` from `throughput.per_second`; `markers`: what happened when.
    """
    with mpl.rc_context(STYLE):
        figure, (bits, rates) = page(2, 4.6, caption)
        series = (
            (bits, "throughput_mbps", "throughput"),
            (bits, "goodput_mbps", "goodput"),
            (rates, "offered_rps", "offered"),
            (rates, "completed_rps", "completed"),
        )
        for style, (axes, column, label) in zip(styles(), series, strict=False):
            line = style.over_time(len(seconds))
            axes.plot(seconds["t_s"] + 0.5, seconds[column], label=label, **line)
        bits.set(ylabel="Mbit/s at the clients")
        rates.set(ylabel="requests per second", xlabel="time since start of load (s)")
        for axes in (bits, rates):
            from_zero(axes)
        time_axis((bits, rates), len(seconds), warmup_s, markers)
        legend(bits)
        legend(rates)
    return figure


def latency_over_time(
    seconds: pd.DataFrame, warmup_s: float, caption: Caption, markers: Sequence[Marker] = ()
) -> Figure:
    """Median and 95th percentile of the requests that began in each second, and below it the share
    that was never answered. `seconds` from `where_time_goes.latency_per_second`."""
    with mpl.rc_context(STYLE):
        figure, (latency, lost) = page(2, 4.6, caption)
        for style, (column, label) in zip(
            styles(), (("p50_ms", "median"), ("p95_ms", "95 %")), strict=False
        ):
            line = style.over_time(len(seconds))
            latency.plot(seconds["t_s"] + 0.5, seconds[column], label=label, **line)
        share = 100 * seconds["unanswered_share"].fillna(0.0)
        lost.plot(seconds["t_s"] + 0.5, share, color="black", label="unanswered")
        latency.set(ylabel="latency (ms)")
        lost.set(ylabel="requests (%)", xlabel="time since start of load (s)")
        for axes in (latency, lost):
            from_zero(axes)
        lost.set_ylim(0, max(lost.get_ylim()[1], 1))
        time_axis((latency, lost), len(seconds), warmup_s, markers)
        legend(latency)
        legend(lost)
    return figure


def datagrams_over_time(
    seconds: pd.DataFrame, warmup_s: float, caption: Caption, markers: Sequence[Marker] = ()
) -> Figure:
    """Requests per second that were lost or late, and below it reordered and duplicate datagrams.

    What there was none of is called so: its line lies on the axis. `seconds` from
    `datagrams.datagrams_per_second`; `markers`: what happened when.
    """
    with mpl.rc_context(STYLE):
        figure, (answers, order) = page(2, 4.6, caption)
        series = (
            (answers, "lost", "lost"),
            (answers, "late", "late (after\nthe timeout)"),
            (order, "reordered", "reordered"),
            (order, "duplicates", "duplicates"),
        )
        for style, (axes, column, label) in zip(styles(), series, strict=False):
            line = style.over_time(len(seconds))
            label += "" if seconds[column].any() else ": none"
            axes.plot(seconds["t_s"] + 0.5, seconds[column], label=label, **line)
        answers.set(ylabel="requests per second")
        order.set(ylabel="datagrams per second", xlabel="time since start of load (s)")
        for axes in (answers, order):
            from_zero(axes)
            axes.set_ylim(0, max(axes.get_ylim()[1], 1))
        time_axis((answers, order), len(seconds), warmup_s, markers)
        legend(answers)
        legend(order)
    return figure


def _line_per_backend(axes: Axes, counts: pd.DataFrame) -> None:
    for style, name in zip(styles(), counts.columns, strict=False):
        axes.plot(counts.index + 0.5, counts[name], label=name, **style.over_time(len(counts)))


def _range_of_backends(axes: Axes, counts: pd.DataFrame) -> None:
    """More lines than can be told apart say less than where they all lie."""
    middle, label = counts.index + 0.5, f"least to most\nof {len(counts.columns)}"
    axes.fill_between(middle, counts.min(axis=1), counts.max(axis=1), color=BAND, label=label)
    axes.plot(middle, counts.median(axis=1), color="black", marker=".", label="median")
