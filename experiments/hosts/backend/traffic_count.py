"""What the fronts of one emulated backend count together."""

from dataclasses import dataclass


@dataclass(slots=True)
class TrafficCount:
    """Totals since the start, of all fronts."""

    bytes_received: int = 0
    bytes_sent: int = 0
    """Handed to the kernel, headers of this protocol included."""
    undelivered: int = 0
    """Answers whose client had left."""
    unsent: int = 0
    """Answers that the kernel had no room for: lost by this machine, not by the network."""
    protocol_errors: int = 0

    @property
    def total_bytes(self) -> int:
        """Both directions."""
        return self.bytes_received + self.bytes_sent
