"""The figure of latencies: their complementary distribution."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from experiments.analysis.caption import Caption
from experiments.analysis.latency import ccdf, censored_share, percentiles
from experiments.figures.page import legend, page
from experiments.figures.style import GREY, IN_AXES_X, IN_AXES_Y, STYLE, LineStyle, styles


def latency_ccdf(
    requests: Mapping[str, pd.DataFrame],
    timeout_ms: float,
    caption: Caption,
    bands: Mapping[str, pd.DataFrame] | None = None,
) -> Figure:
    """Share of requests that took longer, on two log axes; unanswered ones stay as a level tail.

    `requests`: one frame per curve, by label, cut to the measured window. `bands`: of `ccdf_band`,
    for those labels that have one.
    """
    with mpl.rc_context(STYLE):
        figure, (axes,) = page(1, 3.6, caption)
        axes.set(xscale="log", yscale="log")
        for style, (label, frame) in zip(styles(), requests.items(), strict=False):
            _ccdf_curve(axes, frame, timeout_ms, label, style)
            if bands and label in bands:
                band = bands[label]
                low, high = band["low"], band["high"]
                axes.fill_between(
                    band["latency_ms"], low, high, color=style.color, alpha=0.18, lw=0
                )
        for share, name in ((0.5, "p50"), (0.01, "p99")):
            axes.axhline(share, color=GREY, linewidth=0.7, linestyle=":")
            axes.annotate(name, (0.004, share), **IN_AXES_X, color=GREY, va="bottom")
        axes.axvline(timeout_ms, color=GREY, linewidth=0.7)
        axes.annotate("timeout ", (timeout_ms, 0.8), **IN_AXES_Y, color=GREY, ha="right", va="top")
        largest = max((len(frame) for frame in requests.values()), default=1)
        axes.set_ylim(min(0.007, 0.7 / max(largest, 1)), 1.2)
        axes.set(xlabel="latency from intended start (ms)", ylabel="share of requests above")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        legend(axes)
    return figure


def _ccdf_curve(
    axes: Axes, frame: pd.DataFrame, timeout_ms: float, label: str, style: LineStyle
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
