"""Every figure, in one style: frames and a caption in, a matplotlib Figure out.

The only package that draws.
"""

from matplotlib.figure import Figure

from experiments.figures.against import GOODPUT, JAIN, P99, THROUGHPUT, Quantity, sweep_against
from experiments.figures.forest import forest
from experiments.figures.latency import latency_ccdf
from experiments.figures.over_time import backend_load, datagrams_over_time, throughput_over_time
from experiments.figures.page import mark_not_valid, save
from experiments.figures.time_axis import Marker

__all__ = [
    "GOODPUT",
    "JAIN",
    "P99",
    "THROUGHPUT",
    "Figure",
    "Marker",
    "Quantity",
    "backend_load",
    "datagrams_over_time",
    "forest",
    "latency_ccdf",
    "mark_not_valid",
    "save",
    "sweep_against",
    "throughput_over_time",
]
