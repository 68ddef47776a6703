"""One client's UDP session: its socket towards one backend, limits, rebinding, the end.

UDP connects with nobody, so the first answer stands for it: until then, for about `HOLD_S`, the
client's datagrams are kept, and if the backend refuses (ICMP), they are sent to another one, within
`max_tries`. Later on the last unanswered one is kept, where a session leaves a backend that refuses
(`on_down: rebind`).

How a session ends by itself (source: nginx's ngx_stream_proxy_module.c, commit 013c0140, the
functions ngx_stream_proxy_test_finalize and ngx_stream_proxy_process_connection):

    requests N   the client's N-th datagram is its last: the next one begins a new session, while
                 this one still passes answers. Before the N-th, answers end nothing.
    responses M  M answers to each datagram sent end it; with 0, sending does.
    idle         no datagram either way. If answers are owed (`responses`), the backend failed.

A session that was rebound has no socket until its client speaks again: the new backend does not
know the client before that. Of what the old backend still says nothing is passed on.
"""

import errno
import logging
import select
import socket
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Protocol

from nginy.address import Address
from nginy.backend.backend import Backend, Obstacle
from nginy.complaints import Complaints
from nginy.engine.timers import Timer
from nginy.errors import BackendError
from nginy.traffic.attempt import Attempt, complain
from nginy.traffic.close_reason import CloseReason, ConnectionEnd
from nginy.traffic.ledger import Drop
from nginy.traffic.rate import NO_LIMIT, TokenBucket
from nginy.udp.sessions import HOLD_S, Kept, Sessions
from nginy.udp.socket import (
    BACKEND_FAULTS,
    BUFFER_BYTES,
    EVICTION_HELPS,
    OWN_FAULTS,
    Key,
    Reply,
    forget_errors,
    kernel_drops,
    open_upstream,
)

log = logging.getLogger(__name__)
complaints = Complaints(log)

ANSWERS_BEFORE_REFUSAL = 64
"""Read at most, before others have their turn."""
PROGRESS_S = 1.0
"""How often an algorithm that wants to know hears how much was carried, while datagrams flow."""
FEW_ANSWERS = 16
SMALL_BUFFER_BYTES = 65_536
"""So few do not fill a larger buffer, and what came after the session's end is no loss of its: the
kernel is not asked for its drops, which would be 1 us of the 25 that a short session costs."""

_buffer = bytearray(BUFFER_BYTES)
_view = memoryview(_buffer)

LEFT_BECAUSE: dict[Obstacle | None, CloseReason] = {
    Obstacle.REMOVED: CloseReason.BACKEND_REMOVED,
    Obstacle.DRAINING: CloseReason.BACKEND_DRAINED,
}
"""Any other obstacle: BACKEND_DOWN."""


class Owner(Protocol):
    """Who gives the session its client's datagrams."""

    def let_go(self, session: "Session") -> None:
        """It takes no more of them; without effect if repeated."""

    def ended(self, session: "Session", now: float) -> None:
        """It has ended, and takes no more of them."""


class Session:
    """The `Carrier` of its attempt. Times are monotonic seconds."""

    __slots__ = (
        "_answers",
        "_counted",
        "_download",
        "_keep_until",
        "_kept",
        "_owed",
        "_paused",
        "_progresses",
        "_queued",
        "_rebinds",
        "_reply",
        "_reported_s",
        "_table",
        "_told_owner",
        "_touched_s",
        "_upload",
        "attempt",
        "key",
        "open",
        "owner",
        "rule",
        "sessions",
        "upstream",
    )

    def __init__(
        self, sessions: Sessions, attempt: Attempt, owner: Owner, key: Key, reply: Reply
    ) -> None:
        """For the client of `attempt`, which it closes at its end; `owner` knows the client by
        `key`, `reply` sends to it. There is no backend yet."""
        attempt.carrier = self
        self.attempt = attempt
        self.rule = rule = attempt.rule
        self.sessions = sessions
        self.upstream: socket.SocketType | None = None
        """Towards the backend."""
        self.open = True
        self.owner = owner
        self.key = key
        self._table = table = sessions.of(rule)
        self._reply = reply
        limits, udp, now = rule.rates, rule.udp, attempt.opened_s
        self._upload = self._download = None
        if limits != NO_LIMIT:
            self._upload = TokenBucket.of(limits.upload_bytes_per_s, now)
            self._download = TokenBucket.of(limits.download_bytes_per_s, now)
        self._paused: Timer | None = None
        """Set while the backend's answers stay in the kernel, for `_download`."""
        self._counted = udp.requests > 0 or udp.responses is not None
        self._rebinds = rule.live.policy.on_down == "rebind"
        self._kept = Kept()
        self._keep_until = now
        self._queued = False
        self._answers = 0
        """Of all its backends, those that did not reach the client included."""
        self._owed = 0
        """Answers that the present backend owes by the rule's `responses`."""
        self._told_owner = False
        """That it takes no more of the client's datagrams."""
        self._progresses = rule.balancer.wants_progress
        self._reported_s = now
        self._touched_s = now
        table.add(self, now)
        sessions.live += 1

    # What the client says.

    def datagram(self, datagram: memoryview, now: float) -> None:
        """Carry one of the client's."""
        if self._upload is not None and not self._upload.take(len(datagram), now):
            self._drop(Drop.RATE)
            return
        upstream = self.upstream or self._bound((datagram,), now)
        if upstream is None:
            return
        self._touch(now)
        try:
            upstream.send(datagram)
        except OSError as error:
            self._not_sent(upstream, datagram, error, now)
        else:
            self._sent(len(datagram), now)
            self._keep(datagram, now)
        if self._counted and self.open:
            self._end_if_complete(now)

    def _touch(self, now: float) -> None:
        if now > self._touched_s:  # once per turn is enough
            self._touched_s = now
            self._table.touch(self, now)

    def _sent(self, size: int, now: float) -> None:
        attempt = self.attempt
        attempt.datagrams_up += 1
        attempt.bytes_up += size
        self._owed += self.rule.udp.responses or 0
        if self._progresses:
            self._report(now)

    def _not_taken(self, datagrams: Sequence[bytes]) -> None:
        """These, sent and counted before, were refused by the backend."""
        self.attempt.datagrams_up -= len(datagrams)
        self.attempt.bytes_up -= sum(map(len, datagrams))

    def _keep(self, datagram: memoryview, now: float) -> None:
        if self.attempt.on_trial:
            self._kept.add(datagram)
        elif self._rebinds:
            self._kept.replace(datagram)
            self._keep_until = now + HOLD_S
            self._queue(now)

    def _not_sent(
        self, upstream: socket.SocketType, datagram: memoryview, error: OSError, now: float
    ) -> None:
        """Tell an error of this datagram from one that an earlier datagram met: then this one has
        not left, and goes wherever the session goes."""
        if error.errno not in BACKEND_FAULTS:
            forget_errors(upstream)
            self._drop(Drop.NOT_SENT)
            return
        self._sent(len(datagram), now)
        if self.attempt.on_trial or self._rebinds:
            self._kept.add(datagram)
        self._refused(upstream, error, now)
        if self.upstream is upstream:
            with suppress(OSError):
                upstream.send(datagram)

    # What the backend says.

    def ready(self, events: int) -> None:
        """Handle the poller's events: an answer or an error."""
        upstream = self.upstream
        if upstream is None:
            return
        now = self.sessions.poller.now
        try:
            try:
                size = upstream.recv_into(_buffer)
            except OSError as error:
                self._not_read(upstream, error, events, now)
            else:
                self._answer(_view[:size], now)
        except Exception:  # a fault of nginy ends this one session, not the others
            log.exception("a UDP session was lost by a fault of nginy")
            self.end(CloseReason.INTERNAL_ERROR)

    def _not_read(
        self, upstream: socket.SocketType, error: OSError, events: int, now: float
    ) -> None:
        if isinstance(error, BlockingIOError):
            if events & select.EPOLLERR:
                forget_errors(upstream)
        elif error.errno in BACKEND_FAULTS:
            self._refused(upstream, error, now)
        else:
            self._drop(Drop.NOT_SENT)
            forget_errors(upstream)

    def _answer(self, datagram: memoryview, now: float) -> None:
        attempt = self.attempt
        self._answers += 1
        self._owed -= 1
        if first := attempt.first_byte_s is None:
            attempt.reached(now)
            attempt.first_byte(now)
        self._kept.clear()
        if attempt.on_trial:
            attempt.prove()
        self._touch(now)
        try:
            self._reply(datagram)
        except OSError:
            self._drop(Drop.NOT_SENT)
        else:
            attempt.last_byte_s = now
            attempt.datagrams_down += 1
            attempt.bytes_down += len(datagram)
        if self._progresses:
            self._report(now)
        if self._counted:
            self._end_if_complete(now)
        if first and self.open:
            self._table.answered(self, now)
        if self._download is not None:
            self._pace(self._download, len(datagram), now)

    def _pace(self, bucket: TokenBucket, size: int, now: float) -> None:
        """Read no more answers until those before are paid for."""
        bucket.charge(size, now)
        upstream = self.upstream
        if upstream is None or self._paused is not None or bucket.available(now):
            return
        self.sessions.poller.unwatch(upstream)
        self._paused = self.sessions.wheel.add(bucket.ready_at(1.0), self._read_on)

    def _read_on(self, now: float) -> None:
        self._paused = None
        self._touch(now)  # or it is found idle before what waits is read
        assert self.upstream is not None, "the pause ends with its socket"
        try:
            self.sessions.poller.watch_listener(self.upstream, self.ready)
        except OSError:
            self._end(CloseReason.NO_RESOURCES, now)

    def _report(self, now: float) -> None:
        if now - self._reported_s >= PROGRESS_S:
            self._reported_s = now
            self.attempt.progressed(now)

    # What becomes of it.

    def carried(self) -> tuple[int, int]:
        """See `Live`."""
        return self.attempt.carried()

    def end(self, reason: CloseReason) -> None:
        """End it for a reason from outside. Raises nothing, as all that ends it."""
        self._end(reason, monotonic())

    def evict(self, now: float, *, at_once: bool = False) -> None:
        """End it for a new one; with `at_once`, its descriptor is free now."""
        self._end(CloseReason.EVICTED, now, at_once=at_once)

    def expire(self, now: float) -> None:
        """It was idle for too long. A backend that owes answers has failed; one of which none is
        expected, or none in particular, has not (nginx forgives it earlier failures likewise)."""
        if self._paused is not None:  # the backend may have said much meanwhile
            self._table.add(self, now)
            self._table.answered(self, now)
            return
        backend = self.attempt.leased
        owes = backend is not None and self._owed > 0 and bool(self.rule.udp.responses)
        if backend is not None and not owes:
            backend.succeeded(now)
        failed = BackendError("it owes answers", "silent") if owes else None
        self._end(CloseReason.IDLE_TIMEOUT, now, failed=failed)

    def rebind(self) -> None:
        """Leave the backend; the client's next datagram goes to another one."""
        backend, now = self.attempt.leased, monotonic()
        if backend is not None and self._said_all():
            self._end(left_because(backend, now), now)
        elif backend is not None:
            self._close_upstream()
            self.attempt.leave(now)
            self._kept.clear()
            self.attempt.begin_trial()

    def settle(self, now: float) -> bool:
        """Whether to look again later; else what was kept is let go: nobody has refused it."""
        if now < self._keep_until:
            return True
        self._queued = False
        self._kept.clear()
        backend = self.attempt.leased
        if self.attempt.on_trial and backend is not None:
            self.attempt.prove()
            if not self.rule.udp.responses:
                backend.succeeded(now)
        return False

    def _said_all(self) -> bool:
        """Whether the client's next datagram, if limited, is of another session."""
        return 0 < self.rule.udp.requests <= self.attempt.datagrams_up

    def _end_if_complete(self, now: float) -> None:
        udp, requests = self.rule.udp, self.attempt.datagrams_up
        if requests < udp.requests:
            return
        if udp.requests and not self._told_owner:
            self._told_owner = True
            self.owner.let_go(self)
        if udp.responses is None:
            return
        if self._answers >= udp.responses * requests:
            backend = self.attempt.leased
            if backend is not None:
                backend.succeeded(now)
            self._end(CloseReason.COMPLETED, now)

    def _refused(self, upstream: socket.SocketType, error: OSError, now: float) -> None:
        """The backend says that nobody is there (any more)."""
        kept = self._kept.take()
        if self._answered_before(upstream, now):
            kept = kept[-1:]  # nobody knows which were answered: rather lost than said twice
        attempt, refusal = self.attempt, refusal_of(error)
        backend = attempt.leased
        if not self.open or backend is None:
            return
        if attempt.on_trial or self._rebinds:
            self._not_taken(kept)
            self._close_upstream()
            attempt.failed(refusal, now)
            if not attempt.on_trial:
                attempt.begin_trial(backend)
            self._move_on(kept, now)
            return
        complain(backend, refusal, now)
        if self.rule.live.policy.on_down == "keep":
            backend.failed(now)
            forget_errors(upstream)
            self._drop(Drop.REFUSED)
        else:
            self._end(CloseReason.BACKEND_RESET, now, failed=refusal)

    def _answered_before(self, upstream: socket.SocketType, now: float) -> bool:
        """Pass on what came before a refusal, which the kernel tells first (udp(7): a pending error
        is returned by the next call, whatever waits). Gives whether there was any."""
        before = self._answers
        for _ in range(ANSWERS_BEFORE_REFUSAL):
            try:
                size = upstream.recv_into(_buffer)
            except OSError:
                break
            self._answer(_view[:size], now)
            if not self.open:
                break
        return self._answers > before

    # Towards a backend.

    def _move_on(self, datagrams: list[bytes], now: float) -> None:
        """Send what was refused to somebody else; with nothing to send, wait for the client."""
        while datagrams:
            upstream = self._bound(datagrams, now)
            if upstream is None:
                return
            error = self._send_again(upstream, datagrams, now)
            if error is None:
                return
            self._not_taken(self._kept.take())
            self._close_upstream()
            self.attempt.failed(refusal_of(error), now)

    def _send_again(
        self, upstream: socket.SocketType, datagrams: list[bytes], now: float
    ) -> OSError | None:
        """The backend's refusal, if it comes meanwhile."""
        for datagram in datagrams:
            try:
                upstream.send(datagram)
            except OSError as error:
                if error.errno in BACKEND_FAULTS:
                    return error
                self._drop(Drop.NOT_SENT)
            else:
                self._sent(len(datagram), now)
                self._kept.add(datagram)
        return None

    def _bound(self, waiting: Sequence[memoryview | bytes], now: float) -> socket.SocketType | None:
        """A socket for those that wait; None: there is none, and the session has ended."""
        try:
            return self._bind(now)
        except ConnectionEnd as end:
            self._unreachable(waiting, end.reason, now)
            return None

    def _unreachable(
        self, waiting: Sequence[memoryview | bytes], reason: CloseReason, now: float
    ) -> None:
        """No backend can be reached for those that wait."""
        self._drop(Drop.NO_BACKEND, len(waiting))
        self._end(reason, now)

    def _bind(self, now: float) -> socket.SocketType:
        """Try backend after backend. Raises ConnectionEnd."""
        upstream = None
        while upstream is None:
            backend = self.attempt.choose(now)
            assert backend is not None, "a datagram never waits in a queue"
            upstream = self._open_upstream(backend, now)
        return upstream

    def _open_upstream(self, backend: Backend, now: float) -> socket.SocketType | None:
        """Towards the backend that was taken; None: it cannot be reached. Raises ConnectionEnd."""
        while self.upstream is None:
            try:
                upstream = open_upstream(backend.address, self._table.receive_buffer_bytes)
                self._watch(upstream)
            except OSError as error:
                if error.errno not in OWN_FAULTS:
                    self.attempt.failed(refusal_of(error), now)
                    return None
                self._make_room(error, now)
        loops = self.rule.loops
        if backend.address.port in loops.ports and loops.possible(backend.address):
            self.attempt.opened(Address(*self.upstream.getsockname()[:2]))
        self.attempt.backend = backend  # whether or not it says anything
        self._owed = 0
        self._keep_until = now + HOLD_S
        self._queue(now)
        return self.upstream

    def _watch(self, upstream: socket.SocketType) -> None:
        try:
            # Level-triggered and one read per event: an answer that comes alone, as most do, costs
            # no read in vain (1.1 us with its exception), and nobody keeps others waiting.
            self.sessions.poller.watch_listener(upstream, self.ready)
        except BaseException:
            upstream.close()
            raise
        self.upstream = upstream

    def _make_room(self, error: OSError, now: float) -> None:
        """End another session for what it holds. Raises ConnectionEnd if that is no use: there
        is none, it is not wanted, or it is something else that has run out."""
        victim = self._table.to_evict(but=self)
        evicts = self.rule.udp.when_full == "evict_oldest" and error.errno in EVICTION_HELPS
        if evicts and victim is not None:
            victim.evict(now, at_once=True)
            return
        complaints.say("own fault", now, "no socket towards a backend: %s", error.strerror)
        raise ConnectionEnd(CloseReason.NO_RESOURCES)

    def _queue(self, now: float) -> None:
        if not self._queued:
            self._queued = True
            self.sessions.hold(self, now)

    def _close_upstream(self, *, at_once: bool = False) -> None:
        """With `at_once`, the descriptor is free now and not only at the end of the turn (its next
        owner must put up with an event that was meant for this one)."""
        upstream, poller = self.upstream, self.sessions.poller
        if upstream is None:
            return
        self.upstream = None
        if self._paused is not None:
            self._paused.cancel()
            self._paused = None
        if self._answers >= FEW_ANSWERS or self.rule.udp.receive_buffer_bytes < SMALL_BUFFER_BYTES:
            lost = kernel_drops(upstream)
            if lost:
                self._drop(Drop.KERNEL, lost)
        if self.sessions.ledger.keeps_records:
            self.attempt.upstream_local = Address(*upstream.getsockname()[:2])
        if at_once:
            poller.unwatch(upstream)
            upstream.close()
        else:
            poller.close(upstream)

    def _end(
        self,
        reason: CloseReason,
        now: float,
        *,
        failed: BackendError | None = None,
        at_once: bool = False,
    ) -> None:
        if not self.open:
            return
        self.open = False
        try:
            self._give_back(reason, now, failed, at_once=at_once)
        except Exception:  # all is given back, and whoever ended it has more to do
            log.exception("a UDP session ended by a fault of nginy")

    def _give_back(
        self, reason: CloseReason, now: float, failed: BackendError | None, *, at_once: bool
    ) -> None:
        try:
            self._close_upstream(at_once=at_once)
            self._kept.clear()
            self._table.remove(self)
            self.sessions.live -= 1
            self.sessions.release(self)
        finally:
            try:
                self.attempt.close(reason, now, failed=failed)
            finally:
                del self.attempt.carrier  # each refers to the other
                self.owner.ended(self, now)

    def _drop(self, why: Drop, datagrams: int = 1) -> None:
        self.sessions.ledger.dropped[why] += datagrams
        self.attempt.dropped += datagrams


def left_because(backend: Backend, now: float) -> CloseReason:
    """Why a session that cannot go anywhere else ends when it leaves `backend`."""
    return LEFT_BECAUSE.get(backend.obstacle(now), CloseReason.BACKEND_DOWN)


def refusal_of(error: OSError) -> BackendError:
    """What a socket says of a backend."""
    kind = errno.errorcode.get(error.errno or 0, "error")
    return BackendError(error.strerror or str(error), kind)
