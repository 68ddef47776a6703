"""The axis of time that panels share: warm-up, and what happened when."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from experiments.figures.style import IN_AXES_Y

_MARKERS_APART = 0.02
"""Of the time axis: labels nearer than that would be written over each other."""


@dataclass(frozen=True, slots=True)
class Marker:
    """Something that happened at `t_s` seconds, for the time axis."""

    t_s: float
    label: str


def time_axis(
    panels: Sequence[Axes], seconds: int, warmup_s: float, markers: Sequence[Marker]
) -> None:
    """From 0 to `seconds` in all panels; markers are named above the first one."""
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
        axes.annotate(text, place, **IN_AXES_Y, rotation=35, va="bottom", annotation_clip=False)
