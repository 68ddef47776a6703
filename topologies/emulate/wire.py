"""What the interfaces at a link's two ends have carried, read without entering their namespaces."""

from pathlib import Path
from typing import NamedTuple

from topologies.emulate.port import Port


class Traffic(NamedTuple):
    """Totals of one interface; bytes are whole Ethernet frames."""

    rx_bytes: int
    rx_packets: int
    tx_packets: int
    tx_dropped: int


def parse(table: str, interface: str) -> Traffic:
    """The row of `interface` in the text of /proc/net/dev; KeyError where there is none."""
    for line in table.splitlines():
        name, _, values = line.partition(":")
        if name.strip() == interface:
            numbers = [int(value) for value in values.split()]
            return Traffic(numbers[0], numbers[1], numbers[9], numbers[11])
    raise KeyError(interface)


def _read(pid: int, interface: str) -> Traffic:
    # Opened through a process of the namespace, the table shows that namespace.
    return parse(Path(f"/proc/{pid}/net/dev").read_text(), interface)


def at_end(port: Port) -> Traffic:
    """The host's interface (or a trunk's first)."""
    return _read(port.end_pid, port.end_interface)


def at_switch(port: Port) -> Traffic:
    """The switch's port."""
    return _read(port.switch_pid, port.switch_interface)


def packets_on(port: Port) -> dict[str, int]:
    """Packets put on the wire so far, by direction."""
    leaving, reaching = port.link.directions
    return {leaving: at_end(port).tx_packets, reaching: at_switch(port).tx_packets}


def lost_on(port: Port) -> int:
    """Packets that the kernel lost between the two interfaces (its receive backlog was full)."""
    return at_end(port).tx_dropped + at_switch(port).tx_dropped
