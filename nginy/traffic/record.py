"""What is known of one connection or session, and the close record made of it."""

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.config.model import Protocol
from nginy.traffic.close_reason import CloseReason

SCHEMA_VERSION = 1

Record = dict[str, str | int | float | list[str] | None]
"""One JSON object per connection, the schema that experiments read."""


class ConnectionContext:
    """From accept to close record; holds no socket. Times are seconds on the monotonic clock.

    What has not happened yet is a class attribute: a connection pays only for what it sets.
    """

    rule_name: str | None = None
    """None: no rule matches."""
    queued_s: float = 0.0
    """How long it has waited for a place, its backends being full."""
    backend: Backend | None = None
    """The one that was reached; of UDP, the one that datagrams were sent to."""
    upstream_local: Address | None = None
    """The balancer's own address towards the backend."""
    connect_began_s: float = 0.0
    """Start of the last attempt."""
    connected_s: float | None = None
    """When the backend was reached; of UDP, when it answered first."""
    first_byte_s: float | None = None
    """When the backend's first byte was passed on."""
    closed_s: float = 0.0
    bytes_up: int = 0
    """Client to backend, delivered."""
    bytes_down: int = 0
    """Backend to client, delivered."""
    datagrams_up: int = 0
    """UDP: client to backend, sent."""
    datagrams_down: int = 0
    """UDP: backend to client, sent."""
    dropped: int = 0
    """UDP: datagrams of either side that were not passed on."""
    close_reason: CloseReason = CloseReason.INTERNAL_ERROR
    """Stands unless something better is known."""

    @property
    def id(self) -> str:
        """Of the connection or session in records: `17`, `u17`."""
        return f"u{self.number}" if self.protocol == "udp" else str(self.number)

    def __init__(
        self, number: int, protocol: Protocol, listener: Address, client: Address, opened_s: float
    ) -> None:
        """`number` is unique among the connections and sessions of this process; `listener` is the
        address that was listened to (`0.0.0.0`: whichever the client chose)."""
        self.number = number
        self.protocol = protocol
        self.listener = listener
        self.client = client
        self.opened_s = opened_s
        self.tried: list[Backend] = []
        """Backends in the order of the attempts."""


def close_record(context: ConnectionContext) -> Record:
    """The record of a closed connection.

    `opened_s` and `closed_s` are seconds on CLOCK_MONOTONIC, `*_ms` durations: `connect_ms` of the
    attempt that succeeded, `first_byte_ms` from the start of that attempt until the backend's
    first byte was passed on (nginx's `$upstream_first_byte_time`), `duration_ms` from accept to
    close, of which `queued_ms` were spent waiting while every backend was full.
    Null: it did not happen. `close_reason` is a value of `CloseReason`, `fault` says whose doing
    that was. The wall-clock `time` is put before them where the record is written.

    Of a UDP session, `connect_ms` is null, and the times are those of the last backend;
    `datagrams_up`, `datagrams_down` and `dropped` (not passed on) are null for TCP.
    """
    backend = context.backend
    began_s = context.connect_began_s
    udp = context.protocol == "udp"
    return {
        "schema_version": SCHEMA_VERSION,
        "id": context.id,
        "protocol": context.protocol,
        "rule": context.rule_name,
        "listener": str(context.listener),
        "client": str(context.client),
        "backend": backend.id if backend else None,
        "backend_address": str(backend.address) if backend else None,
        "upstream_local": str(context.upstream_local) if context.upstream_local else None,
        "opened_s": context.opened_s,
        "closed_s": context.closed_s,
        "queued_ms": round(context.queued_s * 1e3, 3),
        "connect_ms": None if udp else _ms(began_s, context.connected_s),
        "first_byte_ms": _ms(began_s, context.first_byte_s),
        "duration_ms": _ms(context.opened_s, context.closed_s),
        "bytes_up": context.bytes_up,
        "bytes_down": context.bytes_down,
        "datagrams_up": context.datagrams_up if udp else None,
        "datagrams_down": context.datagrams_down if udp else None,
        "dropped": context.dropped if udp else None,
        "backends_tried": [tried.id for tried in context.tried],
        "close_reason": context.close_reason.value,
        "fault": context.close_reason.fault.value,
    }


def _ms(begin_s: float, end_s: float | None) -> float | None:
    return None if end_s is None else round((end_s - begin_s) * 1e3, 3)
