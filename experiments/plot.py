"""Every figure, in one style: frames and a caption in, a matplotlib Figure out.

The only module that draws. Colours are those of Okabe and Ito (2008), told apart with any colour
vision; every series also has a line style and a marker of its own, so print in grey works too.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from experiments.analysis.caption import Caption
from experiments.analysis.latency import ccdf, censored_share, percentiles

DPI = 200
WIDTH_IN = 7.0
CAPTION_CHARACTERS = 122
CAPTION_LINE_IN = 0.15

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (2, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_MARKERS_APART = 0.02
"""Of the time axis: labels nearer than that would be written over each other."""
GREY = "#6E6E6E"
BAND = "#D9D9D9"

_STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "svg.hashsalt": "nginy",
}


@dataclass(frozen=True, slots=True)
class Quantity:
    """A column of the sweep's table as an axis."""

    column: str
    label: str
    at_most_one: bool = False


@dataclass(frozen=True, slots=True)
class Marker:
    """Something that happened at `t_s` seconds, for the time axis."""

    t_s: float
    label: str


JAIN = Quantity("jain", "Jain's index (requests)", at_most_one=True)
GOODPUT = Quantity("goodput_mbps", "goodput (Mbit/s)")
THROUGHPUT = Quantity("throughput_mbps", "throughput (Mbit/s)")
P99 = Quantity("p99_ms", "p99 latency (ms)")

_FACTORS = {
    "loss_pct": "loss, each way (%)",
    "delay_ms": "delay, one way (ms)",
}
_FACTOR_UNITS = {"loss_pct": ("loss", "%"), "delay_ms": ("delay", "ms")}


def latency_ccdf(
    requests: Mapping[str, pd.DataFrame], timeout_ms: float, caption: Caption
) -> Figure:
    """Share of requests that took longer, on two log axes; unanswered ones stay as a level tail.

    `requests`: one frame per curve, by label, cut to the measured window.
    """
    with mpl.rc_context(_STYLE):
        figure, (axes,) = _figure(1, 3.6, caption)
        axes.set(xscale="log", yscale="log")
        for style, (label, frame) in zip(_styles(), requests.items(), strict=False):
            _ccdf_curve(axes, frame, timeout_ms, label, style)
        for share, name in ((0.5, "p50"), (0.01, "p99")):
            axes.axhline(share, color=GREY, linewidth=0.7, linestyle=":")
            axes.annotate(name, (0.004, share), **_IN_AXES_X, color=GREY, va="bottom")
        axes.axvline(timeout_ms, color=GREY, linewidth=0.7)
        axes.annotate("timeout ", (timeout_ms, 0.8), **_IN_AXES_Y, color=GREY, ha="right", va="top")
        largest = max((len(frame) for frame in requests.values()), default=1)
        axes.set_ylim(min(0.007, 0.7 / max(largest, 1)), 1.2)
        axes.set(xlabel="latency from intended start (ms)", ylabel="share of requests above")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        _legend(axes)
    return figure


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
    with mpl.rc_context(_STYLE):
        figure, (load, index) = _figure(2, 5.2, caption)
        if len(counts.columns) <= len(COLOURS):
            _line_per_backend(load, counts)
        else:
            _range_of_backends(load, counts)
        load.set(ylabel="requests per second")
        _from_zero(load)
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
        _time_axis((load, index), len(counts), warmup_s, markers)
        _legend(load, title="backend")
        _legend(index)
    return figure


def throughput_over_time(
    seconds: pd.DataFrame, warmup_s: float, caption: Caption, markers: Sequence[Marker] = ()
) -> Figure:
    """Mbit/s received and of whole answers, and below it requests offered and completed.

    `seconds` from `throughput.per_second`; `markers`: what happened when.
    """
    with mpl.rc_context(_STYLE):
        figure, (bits, rates) = _figure(2, 4.6, caption)
        series = (
            (bits, "throughput_mbps", "throughput"),
            (bits, "goodput_mbps", "goodput"),
            (rates, "offered_rps", "offered"),
            (rates, "completed_rps", "completed"),
        )
        for style, (axes, column, label) in zip(_styles(), series, strict=False):
            line = style.over_time(len(seconds))
            axes.plot(seconds["t_s"] + 0.5, seconds[column], label=label, **line)
        bits.set(ylabel="Mbit/s at the clients")
        rates.set(ylabel="requests per second", xlabel="time since start of load (s)")
        for axes in (bits, rates):
            _from_zero(axes)
        _time_axis((bits, rates), len(seconds), warmup_s, markers)
        _legend(bits)
        _legend(rates)
    return figure


def datagrams_over_time(
    seconds: pd.DataFrame, warmup_s: float, caption: Caption, markers: Sequence[Marker] = ()
) -> Figure:
    """Requests per second that were lost or late, and below it reordered and duplicate datagrams.

    `seconds` from `datagrams.datagrams_per_second`; `markers`: what happened when.
    """
    with mpl.rc_context(_STYLE):
        figure, (answers, order) = _figure(2, 4.6, caption)
        series = (
            (answers, "lost", "lost"),
            (answers, "late", "late: after\nthe timeout"),
            (order, "reordered", "reordered"),
            (order, "duplicates", "duplicates"),
        )
        for style, (axes, column, label) in zip(_styles(), series, strict=False):
            line = style.over_time(len(seconds))
            axes.plot(seconds["t_s"] + 0.5, seconds[column], label=label, **line)
        answers.set(ylabel="requests per second")
        order.set(ylabel="datagrams per second", xlabel="time since start of load (s)")
        for axes in (answers, order):
            _from_zero(axes)
            axes.set_ylim(0, max(axes.get_ylim()[1], 1))
        _time_axis((answers, order), len(seconds), warmup_s, markers)
        _legend(answers)
        _legend(order)
    return figure


def sweep_against(
    cells: pd.DataFrame,
    factor: str,
    quantity: Quantity,
    caption: Caption,
    *,
    floor: float | None = None,
) -> Figure:
    """`quantity` against `factor` (loss_pct or delay_ms), one line per algorithm with intervals.

    `cells` from `cell_intervals`; one panel per value of the other factor. `floor`: a level to
    compare with, such as what random assignment reaches. Means that are infinite (a percentile of
    requests that were never answered) are drawn as arrows at the top; the interval of an index
    that cannot exceed 1 is cut there.
    """
    other = next(name for name in _FACTORS if name != factor)
    panels = sorted(cells[other].unique())
    with mpl.rc_context(_STYLE):
        figure, all_axes = _figure(len(panels), 3.4, caption, side_by_side=True)
        for axes, value in zip(all_axes, panels, strict=True):
            _sweep_panel(axes, cells[cells[other] == value], factor, quantity)
            name, unit = _FACTOR_UNITS[other]
            axes.set_title(f"{name} {value:g} {unit}", loc="left")
            axes.set_xlabel(_FACTORS[factor])
            if floor is not None:
                axes.axhline(
                    floor, color=GREY, linestyle=":", label="chance: mean of\nrandom assignment"
                )
        _sweep_scale(all_axes, cells, quantity, floor)
        all_axes[0].set_ylabel(quantity.label)
        _legend(all_axes[-1])
    return figure


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `stem`.png and `stem`.svg, the same bytes for the same figure; returns both paths."""
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg")]
    with mpl.rc_context(_STYLE):
        figure.savefig(paths[0], dpi=DPI)
        figure.savefig(paths[1], metadata={"Date": None})
    return paths


_IN_AXES_X: Any = {"xycoords": ("axes fraction", "data"), "fontsize": 7}
_IN_AXES_Y: Any = {"xycoords": ("data", "axes fraction"), "fontsize": 7}


@dataclass(frozen=True, slots=True)
class _LineStyle:
    color: str
    linestyle: Any
    marker: str

    def without_marker(self) -> dict[str, Any]:
        return {"color": self.color, "linestyle": self.linestyle}

    def over_time(self, points: int) -> dict[str, Any]:
        """Without markers, but where a single point makes no line."""
        return self.without_marker() | ({"marker": self.marker} if points == 1 else {})


def _styles() -> Iterator[_LineStyle]:
    for i in count():
        yield _LineStyle(
            COLOURS[i % len(COLOURS)],
            DASHES[(i + i // len(COLOURS)) % len(DASHES)],
            MARKERS[i % len(MARKERS)],
        )


def _figure(
    panels: int, height_in: float, caption: Caption, *, side_by_side: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure with its caption at the bottom and `panels` axes laid out above it."""
    lines = textwrap.wrap(str(caption), CAPTION_CHARACTERS)
    caption_in = CAPTION_LINE_IN * len(lines) + 0.1
    total_in = height_in + caption_in
    figure = Figure(figsize=(WIDTH_IN, total_in))
    share = caption_in / total_in
    figure.set_layout_engine("constrained", rect=(0, share, 1, 1 - share))
    figure.text(
        0.012, 0.06 / total_in, "\n".join(lines), fontsize=7.5, color="#333333", va="bottom"
    )
    shape = (1, panels) if side_by_side else (panels, 1)
    axes = figure.subplots(*shape, squeeze=False, sharex=not side_by_side, sharey=side_by_side)
    return figure, list(axes.flat)


def _legend(axes: Axes, title: str | None = None) -> None:
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        borderaxespad=0,
        title=title,
        alignment="left",
        handlelength=2.6,
    )


def _line_per_backend(axes: Axes, counts: pd.DataFrame) -> None:
    for style, name in zip(_styles(), counts.columns, strict=False):
        axes.plot(counts.index + 0.5, counts[name], label=name, **style.over_time(len(counts)))


def _range_of_backends(axes: Axes, counts: pd.DataFrame) -> None:
    """More lines than can be told apart say less than where they all lie."""
    middle, label = counts.index + 0.5, f"least to most\nof {len(counts.columns)}"
    axes.fill_between(middle, counts.min(axis=1), counts.max(axis=1), color=BAND, label=label)
    axes.plot(middle, counts.median(axis=1), color="black", marker=".", label="median")


def _ccdf_curve(
    axes: Axes, frame: pd.DataFrame, timeout_ms: float, label: str, style: _LineStyle
) -> None:
    p50, p99 = percentiles(frame, timeout_ms, (0.5, 0.99))
    curve, unanswered = ccdf(frame), censored_share(frame)
    text = f"{label}\np50 {p50}\np99 {p99}"
    if unanswered > 0:
        text += f"\nunanswered {100 * unanswered:.3g} %"
    first = curve["latency_ms"].iloc[:1]
    x = np.concatenate([first, curve["latency_ms"]])
    y = np.concatenate([np.ones(len(first)), curve["share_above"]])
    axes.step(x, y, where="post", label=text, **style.without_marker())
    if unanswered > 0:
        start = x[-1] if len(x) else timeout_ms / 10
        axes.plot(
            [start, timeout_ms],
            [unanswered] * 2,
            color=style.color,
            linewidth=1,
            linestyle=":",
            marker=">",
            markevery=[1],
        )


def _time_axis(
    panels: Sequence[Axes], seconds: int, warmup_s: float, markers: Sequence[Marker]
) -> None:
    for marker in markers:
        for axes in panels:
            axes.axvline(marker.t_s, color="black", linewidth=0.8, linestyle=(0, (1, 1)))
    _label_markers(panels[0], markers, _MARKERS_APART * max(seconds, 1))
    for axes in panels:
        axes.set_xlim(0, max(seconds, 1))
        if warmup_s > 0:
            label = "warm-up,\nnot measured" if axes is panels[0] else None
            axes.axvspan(0, warmup_s, color="#F2EAD3", zorder=0, label=label)


def _label_markers(axes: Axes, markers: Sequence[Marker], apart_s: float) -> None:
    """Above the axes; those less than `apart_s` after another one share its place."""
    labels: dict[float, list[str]] = {}
    place_s = float("-inf")
    for marker in sorted(markers, key=lambda marker: marker.t_s):
        place_s = marker.t_s if marker.t_s - place_s >= apart_s else place_s
        labels.setdefault(place_s, []).append(marker.label)
    for t_s, names in labels.items():
        text, place = ", ".join(names), (t_s, 1.02)
        axes.annotate(text, place, **_IN_AXES_Y, rotation=35, va="bottom", annotation_clip=False)


def _from_zero(axes: Axes) -> None:
    axes.set_ylim(0, max(1.05 * axes.get_ylim()[1], 1e-3))


def _sweep_panel(axes: Axes, cells: pd.DataFrame, factor: str, quantity: Quantity) -> None:
    """Lines are moved apart a little, or their intervals would hide each other."""
    levels = sorted(cells[factor].unique())
    place = {level: position for position, level in enumerate(levels)}
    algorithms = sorted(cells["algorithm"].unique())
    for number, (style, name) in enumerate(zip(_styles(), algorithms, strict=False)):
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
            linestyle=style.linestyle,
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
    axes.set_xticks(range(len(levels)), [f"{level:g}" for level in levels])
    axes.set_xlim(-0.4, len(levels) - 0.6)


def _sweep_scale(
    all_axes: Sequence[Axes], cells: pd.DataFrame, quantity: Quantity, floor: float | None
) -> None:
    """Rates and times from zero (no ticks where no value is finite); an index that cannot exceed 1
    from a little below its least."""
    if not quantity.at_most_one:
        _from_zero(all_axes[0])
        if not np.isfinite(cells["mean"]).any():
            all_axes[0].set_yticks([])
        return
    lowest = np.nanmin([*cells["low"], *cells["mean"], floor if floor is not None else 1.0])
    margin = 0.1 * max(1 - lowest, 0.01)
    all_axes[0].set_ylim(max(0.0, lowest - margin), 1 + margin / 2)
    all_axes[0].yaxis.set_major_locator(MaxNLocator(6))
