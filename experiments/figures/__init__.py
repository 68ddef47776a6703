"""Every figure, in one style: frames and a caption in, a matplotlib Figure out.

The only package that draws.
"""

from matplotlib.figure import Figure

from experiments.figures.against import (
    GOODPUT,
    JAIN,
    P99,
    SERVED,
    THROUGHPUT,
    Quantity,
    sweep_against,
)
from experiments.figures.delays import one_way_delays
from experiments.figures.detection import times_to_detect
from experiments.figures.forest import forest
from experiments.figures.heat import heat_map
from experiments.figures.latency import latency_ccdf
from experiments.figures.over_time import (
    backend_load,
    datagrams_over_time,
    latency_over_time,
    throughput_over_time,
)
from experiments.figures.page import as_png, mark_not_valid, save
from experiments.figures.sequence import packet_sequence
from experiments.figures.stack import latency_stack
from experiments.figures.time_axis import Marker

__all__ = [
    "GOODPUT",
    "JAIN",
    "P99",
    "SERVED",
    "THROUGHPUT",
    "Figure",
    "Marker",
    "Quantity",
    "as_png",
    "backend_load",
    "datagrams_over_time",
    "forest",
    "heat_map",
    "latency_ccdf",
    "latency_over_time",
    "latency_stack",
    "mark_not_valid",
    "one_way_delays",
    "packet_sequence",
    "save",
    "sweep_against",
    "throughput_over_time",
    "times_to_detect",
]
