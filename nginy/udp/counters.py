"""What the UDP side of a process has refused and dropped so far."""

from collections import Counter
from enum import Enum

from nginy.traffic.close_reason import CloseReason


class Drop(Enum):
    """Why a datagram was not passed on."""

    RATE = "rate"
    """Above upload_bytes_per_s or download_bytes_per_s."""
    NOT_SENT = "not_sent"
    """The kernel would not send it: buffer full, too large for the path, filtered."""
    NO_BACKEND = "no_backend"
    """Nobody took it: every backend tried refused, or none was available."""
    REFUSED = "refused"
    """The backend of a session that stays there has refused it."""
    KERNEL = "kernel"
    """The socket's buffer was full: it came faster than it was read."""


class UdpCounters:
    """By reason. Sessions that were turned away at the door count as closed."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.closed: Counter[CloseReason] = Counter()
        """Sessions, those refused at the door included."""
        self.dropped: Counter[Drop] = Counter()
        """Datagrams."""
