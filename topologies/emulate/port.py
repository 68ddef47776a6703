"""Where a link of a shape ended up: its two interfaces and the namespaces that hold them."""

from dataclasses import dataclass

from topologies.shapes.shape import Link

HOST_MAC = 0x02


def mac(packed: bytes, first: int = HOST_MAC) -> bytes:
    """The MAC address, locally administered, of the host with that packed IPv4 address: the same in
    every run. Another `first` byte is for what is no host."""
    return bytes([first, 0]) + packed


@dataclass(frozen=True, slots=True)
class Port:
    """One realised link. The pids are processes that hold the namespaces of the two ends."""

    link: Link
    end_pid: int
    end_interface: str
    switch_pid: int
    switch_interface: str
    trunk: bool = False
    """The end is a switch, too."""

    @property
    def emulated(self) -> tuple[str, ...]:
        """Directions that need an emulator: with delay or loss, those that will change, and queues
        at switches. What waits there must have left its sender's socket, or TCP's small-queue limit
        (tcp_small_queue_check) holds the sender back, and the queue never fills: a bridge, other
        than a router, leaves a packet with its socket. The emulator takes it from there."""
        return tuple(
            name
            for name, spec in self.link.specs.items()
            if spec.impaired or self.link.changes or (spec.rate_mbps and self.egress(name))
        )

    def egress(self, direction: str) -> tuple[int, str] | None:
        """The switch port that sends this direction: a pid of its namespace, and the interface.
        None where a host does."""
        if direction != self.link.directions[0]:
            return self.switch_pid, self.switch_interface
        return (self.end_pid, self.end_interface) if self.trunk else None
