"""Where a link of a shape ended up: its two interfaces and the namespaces that hold them."""

from dataclasses import dataclass

from topologies.shapes.shape import Link


@dataclass(frozen=True, slots=True)
class Port:
    """One realised link. The pids are processes that hold the namespaces of the two ends."""

    link: Link
    end_pid: int
    end_interface: str
    switch_pid: int
    switch_interface: str
