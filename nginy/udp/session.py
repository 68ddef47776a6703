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

A session that was rebound has no link until its client speaks again: the new backend does not know
the client before that. Of what the old backend still says nothing is passed on.
"""

import logging
import select
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Protocol

from nginy.backend.backend import Backend, Obstacle
from nginy.complaints import Complaints
from nginy.traffic.close_reason import CloseReason, ConnectionEnd
from nginy.traffic.context import ConnectionContext
from nginy.traffic.rate import TokenBucket
from nginy.traffic.service import Service
from nginy.udp.counters import Drop
from nginy.udp.kept import Kept
from nginy.udp.link import Link
from nginy.udp.registry import HOLD_S, Registry
from nginy.udp.socket import (
    BACKEND_FAULTS,
    BUFFER_BYTES,
    EVICTION_HELPS,
    OWN_FAULTS,
    Key,
    Reply,
    forget_errors,
    kernel_drops,
)

log = logging.getLogger(__name__)
complaints = Complaints(log)

ANSWERS_BEFORE_REFUSAL = 64
"""Read at most, before others have their turn."""

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
    """A `Live`: `LiveConnections` may end or rebind it. Times are monotonic seconds."""

    __slots__ = (
        "_counted",
        "_download",
        "_keep_until",
        "_kept",
        "_queued",
        "_rebinds",
        "_reply",
        "_table",
        "_trial",
        "_tried",
        "_tries_end",
        "_upload",
        "context",
        "key",
        "link",
        "open",
        "owner",
        "registry",
        "service",
    )

    def __init__(
        self,
        registry: Registry,
        service: Service,
        owner: Owner,
        key: Key,
        reply: Reply,
        context: ConnectionContext,
    ) -> None:
        """Of the rule `service`; `owner` knows its client by `key`, `reply` sends to that one.

        There is no backend yet.
        """
        self.registry = registry
        self.service = service
        self.context = context
        self.link: Link | None = None
        self.open = True
        self.owner = owner
        self.key = key
        self._table = registry.table(service)
        self._reply = reply
        limits, udp, now = service.rates, service.udp, context.opened_s
        self._upload = TokenBucket.of(limits.upload_bytes_per_s, now)
        self._download = TokenBucket.of(limits.download_bytes_per_s, now)
        self._counted = udp.requests > 0 or udp.responses is not None
        self._rebinds = service.live.policy.on_down == "rebind"
        self._kept = Kept()
        self._keep_until = now
        self._queued = False
        self._trial = True
        """No backend has proved itself since the last one was left."""
        self._tried: list[Backend] = []
        """In this trial."""
        self._tries_end = now + service.total_timeout_s
        self._table.touch(self, now)

    # What the client says.

    def datagram(self, datagram: memoryview, now: float) -> None:
        """Carry one of the client's."""
        if self._upload is not None and not self._upload.take(len(datagram), now):
            self._drop(Drop.RATE)
            return
        link = self.link or self._bound((datagram,), now)
        if link is None:
            return
        self._table.touch(self, now)
        try:
            link.send(datagram)
        except OSError as error:
            self._not_sent(link, datagram, error, now)
        else:
            link.sent(len(datagram), now)
            self._keep(datagram, now)
        if self._counted and self.open:
            self._end_if_complete(now)

    def _keep(self, datagram: memoryview, now: float) -> None:
        if self._trial:
            self._kept.add(datagram)
        elif self._rebinds:
            self._kept.replace(datagram)
            self._keep_until = now + HOLD_S
            self._queue(now)

    def _not_sent(self, link: Link, datagram: memoryview, error: OSError, now: float) -> None:
        """Tell an error of this datagram from one that an earlier datagram met: then this one has
        not left, and goes wherever the session goes."""
        if error.errno not in BACKEND_FAULTS:
            forget_errors(link.sock)
            self._drop(Drop.NOT_SENT)
            return
        link.sent(len(datagram), now)
        if self._trial or self._rebinds:
            self._kept.add(datagram)
        self._refused(link, error, now)
        if self.link is link:
            with suppress(OSError):
                link.send(datagram)

    # What the backend says.

    def ready(self, events: int) -> None:
        """Handle the poller's events: an answer or an error."""
        link = self.link
        if link is None:
            return
        try:
            self._read(link, events, self.registry.poller.now)
        except Exception:  # a fault of nginy ends this one session, not the others
            log.exception("a UDP session was lost by a fault of nginy")
            self.end(CloseReason.INTERNAL_ERROR)

    def _read(self, link: Link, events: int, now: float) -> None:
        try:
            size = link.recv_into(_buffer)
        except BlockingIOError:
            if events & select.EPOLLERR:
                forget_errors(link.sock)
        except OSError as error:
            if error.errno in BACKEND_FAULTS:
                self._refused(link, error, now)
            else:
                self._drop(Drop.NOT_SENT)
                forget_errors(link.sock)
        else:
            self._answer(link, _view[:size], now)

    def _answer(self, link: Link, datagram: memoryview, now: float) -> None:
        link.answered(len(datagram), now)
        self._kept.clear()
        if self._trial:
            self._proved()
        self._table.touch(self, now)
        if self._download is not None and not self._download.take(len(datagram), now):
            self._drop(Drop.RATE)
            link.not_delivered(len(datagram))
        else:
            try:
                self._reply(datagram)
            except OSError:
                self._drop(Drop.NOT_SENT)
                link.not_delivered(len(datagram))
        if self._counted:
            self._end_if_complete(now)

    # What becomes of it.

    def end(self, reason: CloseReason) -> None:
        """End it for a reason from outside."""
        self._end(reason, monotonic())

    def evict(self, now: float, *, at_once: bool = False) -> None:
        """End it for a new one; with `at_once`, its descriptor is free now."""
        self._end(CloseReason.EVICTED, now, at_once=at_once)

    def expire(self, now: float) -> None:
        """It was idle for too long. A backend that owes answers has failed; one of which none is
        expected, or none in particular, has not (nginx forgives it earlier failures likewise)."""
        link, responses = self.link, self.service.udp.responses
        owed = link is not None and link.responses < (responses or 0) * link.requests
        if link is not None and not owed:
            link.backend.succeeded(now)
        self._end(CloseReason.IDLE_TIMEOUT, now, failed=owed)

    def rebind(self) -> None:
        """Leave the backend; the client's next datagram goes to another one."""
        link = self.link
        if link is not None and self._said_all(link):
            self.end(left_because(link.backend, monotonic()))
        elif link is not None:
            self._close_link(monotonic())
            self._kept.clear()
            self._trial = True
            self._tried = []

    def settle(self, now: float) -> bool:
        """Whether to look again later; else what was kept is let go: nobody has refused it."""
        if now < self._keep_until:
            return True
        self._queued = False
        self._kept.clear()
        if self._trial and self.link is not None:
            self._proved()
            if not self.service.udp.responses:
                self.link.backend.succeeded(now)
        return False

    def _proved(self) -> None:
        self._trial = False
        self._tried = []

    def _said_all(self, link: Link) -> bool:
        """Whether the client's next datagram, if limited, is of another session."""
        return 0 < self.service.udp.requests <= self.context.datagrams_up + link.requests

    def _end_if_complete(self, now: float) -> None:
        udp = self.service.udp
        link = self.link
        requests = self.context.datagrams_up + (link.requests if link else 0)
        if requests < udp.requests:
            return
        if udp.requests:
            self.owner.let_go(self)
        if udp.responses is None:
            return
        responses = self.context.datagrams_down + (link.responses if link else 0)
        if responses >= udp.responses * requests:
            if link is not None:
                link.backend.succeeded(now)
            self._end(CloseReason.COMPLETED, now)

    def _refused(self, link: Link, error: OSError, now: float) -> None:
        """The backend says that nobody is there (any more)."""
        _complain(link.backend, error, now)
        kept = self._kept.take()
        if self._answered_before(link, now):
            kept = kept[-1:]  # nobody knows which were answered: rather lost than said twice
        if not self.open:
            return
        if self._trial or self._rebinds:
            link.not_taken(kept)
            self._close_link(now, failed=True)
            if not self._trial:
                self._trial = True
                self._tried = [link.backend]
                self._tries_end = now + self.service.total_timeout_s
            self._move_on(kept, now)
        elif self.service.live.policy.on_down == "keep":
            link.backend.failed(now)
            forget_errors(link.sock)
            self._drop(Drop.REFUSED)
        else:
            self._end(CloseReason.BACKEND_RESET, now, failed=True)

    def _answered_before(self, link: Link, now: float) -> bool:
        """Pass on what came before a refusal, which the kernel tells first (udp(7): a pending error
        is returned by the next call, whatever waits). Gives whether there was any."""
        before = link.responses
        for _ in range(ANSWERS_BEFORE_REFUSAL):
            try:
                size = link.recv_into(_buffer)
            except OSError:
                break
            self._answer(link, _view[:size], now)
            if not self.open:
                break
        return link.responses > before

    def _move_on(self, datagrams: list[bytes], now: float) -> None:
        """Send what was refused to somebody else; with nothing to send, wait for the client."""
        while datagrams:
            link = self._bound(datagrams, now)
            if link is None:
                return
            error = self._send_again(link, datagrams, now)
            if error is None:
                return
            _complain(link.backend, error, now)
            link.not_taken(self._kept.take())
            self._close_link(now, failed=True)

    def _send_again(self, link: Link, datagrams: list[bytes], now: float) -> OSError | None:
        """The backend's refusal, if it comes meanwhile."""
        for datagram in datagrams:
            try:
                link.send(datagram)
            except OSError as error:
                if error.errno in BACKEND_FAULTS:
                    return error
                self._drop(Drop.NOT_SENT)
            else:
                link.sent(len(datagram), now)
                self._kept.add(datagram)
        return None

    def _bound(self, waiting: Sequence[memoryview | bytes], now: float) -> Link | None:
        """A link for those that wait; None: there is none, and the session has ended."""
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

    def _bind(self, now: float) -> Link:
        """Try backend after backend. Raises ConnectionEnd."""
        service = self.service
        if not self._tried:
            self._tries_end = now + service.total_timeout_s
        while len(self._tried) < service.max_tries and now < self._tries_end:
            backend = service.balancer.pick(self.context.client, now, self._tried)
            if backend is None:
                break
            if service.balancer.wants_probes:
                self.registry.after_pick(service, now)
            link = self._open_link(backend, now)
            if link is not None:
                return link
        raise ConnectionEnd(CloseReason.CONNECT_FAILED if self._tried else CloseReason.NO_BACKEND)

    def _open_link(self, backend: Backend, now: float) -> Link | None:
        """None: the backend cannot be reached. Raises ConnectionEnd."""
        registry, context = self.registry, self.context
        self._tried.append(backend)
        context.tried.append(backend)
        context.connect_began_s = now
        link = None
        while link is None:
            try:
                link = Link(registry.poller, registry.pool, self.service, backend, self.ready, now)
            except OSError as error:
                if error.errno not in OWN_FAULTS:
                    _complain(backend, error, now)
                    return None
                self._make_room(error, now)
        self.link = link
        context.backend = backend
        self._keep_until = now + HOLD_S
        self._queue(now)
        self.service.live.add(backend, self)
        return link

    def _make_room(self, error: OSError, now: float) -> None:
        """End the oldest session for what it holds. Raises ConnectionEnd if that is no use: there
        is none, it is not wanted, or it is something else that has run out."""
        oldest = self._table.oldest
        evicts = self.service.udp.when_full == "evict_oldest" and error.errno in EVICTION_HELPS
        if evicts and oldest is not None and oldest is not self:
            oldest.evict(now, at_once=True)
            return
        complaints.say("own fault", now, "no socket towards a backend: %s", error.strerror)
        raise ConnectionEnd(CloseReason.NO_RESOURCES)

    def _queue(self, now: float) -> None:
        if not self._queued:
            self._queued = True
            self.registry.hold(self, now)

    def _close_link(self, now: float, *, failed: bool = False, at_once: bool = False) -> None:
        link, context = self.link, self.context
        if link is None:
            return
        self.link = None
        self.service.live.discard(link.backend, self)
        lost = kernel_drops(link.sock)
        if lost:
            self._drop(Drop.KERNEL, lost)
        if failed and self._trial:
            context.backend = context.upstream_local = None
        elif self.registry.keeps_records:
            context.upstream_local = link.local
        link.close(now, failed=failed, at_once=at_once)
        context.datagrams_up += link.requests
        context.datagrams_down += link.responses - link.undelivered
        context.bytes_up += link.bytes_up
        context.bytes_down += link.bytes_down
        context.first_byte_s = link.first_byte_s

    def _end(
        self, reason: CloseReason, now: float, *, failed: bool = False, at_once: bool = False
    ) -> None:
        if not self.open:
            return
        self.open = False
        self._close_link(now, failed=failed, at_once=at_once)
        self._kept.clear()
        self._table.remove(self)
        self.registry.release(self)
        self.context.close_reason = reason
        self.context.closed_s = now
        self.owner.ended(self, now)
        self.registry.ended(self.context)

    def _drop(self, why: Drop, datagrams: int = 1) -> None:
        self.registry.counters.dropped[why] += datagrams
        self.context.dropped += datagrams


def left_because(backend: Backend, now: float) -> CloseReason:
    """Why a session that cannot go anywhere else ends when it leaves `backend`."""
    return LEFT_BECAUSE.get(backend.obstacle(now), CloseReason.BACKEND_DOWN)


def _complain(backend: Backend, error: OSError, now: float) -> None:
    complaints.say(
        backend.id, now, "backend %s at %s: %s", backend.id, backend.address, error.strerror
    )
