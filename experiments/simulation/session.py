"""A UDP session's way in virtual time: datagrams may be lost, and nothing is sent again."""

from functools import partial

from experiments.hosts.client.request_record import RequestRecord, Status
from experiments.simulation.balancing import SimulatedBalancer
from experiments.simulation.connection import note_answer
from experiments.simulation.place import Place, SimulatedServer
from experiments.simulation.way import Way
from experiments.wire.datagrams import ANSWER_OVERHEAD_BYTES
from experiments.wire.stream import REQUEST_BYTES, Answer, Request, ResponseHeader
from nginy.address import Address
from nginy.traffic.attempt import Attempt
from nginy.traffic.close_reason import CloseReason, ConnectionEnd


class Session:
    """Of one client's socket; it begins with the first datagram that reaches the balancer."""

    def __init__(
        self, place: Place, way: Way, balancer: SimulatedBalancer, client: Address
    ) -> None:
        """Nothing was sent yet."""
        self._place = place
        self._events = place.events
        self._way = way
        self._balancer = balancer
        self._client = client
        self._attempt: Attempt | None = None
        self._touched_s = self._opened_s = self._events.time()
        self._pending: set[int] = set()
        self.usable = True

    def send(self, record: RequestRecord, *, last: bool) -> None:
        """Send one; after the `last` none follows."""
        self.usable = not last
        self._pending.add(record.seq)
        record.connected_s = self._opened_s
        record.local = str(self._client)
        if self._way.up.passes():
            size = REQUEST_BYTES + record.request_bytes
            arrives_s = self._way.up.carry(self._events.time(), size)
            self._events.call_at(arrives_s, self._at_balancer, record)

    def time_out(self, record: RequestRecord) -> None:
        """The client waits no longer; the session goes on."""
        self._end_request(record, "timeout")

    def _end_request(self, record: RequestRecord, status: Status) -> None:
        if record.seq in self._pending:
            self._pending.discard(record.seq)
            self._place.ended(record, status)

    def _at_balancer(self, record: RequestRecord) -> None:
        now_s = self._touched_s = self._events.time()
        attempt = self._attempt
        try:
            if attempt is None or attempt.closed:
                attempt = self._begin(now_s)
        except ConnectionEnd:
            return
        backend = attempt.leased
        assert backend is not None
        attempt.datagrams_up += 1
        server = self._place.servers[backend.id]
        way = self._place.way_to(self._balancer, server)
        if way.up.passes():
            arrives_s = way.up.carry(now_s, REQUEST_BYTES + record.request_bytes)
            self._events.call_at(arrives_s, self._at_server, server, way, record)

    def _begin(self, now_s: float) -> Attempt:
        """Raises ConnectionEnd if nobody takes it."""
        balancer = self._balancer
        attempt = Attempt.begin(balancer.rule, balancer.listener, self._client, now_s)
        attempt.carrier = self
        try:
            backend = attempt.choose(now_s)
        except ConnectionEnd as end:
            attempt.close(end.reason, now_s)
            raise
        attempt.backend = backend
        self._attempt = attempt
        self._events.call_at(now_s + self._idle_s, self._sweep)
        return attempt

    @property
    def _idle_s(self) -> float:
        return self._balancer.rule.udp.idle_timeout_ms / 1e3

    def _sweep(self) -> None:
        attempt, due_s = self._attempt, self._touched_s + self._idle_s
        if attempt is None or attempt.closed:
            return
        if due_s <= self._events.time():
            attempt.close(CloseReason.IDLE_TIMEOUT, self._events.time())
        else:
            self._events.call_at(due_s, self._sweep)

    def _at_server(self, server: SimulatedServer, way: Way, record: RequestRecord) -> None:
        record.received_s = self._events.time()
        asked = Request(record.seq, round((record.demand_ms or 0.0) * 1000), record.response_bytes)
        server.serve(asked, partial(self._answered, way, record))

    def _answered(self, way: Way, record: RequestRecord, header: ResponseHeader) -> None:
        record.answered_s = self._events.time()
        if way.down.passes():
            size = ANSWER_OVERHEAD_BYTES + header.payload_bytes
            arrives_s = way.down.carry(self._events.time(), size)
            self._events.call_at(arrives_s, self._back_at_balancer, record, header)

    def _back_at_balancer(self, record: RequestRecord, header: ResponseHeader) -> None:
        now_s = self._touched_s = self._events.time()
        attempt = self._attempt
        if attempt is None or attempt.closed:
            return
        if attempt.first_byte_s is None:
            attempt.reached(now_s)
            attempt.first_byte(now_s)
        attempt.last_byte_s = now_s
        attempt.datagrams_down += 1
        if attempt.rule.udp.responses == 1:
            attempt.close(CloseReason.COMPLETED, now_s)
        if self._way.down.passes():
            arrives_s = self._way.down.carry(now_s, ANSWER_OVERHEAD_BYTES + header.payload_bytes)
            self._events.call_at(arrives_s, self._done, record, header)

    def _done(self, record: RequestRecord, header: ResponseHeader) -> None:
        now_s = self._events.time()
        if record.seq in self._pending:
            note_answer(record, header, now_s, now_s)
            record.copies = 1
            self._end_request(record, "ok" if header.answer == Answer.SERVED else "rejected")
        elif record.status == "timeout" and record.copies == 0:
            record.late_s, record.copies = now_s, 1

    def end(self, reason: CloseReason) -> None:
        """Its backend departs: nothing departs here."""

    def rebind(self) -> None:
        """Nothing departs here."""

    def carried(self) -> tuple[int, int]:
        """See `Live`."""
        return (0, 0) if self._attempt is None else self._attempt.carried()
