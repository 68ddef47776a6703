"""One client's way through its rule, from admission to close record: `Attempt`.

What TCP connections, UDP sessions, forwarding by the kernel and a simulator have alike: no socket,
no clock. An attempt owns everything that must be given back (its place under the rule's caps, in
the queue, among what lives on a backend, and the lease that counts it there). Whatever raises in
between, an observer of a lease included, `close` gives back all that is held, once.

    Attempt.begin(rule, ...)   admitted, or ConnectionEnd
    choose(now)                a backend is taken; None: wait in the queue, then `placed`
    reached(now)               it is served there
    failed(error, now)         the next one, please
    leave(now)                 the backend is given up, the client is not: choose again
    close(reason, now)         all is given back, counted and recorded

A trial is the search for one backend: at most `max_tries`, at most `total_timeout_s`, which the
time in the queue does not count for: it has its own limit. `reached` ends it.
"""

import logging

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.pool import Lease, Outcome
from nginy.complaints import Complaints
from nginy.errors import BackendError
from nginy.traffic.close_reason import CloseReason, ConnectionEnd
from nginy.traffic.live import Live, Tally
from nginy.traffic.loops import NEW, Way, complain_of_loop
from nginy.traffic.queue import Sleeper, Waiter, WaitingQueue
from nginy.traffic.record import ConnectionContext
from nginy.traffic.rule import RunningRule

complaints = Complaints(logging.getLogger(__name__))


class BackendWithdrawn(BackendError):
    """The backend was taken away while it was being reached: no failed attempt of its."""


class Attempt(ConnectionContext):
    """Made by `begin`; whoever has it calls `close`. Times are monotonic seconds."""

    _lease: Lease | None = None
    _tally: Tally | None = None
    _place: tuple[WaitingQueue, Waiter] | None = None
    """In a queue."""
    _waits_since: float = 0.0
    _give_up_s: float | None = None
    """When the present trial ends; None: none has begun."""
    _bytes_before: tuple[int, int] = (0, 0)
    """Of earlier backends."""
    _moved: int = 0
    """Bytes that the algorithm was told of, of this lease."""
    came_by: Way = NEW
    """If it comes from the balancer itself."""
    _sends_from: Address | None = None
    """To the balancer itself, where the backend is that."""
    admitted_in: int | None = None
    """The epoch of the admission; None: it is not counted there (yet)."""
    last_byte_s: float | None = None
    """When the backend's last byte, or answer, so far was passed on, if there was one."""
    on_trial = True
    """No backend has proved itself since the last one was left."""
    closed = False
    carrier: Live
    """To be set before the first `choose`."""

    def __init__(self, rule: RunningRule, listener: Address, client: Address, now: float) -> None:
        """Hold nothing yet."""
        protocol = rule.protocol
        super().__init__(next(rule.ledger.numbers), protocol, listener, client, now)
        self.rule = rule
        self.rule_name = rule.name
        self.trial: list[Backend] = []
        """Backends tried in this trial."""

    @classmethod
    def begin(cls, rule: RunningRule, listener: Address, client: Address, now: float) -> "Attempt":
        """Admit `client` by `rule`. Raises ConnectionEnd if it is refused: then all is counted and
        recorded."""
        way = rule.loops.ways.get(client, NEW) if rule.loops.ways else NEW
        refusal: CloseReason | None
        if rule.name in way.rules:
            refusal = CloseReason.LOOP
            complain_of_loop(rule.name, way, now)
        else:
            refusal = rule.admission.enter(client, now)
        if refusal is not None:
            cls.refuse(rule, listener, client, refusal, now)
            raise ConnectionEnd(refusal)
        attempt = cls(rule, listener, client, now)
        if way is not NEW:
            attempt.came_by = way
        attempt.admitted_in = rule.admission.epoch
        return attempt

    @classmethod
    def refuse(
        cls, rule: RunningRule, listener: Address, client: Address, reason: CloseReason, now: float
    ) -> None:
        """Count and record that `client` is not served."""
        attempt = cls(rule, listener, client, now)
        attempt.dropped = 1
        attempt.close(reason, now)

    # Which backend.

    def choose(self, now: float, sleeper: Sleeper | None = None) -> Backend | None:
        """Take the next backend to try; None: `sleeper`, if there is one, waits in the queue, and
        will be resumed with a backend.

        Raises ConnectionEnd: no tries or no time left, nobody is available, the queue is full.
        """
        rule, trial = self.rule, self.trial
        if len(trial) >= rule.max_tries:
            raise ConnectionEnd(CloseReason.CONNECT_FAILED)
        if self._give_up_s is None:
            self._give_up_s = now + rule.total_timeout_s
        elif now >= self._give_up_s:
            raise ConnectionEnd(CloseReason.CONNECT_TIMEOUT)
        queue = None if sleeper is None else rule.queue
        # Who waits was here before.
        backend = None if queue else rule.balancer.pick(self.client, now, trial)
        if backend is not None:
            if rule.after_pick is not None:
                rule.after_pick(now)
            self.take(backend, now)
            return backend
        if queue is None or sleeper is None or not (queue or queue.worth_waiting(trial)):
            raise ConnectionEnd(CloseReason.CONNECT_FAILED if trial else CloseReason.NO_BACKEND)
        self._waits_since = now
        self._place = queue, queue.join(sleeper, self.client, trial, now)
        if len(queue) > 1:
            queue.wake_soon()
        return None

    def placed(self, backend: Backend, now: float) -> None:
        """The queue has resumed the carrier with `backend`: take it."""
        self._leave_queue(now)
        self.take(backend, now)

    def take(self, backend: Backend, now: float) -> None:
        """Count as tried, and hold a lease on `backend` from now on."""
        rule = self.rule
        if self._lease is not None:
            self.leave(now)
        self.tried.append(backend)
        self.trial.append(backend)
        self.connect_began_s = now
        if len(self.tried) > 1:  # what was set is of the backend before
            self.connected_s = self.first_byte_s = self.last_byte_s = None
            self._bytes_before = self.bytes_up, self.bytes_down
            self._moved = 0
        self._lease = Lease(rule.pool, backend, rule.balancer, now)
        self._tally = rule.live.add(backend, self.carrier)

    def opened(self, local: Address) -> None:
        """Its socket towards the backend is bound to `local`, and may lead back to the balancer. To
        be called if `Loops.possible`."""
        backend = self.leased
        assert backend is not None, "nothing was taken"
        if self.rule.loops.opened(local, backend, self.rule.name, self.came_by):
            self._sends_from = local

    @property
    def time_left_s(self) -> float:
        """Of the trial, when the present try began."""
        return (self._give_up_s or 0.0) - self.connect_began_s

    @property
    def leased(self) -> Backend | None:
        """The backend that a lease is held on."""
        return None if self._lease is None else self._lease.backend

    # How it gets on there.

    def reached(self, now: float) -> None:
        """The backend was reached; of UDP: it has answered."""
        lease, tally = self._lease, self._tally
        assert lease is not None, "nothing was taken"
        assert tally is not None
        self.backend = lease.backend
        self.connected_s = now
        connect_s = now - self.connect_began_s
        tally.reached += 1
        tally.connect_s += connect_s
        lease.connected(connect_s, now)

    def prove(self) -> None:
        """The trial is over: the backend serves it (UDP; a TCP connection has only one trial)."""
        self.on_trial = False
        self.trial = []
        self._give_up_s = None

    def begin_trial(self, *without: Backend) -> None:
        """Look for another backend."""
        self.on_trial = True
        self.trial = list(without)
        self._give_up_s = None

    def carried(self) -> tuple[int, int]:
        """Bytes counted on this attempt of the present backend: client to backend, and back."""
        up, down = self._bytes_before
        return self.bytes_up - up, self.bytes_down - down

    def first_byte(self, now: float) -> None:
        """The backend's first byte was passed on."""
        self.first_byte_s = now
        if self._lease is not None and self.rule.balancer.wants_progress:
            self._lease.first_byte(now - self.connect_began_s, now)

    def progressed(self, now: float) -> None:
        """Tell an algorithm that wants to know (`wants_progress`) how much was carried so far."""
        if self._lease is not None:
            so_far = sum(self.carrier.carried())
            if so_far > self._moved:
                self._lease.moved(so_far - self._moved, now)
                self._moved = so_far

    def failed(self, error: BackendError, now: float) -> None:
        """The backend could not be reached; by its fault, unless it was withdrawn."""
        backend = self.leased
        assert backend is not None, "nothing was taken"
        if self.on_trial:
            self.backend = None
        self.leave(now, failed=error)
        complain(backend, error, now)

    def leave(self, now: float, *, failed: BackendError | None = None) -> None:
        """Give up the backend, if there is one; its bytes are counted first. `failed`: why, if it
        is a failed attempt of the backend's."""
        lease, tally = self._lease, self._tally
        if lease is None:
            return
        self._lease = self._tally = None
        if self._sends_from is not None:
            self.rule.loops.closed(self._sends_from)
            self._sends_from = None
        blamed = failed is not None and not isinstance(failed, BackendWithdrawn)
        began_s, connected_s = self.connect_began_s, self.connected_s
        first_byte_s, last_byte_s = self.first_byte_s, self.last_byte_s
        up, down = self.carried()
        outcome = Outcome(
            blamed,
            up,
            down,
            now - began_s,
            None if connected_s is None else connected_s - began_s,
            None if first_byte_s is None else first_byte_s - began_s,
            None if last_byte_s is None else last_byte_s - began_s,
        )
        try:
            if tally is not None:
                tally.bytes_up += up
                tally.bytes_down += down
                if failed is not None:
                    tally.failed[failed.kind] += 1
                self.rule.live.discard(lease.backend, self.carrier)
            if self.rule.balancer.wants_progress and up + down > self._moved:
                lease.moved(up + down - self._moved, now)
        finally:
            lease.release(outcome, now)

    # The end.

    def close(self, reason: CloseReason, now: float, *, failed: BackendError | None = None) -> None:
        """Give back everything, count and record it; only the first call has an effect."""
        if self.closed:
            return
        self.closed = True
        self.close_reason = reason
        self.closed_s = now
        try:
            if self._place is not None:
                self._leave_queue(now)
        finally:
            try:
                self.leave(now, failed=failed)
            finally:
                self.give_up_place(now)
                self.rule.closed[reason] += 1
                self.rule.ledger.ended(self)

    def give_up_place(self, now: float) -> None:
        """Count no more under the rule's caps."""
        if self.admitted_in is not None:
            epoch, self.admitted_in = self.admitted_in, None
            self.rule.admission.leave(self.client, now, epoch)

    def _leave_queue(self, now: float) -> None:
        if self._place is None:
            return
        (queue, waiter), self._place = self._place, None
        waited_s = now - self._waits_since
        self.queued_s += waited_s
        if self._give_up_s is not None:
            self._give_up_s += waited_s
        queue.leave(waiter)


def complain(backend: Backend, error: BackendError, now: float) -> None:
    """Log what is wrong with `backend`."""
    complaints.say(backend.id, now, "backend %s at %s: %s", backend.id, backend.address, error)
