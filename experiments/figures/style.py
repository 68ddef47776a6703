"""What all figures look like.

Colours are those of Okabe and Ito (2008), told apart with any colour vision; every series also has
a line style and a marker of its own, so print in grey works too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (2, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#6E6E6E"
BAND = "#D9D9D9"

STYLE: Any = {
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

IN_AXES_X: Any = {"xycoords": ("axes fraction", "data"), "fontsize": 7}
IN_AXES_Y: Any = {"xycoords": ("data", "axes fraction"), "fontsize": 7}


@dataclass(frozen=True, slots=True)
class LineStyle:
    """How one series is told from the others."""

    color: str
    linestyle: Any
    marker: str

    def without_marker(self) -> dict[str, Any]:
        """Arguments for a plain line."""
        return {"color": self.color, "linestyle": self.linestyle}

    def over_time(self, points: int) -> dict[str, Any]:
        """Without markers, but where a single point makes no line."""
        return self.without_marker() | ({"marker": self.marker} if points == 1 else {})


def styles() -> Iterator[LineStyle]:
    """One after the other, without end; colours and dashes repeat out of step."""
    for i in count():
        yield LineStyle(
            COLOURS[i % len(COLOURS)],
            DASHES[(i + i // len(COLOURS)) % len(DASHES)],
            MARKERS[i % len(MARKERS)],
        )
