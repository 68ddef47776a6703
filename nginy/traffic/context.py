"""What is known of one connection; holds no socket."""

from dataclasses import dataclass, field

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.config.model import Protocol
from nginy.traffic.close_reason import CloseReason


@dataclass(eq=False, slots=True)
class ConnectionContext:
    """From accept to close record. Times are seconds on the monotonic clock."""

    id: str
    """Unique among the connections of this process."""
    listener: Address
    """The address that was listened to; `0.0.0.0` stands for whichever the client chose."""
    client: Address
    opened_s: float
    """When it was accepted."""
    rule: str | None = None
    """Name of the rule; None: no rule matches."""
    tried: list[Backend] = field(default_factory=list)
    """Backends in the order of the attempts."""
    queued_s: float = 0.0
    """How long it has waited for a place, its backends being full."""
    backend: Backend | None = None
    """The one that was reached."""
    upstream_local: Address | None = None
    """The balancer's own address towards the backend."""
    connect_began_s: float = 0.0
    """Start of the last attempt."""
    connected_s: float | None = None
    first_byte_s: float | None = None
    """When the backend's first byte was passed on."""
    closed_s: float = 0.0
    bytes_up: int = 0
    """Client to backend, delivered."""
    bytes_down: int = 0
    """Backend to client, delivered."""
    protocol: Protocol = "tcp"
    datagrams_up: int = 0
    """UDP: client to backend, sent."""
    datagrams_down: int = 0
    """UDP: backend to client, sent."""
    dropped: int = 0
    """UDP: datagrams of either side that were not passed on."""
    close_reason: CloseReason = CloseReason.INTERNAL_ERROR
    """Stands unless something better is known."""
