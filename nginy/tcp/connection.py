"""One client's TCP connection while it is served."""

import socket
from select import EPOLLRDHUP

from nginy.engine.poller import GONE
from nginy.engine.strand import Strand, suspended
from nginy.errors import BackendError
from nginy.traffic.close_reason import CloseReason, ConnectionEnd
from nginy.traffic.context import ConnectionContext
from nginy.traffic.service import Service


class BackendWithdrawn(BackendError):
    """The backend was taken away while it was being connected to: no failed attempt of its."""


class Connection:
    """Who is served, by which rule. A `Live`; and the client's events until the relay has them."""

    __slots__ = ("_queued", "client", "connecting", "context", "events_seen", "service", "strand")

    def __init__(
        self, strand: Strand, client: socket.socket, service: Service, context: ConnectionContext
    ) -> None:
        """`client` is a non-blocking socket; it stays the caller's."""
        self.strand = strand
        self.client = client
        self.service = service
        self.context = context
        self.events_seen = 0
        """What the poller has reported of `client` so far."""
        self.connecting = True
        """No backend has been reached yet."""
        self._queued = False

    def on_client(self, events: int) -> None:
        """Keep the client's events for the relay; a reset ends the attempt."""
        self.events_seen |= events
        if events & GONE or (self._queued and self._client_left()):
            self.strand.throw(ConnectionEnd(CloseReason.CLIENT_RESET))

    async def queued(self) -> object:
        """Wait until the strand is resumed, and give what it is resumed with.

        Raises ConnectionEnd if the client leaves meanwhile: it resets the connection, or ends it
        without ever having sent anything. Who has sent something and then FIN expects an answer.
        """
        if self._client_left():
            raise ConnectionEnd(CloseReason.CLIENT_RESET)
        self._queued = True
        try:
            return await suspended()
        finally:
            self._queued = False

    def end(self, reason: CloseReason) -> None:
        """Close now; a backend that is only being connected to is given up for the next one."""
        if self.connecting:
            self.strand.throw(BackendWithdrawn(f"given up while connecting: {reason.value}"))
        else:
            self.strand.throw(ConnectionEnd(reason))

    def rebind(self) -> None:
        """See `Live`: a TCP connection cannot, and the configuration does not allow it."""
        raise NotImplementedError

    def _client_left(self) -> bool:
        if not self.events_seen & EPOLLRDHUP:
            return False
        try:
            return not self.client.recv(1, socket.MSG_PEEK)
        except OSError:
            return True
