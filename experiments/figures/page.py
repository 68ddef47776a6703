"""The page around a figure: its size, its caption, its legend, its files."""

import io
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.analysis.caption import Caption
from experiments.figures.style import STYLE

DPI = 200
WIDTH_IN = 7.0
CAPTION_CHARACTERS = 122
CAPTION_LINE_IN = 0.15


def page(
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


def legend(axes: Axes, title: str | None = None) -> None:
    """To the right of the axes, where it hides nothing."""
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        borderaxespad=0,
        title=title,
        alignment="left",
        handlelength=2.6,
    )


def from_zero(axes: Axes) -> None:
    """Let the ordinate begin at zero."""
    axes.set_ylim(0, max(1.05 * axes.get_ylim()[1], 1e-3))


def mark_not_valid(figure: Figure) -> None:
    """Write NOT VALID across the whole picture, so that no cutting leaves a clean one."""
    width_in, height_in = figure.get_size_inches()
    figure.text(
        0.5,
        0.5,
        "NOT VALID",
        rotation=math.degrees(math.atan2(height_in, width_in)),
        fontsize=72,
        fontweight="bold",
        color="#C00000",
        alpha=0.3,
        ha="center",
        va="center",
        zorder=10,
    )


def save(figure: Figure, stem: Path, kinds: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Write `stem`.png and `stem`.svg, the same bytes for the same figure; returns their paths."""
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in kinds]
    with mpl.rc_context(STYLE):
        _settle(figure)
        for path in paths:
            figure.savefig(
                path, dpi=DPI, metadata={"Date": None} if path.suffix == ".svg" else None
            )
    return paths


def as_png(figure: Figure, dpi: int) -> bytes:
    """The picture itself, the same bytes for the same figure."""
    into = io.BytesIO()
    with mpl.rc_context(STYLE):
        _settle(figure)
        figure.savefig(into, format="png", dpi=dpi, metadata={"Software": None})
    return into.getvalue()


def _settle(figure: Figure) -> None:
    """Lay the panels out once and for all, in round numbers.

    The last digits of what the layout's solver finds vary from one drawing to the next, and the
    names inside an SVG are hashes of them.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        x0, y0, width, height = (round(value, 5) for value in axes.get_position().bounds)
        axes.set_position((x0, y0, width, height))
