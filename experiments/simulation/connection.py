"""A TCP connection's way in virtual time: handshake, a balancer's attempt, requests, answers, its
end.

The `Carrier` of its attempt, as `nginy/tcp/connection.py` is, with delays in the place of sockets.
"""

from functools import partial

from experiments.hosts.client.request_record import RequestRecord, Status
from experiments.simulation.balancing import SimulatedBalancer
from experiments.simulation.place import Place, SimulatedServer
from experiments.simulation.way import Way, answer_s
from experiments.wire.stream import (
    REQUEST_BYTES,
    RESPONSE_HEADER_BYTES,
    Answer,
    Request,
    ResponseHeader,
)
from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.traffic.attempt import Attempt
from nginy.traffic.close_reason import CloseReason, ConnectionEnd


class Connection:
    """From its client's first packet on."""

    def __init__(
        self, place: Place, way: Way, balancer: SimulatedBalancer, client: Address
    ) -> None:
        """Begin the handshake. `way`: from the client to that balancer."""
        self._place = place
        self._events = place.events
        self._way = way
        self._balancer = balancer
        self._client = client
        self._attempt: Attempt | None = None
        self._server: SimulatedServer | None = None
        """Reached."""
        self._waiting: list[RequestRecord] = []
        """At the balancer, until a backend is reached."""
        self._pending: dict[int, RequestRecord] = {}
        self._last = False
        """No further request follows."""
        self._given_up = False
        """By its client, before there was a connection."""
        self.usable = True
        self._established_s = way.handshake(self._events.time())
        self._events.call_at(self._established_s + way.up.delay_s, self._accept)

    # At the client.

    def send(self, record: RequestRecord, *, last: bool) -> None:
        """Send a request as soon as there is a connection; after the `last` none follows."""
        self._last = last
        self._pending[record.seq] = record
        record.local = str(self._client)
        sent_s = max(self._events.time(), self._established_s)
        self._events.call_at(sent_s + self._way.retries_s(), self._leave, record)

    def _leave(self, record: RequestRecord) -> None:
        """The transmission that is not lost."""
        if record.seq in self._pending:
            record.connected_s = self._established_s
        size = REQUEST_BYTES + record.request_bytes
        arrives_s = self._way.up.carry(self._events.time(), size)
        self._events.call_at(arrives_s, self._at_balancer, record)

    def time_out(self, record: RequestRecord) -> None:
        """The client waits no longer; it closes, since a connection that lost an answer may be
        dead."""
        self.usable = False
        self._end_request(record, "timeout")
        if not self._pending and self._events.time() < self._established_s:
            self._given_up = True
        elif not self._pending:
            leaves_s = self._events.time() + self._way.up.delay_s
            self._events.call_at(leaves_s, self._close, CloseReason.CLIENT_RESET)

    def _end_request(self, record: RequestRecord, status: Status) -> None:
        if self._pending.pop(record.seq, None) is not None:
            self._place.ended(record, status)

    # At the balancer.

    def _accept(self) -> None:
        if self._given_up:
            return
        now_s, balancer = self._events.time(), self._balancer
        try:
            self._attempt = Attempt.begin(balancer.rule, balancer.listener, self._client, now_s)
            self._attempt.carrier = self
            self._choose()
        except ConnectionEnd as end:
            self._refused(end.reason)

    def _choose(self) -> None:
        assert self._attempt is not None
        backend = self._attempt.choose(self._events.time(), self)
        if backend is not None:
            self._connect(backend)

    def _connect(self, backend: Backend) -> None:
        server = self._place.servers[backend.id]
        way = self._place.way_to(self._balancer, server)
        self._events.call_at(way.handshake(self._events.time()), self._reached, server, way)

    def _reached(self, server: SimulatedServer, way: Way) -> None:
        attempt = self._attempt
        if attempt is None or attempt.closed:
            return
        attempt.reached(self._events.time())
        self._server, self._to_server = server, way
        self._events.call_at(self._events.time() + way.up.delay_s, server.accepted)
        waiting, self._waiting = self._waiting, []
        for record in waiting:
            self._forward(record)

    def _at_balancer(self, record: RequestRecord) -> None:
        if self._server is None:
            self._waiting.append(record)
        else:
            self._forward(record)

    def _forward(self, record: RequestRecord) -> None:
        server, attempt = self._server, self._attempt
        assert server is not None
        assert attempt is not None
        size = REQUEST_BYTES + record.request_bytes
        attempt.bytes_up += size
        leaves_s = self._events.time() + self._to_server.retries_s()
        self._events.call_at(leaves_s, self._leave_balancer, server, record, size)

    def _leave_balancer(self, server: SimulatedServer, record: RequestRecord, size: int) -> None:
        arrives_s = self._to_server.up.carry(self._events.time(), size)
        self._events.call_at(arrives_s, self._at_server, server, record)

    def _refused(self, reason: CloseReason) -> None:
        """Nobody serves it: the client is told by the end of the connection."""
        self.usable = False
        if self._attempt is not None:
            self._attempt.close(reason, self._events.time())
        told_s = self._events.time() + self._way.down.delay_s
        self._events.call_at(told_s, self._tell_closed)

    def _tell_closed(self) -> None:
        for record in list(self._pending.values()):
            self._end_request(record, "closed")

    # At the backend, and back.

    def _at_server(self, server: SimulatedServer, record: RequestRecord) -> None:
        asked = Request(record.seq, round((record.demand_ms or 0.0) * 1000), record.response_bytes)
        server.serve(asked, partial(self._answered, record))

    def _answered(self, record: RequestRecord, header: ResponseHeader) -> None:
        size = RESPONSE_HEADER_BYTES + header.payload_bytes
        now_s = self._events.time()
        first_s, last_s = answer_s(now_s, size, (self._to_server, self._way))
        attempt = self._attempt
        if attempt is not None and not attempt.closed and attempt.first_byte_s is None:
            self._events.call_at(now_s + self._to_server.down.delay_s, self._first_byte)
        self._events.call_at(last_s, self._done, record, header, first_s)

    def _first_byte(self) -> None:
        attempt = self._attempt
        if attempt is not None and not attempt.closed and attempt.first_byte_s is None:
            attempt.first_byte(self._events.time())

    def _done(self, record: RequestRecord, header: ResponseHeader, first_s: float) -> None:
        attempt = self._attempt
        if attempt is not None and not attempt.closed:
            attempt.bytes_down += RESPONSE_HEADER_BYTES + header.payload_bytes
            attempt.last_byte_s = self._events.time() - self._way.down.delay_s
        if record.seq in self._pending:
            note_answer(record, header, first_s, self._events.time())
            self._end_request(record, "ok" if header.answer == Answer.SERVED else "rejected")
        if self._last and not self._pending and self.usable:
            self.usable = False
            closed_s = self._events.time() + self._way.up.delay_s + self._to_server.round_trip_s
            self._events.call_at(closed_s, self._close, CloseReason.COMPLETED)

    def _close(self, reason: CloseReason) -> None:
        attempt, server = self._attempt, self._server
        if attempt is not None and not attempt.closed:
            attempt.close(reason, self._events.time())
        if server is not None:
            self._server = None
            server.left(self._events.time() - self._to_server.down.delay_s)

    # As a carrier and a sleeper.

    def resume(self, value: object) -> None:
        """A place has come free."""
        assert isinstance(value, Backend)
        assert self._attempt is not None
        self._attempt.placed(value, self._events.time())
        self._connect(value)

    def throw(self, error: Exception) -> None:
        """No place came free in time."""
        reason = error.reason if isinstance(error, ConnectionEnd) else CloseReason.INTERNAL_ERROR
        self._refused(reason)

    def end(self, reason: CloseReason) -> None:
        """Its backend departs: nothing departs here."""

    def rebind(self) -> None:
        """Nothing departs here."""

    def carried(self) -> tuple[int, int]:
        """See `Live`."""
        return (0, 0) if self._attempt is None else self._attempt.carried()


def note_answer(
    record: RequestRecord, header: ResponseHeader, first_s: float, done_s: float
) -> None:
    """What the client has learnt."""
    record.first_byte_s, record.done_s = first_s, done_s
    record.backend = header.backend_id
    record.wait_ms, record.service_ms = header.wait_us / 1000, header.service_us / 1000
    record.bytes_received = header.payload_bytes
