"""Why a connection ended: the documented set of the access log."""

from enum import Enum

from nginy.errors import NginyError


class CloseReason(Enum):
    """Values of `close_reason` in the access log."""

    COMPLETED = "completed"
    """Both sides sent FIN and all bytes were delivered."""
    CLIENT_RESET = "client_reset"
    """The client reset the connection or vanished."""
    BACKEND_RESET = "backend_reset"
    """The backend reset the connection after it was established."""
    IDLE_TIMEOUT = "idle_timeout"
    """No byte either way for `idle_timeout_ms`, both sides still open."""
    HALF_CLOSED_TIMEOUT = "half_closed_timeout"
    """No byte for `half_closed_timeout_ms` after one side had sent FIN."""
    NO_RULE = "no_rule"
    """No rule matches the client's address on this port."""
    NO_BACKEND = "no_backend"
    """Every backend of the rule was down, penalised or full; none was tried."""
    CONNECT_FAILED = "connect_failed"
    """All tries were used up, or no backend was left: refused, unreachable or timed out."""
    CONNECT_TIMEOUT = "connect_timeout"
    """`total_timeout_ms` ran out before a backend answered."""
    NO_RESOURCES = "no_resources"
    """The balancer itself had no descriptor or memory left to reach a backend."""
    DENIED = "denied"
    """The rule's access list refuses the client."""
    TOO_MANY_CONNECTIONS = "too_many_connections"
    """The whole process has `limits.max_connections` open."""
    RULE_FULL = "rule_full"
    """The rule has its `max_connections` open."""
    SOURCE_FULL = "source_full"
    """The client's source has `max_connections_per_source` open."""
    SOURCE_RATE = "source_rate"
    """The client's source opens more than `new_per_s_per_source`."""
    QUEUE_FULL = "queue_full"
    """Every backend was full, and so was the queue."""
    QUEUE_TIMEOUT = "queue_timeout"
    """Every backend stayed full for the queue's `timeout_ms`."""
    BACKEND_DOWN = "backend_down"
    """Closed by `live_connections.on_down`."""
    BACKEND_DRAINED = "backend_drained"
    """Closed by `live_connections.on_drain`."""
    BACKEND_REMOVED = "backend_removed"
    """Closed by `live_connections.on_removed`."""
    EVICTED = "evicted"
    """UDP: the session idle longest, ended for a new one (`when_full: evict_oldest`)."""
    SHED = "shed"
    """UDP: there were `max_sessions`, and the new one was turned away (`when_full: shed`)."""
    SHUTDOWN = "shutdown"
    """Still open when the drain deadline passed, or at a second signal."""
    INTERNAL_ERROR = "internal_error"
    """A fault of nginy; the log has the traceback."""


class ConnectionEnd(NginyError):
    """This connection ends here, for `reason`; no fault of nginy's."""

    def __init__(self, reason: CloseReason) -> None:
        """Say why."""
        super().__init__(reason.value)
        self.reason = reason
