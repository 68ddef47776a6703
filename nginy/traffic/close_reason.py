"""Why a connection or session ended, and by whose fault: the documented set of the access log.

A new reason is one line here; a new refusal also has its words in `REFUSALS`.
"""

from enum import Enum

from nginy.errors import NginyError


class Fault(Enum):
    """Whose doing an end was."""

    NOBODY = "nobody"
    CLIENT = "client"
    BACKEND = "backend"
    OURS = "balancer"
    """The balancer's own, or its operator's: a limit, a policy, a lack."""


class CloseReason(Enum):
    """Values of `close_reason` in the access log; `fault` says whose doing it was."""

    fault: Fault

    def __new__(cls, value: str, fault: Fault) -> "CloseReason":
        """The value is the word alone, so that `CloseReason("completed")` finds it."""
        reason = object.__new__(cls)
        reason._value_ = value
        reason.fault = fault
        return reason

    # Members are compared by identity; Enum's own hash, of the name, is a call into Python.
    __hash__ = object.__hash__

    COMPLETED = "completed", Fault.NOBODY
    """Both sides sent FIN and all bytes were delivered."""
    CLIENT_RESET = "client_reset", Fault.CLIENT
    """The client reset the connection or vanished."""
    BACKEND_RESET = "backend_reset", Fault.BACKEND
    """The backend reset the connection after it was established."""
    IDLE_TIMEOUT = "idle_timeout", Fault.NOBODY
    """No byte either way for `idle_timeout_ms`, both sides still open."""
    HALF_CLOSED_TIMEOUT = "half_closed_timeout", Fault.NOBODY
    """No byte for `half_closed_timeout_ms` after one side had sent FIN."""
    NO_RULE = "no_rule", Fault.CLIENT
    """No rule matches the client's address on this port."""
    NO_BACKEND = "no_backend", Fault.BACKEND
    """Every backend of the rule was down, penalised or full; none was tried."""
    CONNECT_FAILED = "connect_failed", Fault.BACKEND
    """All tries were used up, or no backend was left: refused, unreachable or timed out."""
    CONNECT_TIMEOUT = "connect_timeout", Fault.BACKEND
    """`total_timeout_ms` ran out before a backend answered."""
    NO_RESOURCES = "no_resources", Fault.OURS
    """The balancer itself had no descriptor or memory left to reach a backend."""
    DENIED = "denied", Fault.CLIENT
    """The rule's access list refuses the client."""
    TOO_MANY_CONNECTIONS = "too_many_connections", Fault.OURS
    """The whole process has `limits.max_connections` open."""
    RULE_FULL = "rule_full", Fault.OURS
    """The rule has its `max_connections` open."""
    SOURCE_FULL = "source_full", Fault.CLIENT
    """The client's source has `max_connections_per_source` open."""
    SOURCE_RATE = "source_rate", Fault.CLIENT
    """The client's source opens more than `new_per_s_per_source`."""
    QUEUE_FULL = "queue_full", Fault.BACKEND
    """Every backend was full, and so was the queue."""
    QUEUE_TIMEOUT = "queue_timeout", Fault.BACKEND
    """Every backend stayed full for the queue's `timeout_ms`."""
    BACKEND_DOWN = "backend_down", Fault.BACKEND
    """Closed by `live_connections.on_down`."""
    BACKEND_DRAINED = "backend_drained", Fault.OURS
    """Closed by `live_connections.on_drain`."""
    BACKEND_REMOVED = "backend_removed", Fault.OURS
    """Closed by `live_connections.on_removed`."""
    LOOP = "loop", Fault.OURS
    """It came from the balancer itself, through the same rule: a backend is the balancer."""
    EVICTED = "evicted", Fault.OURS
    """UDP: ended for a new one (`when_full: evict_oldest`): the session idle longest, of those that
    never had an answer if there are any."""
    SHED = "shed", Fault.OURS
    """UDP: there were `max_sessions`, and the new one was turned away (`when_full: shed`)."""
    SHUTDOWN = "shutdown", Fault.OURS
    """Still open when the drain deadline passed, or at a second signal."""
    INTERNAL_ERROR = "internal_error", Fault.OURS
    """A fault of nginy; the log has the traceback."""


REFUSALS = {
    CloseReason.DENIED: "the access list denies it",
    CloseReason.TOO_MANY_CONNECTIONS: "limits.max_connections of the process are open",
    CloseReason.RULE_FULL: "the rule's limits.max_connections are open",
    CloseReason.SOURCE_FULL: "its source has max_connections_per_source open",
    CloseReason.SOURCE_RATE: "its source opens more than new_per_s_per_source",
    CloseReason.QUEUE_FULL: "every backend is full, and queue.max_waiting wait already",
    CloseReason.QUEUE_TIMEOUT: "every backend was full for queue.timeout_ms",
    CloseReason.NO_BACKEND: "no backend is available",
    CloseReason.LOOP: "the rule has sent it to the balancer itself",
    CloseReason.SHED: "udp.max_sessions live",
    CloseReason.SHUTDOWN: "the balancer is shutting down",
}
"""Why a rule does not serve a client, and what is logged of it."""


class ConnectionEnd(NginyError):
    """This connection or session ends here, for `reason`; no fault of nginy's."""

    def __init__(self, reason: CloseReason) -> None:
        """Say why."""
        super().__init__(reason.value)
        self.reason = reason
