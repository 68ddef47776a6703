"""What the load generator knows about one request."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "timeout", "refused", "reset", "closed", "rejected", "error", "in_flight"]
"""How a request ended.

- `ok`: the whole response came in time
- `timeout`: it had not come `--timeout-ms` after the intended time
- `refused`: the connection was refused (RST to the SYN; UDP: ICMP port unreachable)
- `reset`: the established connection was reset
- `closed`: the connection was closed in order before the whole response had come
- `rejected`: the backend answered that its queue is full
- `error`: anything else (no route, no port left, bytes that are no response, ...)
- `in_flight`: the generator was stopped first
"""


@dataclass(slots=True)
class RequestRecord:
    """One line of the requests file, in its order. Times are CLOCK_MONOTONIC seconds.

    A field of something that did not happen is None. `sent_s` is when the generator began to work
    on the request: with a connection per request when it called connect, else when it wrote.
    `connected_s` is when the connection that carried the request was established; on a persistent
    connection that is mostly before `sent_s`; with UDP it is when the flow's socket was opened.
    `done_s` is when the last byte of a response was read
    (`ok` and `rejected`); `ended_s` when the outcome, whatever it was, was known.
    """

    client: str
    seq: int
    intended_s: float
    demand_ms: float | None
    """None: nothing was asked of the server but the bytes."""
    response_bytes: int
    """Payload asked for."""
    request_bytes: int = 0
    """Payload sent."""
    connection: int = 0
    """Of the plan: requests with the same number are to share a connection."""
    user: int = -1
    """Whose requests wait for one another; -1: nobody's."""
    sent_s: float | None = None
    connected_s: float | None = None
    first_byte_s: float | None = None
    done_s: float | None = None
    ended_s: float | None = None
    status: Status = "in_flight"
    backend: str | None = None
    wait_ms: float | None = None
    service_ms: float | None = None
    bytes_received: int = 0
    """Payload received; the response's header is not counted."""
    target: str | None = None
    """Where it was sent to, `ip:port`."""
    local: str | None = None
    """The client's own end of the connection, `ip:port`."""
    protocol: Literal["tcp", "udp"] = "tcp"
    late_s: float | None = None
    """UDP: when the answer came after all, within another timeout after its own."""
    copies: int | None = None
    """UDP: how often the answer came; more than once: the network or the balancer doubled it."""
    received_s: float | None = None
    """UDP: when the backend that answered received the request."""
    answered_s: float | None = None
    """UDP: when it sent the answer."""
