"""One client of a rule with `per_datagram`: each of its datagrams is balanced by itself.

There is one session, hence one socket and one lease, per backend that it was sent to, so that
answers find their way back; each ends by itself, and `max_sessions` counts each. At the rule's door
the client is one; `requests` does not apply. A backend that refused gets nothing of this client for
`HOLD_S`, or the next datagram could be sent there again and again.
"""

from collections.abc import Callable, Sequence
from time import monotonic

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.traffic.close_reason import CloseReason, ConnectionEnd
from nginy.traffic.service import Service
from nginy.udp.counters import Drop
from nginy.udp.link import Link
from nginy.udp.registry import HOLD_S, Registry
from nginy.udp.session import Session, left_because
from nginy.udp.socket import Reply


class Fan:
    """A `Flow`, and the `Owner` of its sessions, which it knows by their backends."""

    def __init__(
        self,
        registry: Registry,
        service: Service,
        listener: Address,
        client: Address,
        reply: Reply,
        ended: Callable[[float], None],
    ) -> None:
        """`ended(now)` is called when there is no session any more, or none came about."""
        self.registry = registry
        self.service = service
        self.listener = listener
        self.client = client
        self._reply = reply
        self._ended = ended
        self._sessions: dict[Backend, FanSession] = {}
        self._refused_until: dict[Backend, float] = {}
        self._beginning = False
        """A session is about to be added; the one that makes room for it may be the last."""

    def datagram(self, datagram: memoryview, now: float) -> None:
        """See `Flow`."""
        service = self.service
        backend = service.balancer.pick(self.client, now, self._avoided(now))
        if backend is None:
            self._refuse(CloseReason.NO_BACKEND, now)
            return
        if service.balancer.wants_probes:
            self.registry.after_pick(service, now)
        session = self._sessions.get(backend) or self._begin(backend, now)
        if session is not None:
            session.datagram(datagram, now)

    def let_go(self, session: Session) -> None:
        """See `Owner`: `requests` does not apply."""

    def ended(self, session: Session, now: float) -> None:
        """See `Owner`."""
        self._sessions.pop(session.key, None)
        self._end_if_empty(now)

    def resend(self, refused_by: Backend, datagrams: list[bytes], now: float) -> bool:
        """Send what a backend refused to others; False: enough were tried."""
        self._refused_until[refused_by] = now + HOLD_S
        if len(self._avoided(now)) >= self.service.max_tries:
            return False
        for datagram in datagrams:
            self.datagram(memoryview(datagram), now)
        return True

    def _avoided(self, now: float) -> list[Backend]:
        if self._refused_until:
            lately = {who: until for who, until in self._refused_until.items() if until > now}
            self._refused_until = lately
        return list(self._refused_until)

    def _begin(self, backend: Backend, now: float) -> "FanSession | None":
        self._beginning = True
        room = self.registry.make_room(self.service, now)
        self._beginning = False
        if not room:
            self._refuse(CloseReason.SHED, now)
            return None
        session = FanSession(self, backend, self._reply, now)
        self._sessions[backend] = session
        return session

    def _refuse(self, reason: CloseReason, now: float) -> None:
        context = self.registry.context(self.service, self.listener, self.client, now)
        self.registry.refuse(context, reason)
        self._end_if_empty(now)

    def _end_if_empty(self, now: float) -> None:
        if not self._sessions and not self._beginning:
            self._ended(now)


class FanSession(Session):
    """Of one client with one backend: it never moves, the fan chooses anew anyway."""

    __slots__ = ("_fan",)

    def __init__(self, fan: Fan, backend: Backend, reply: Reply, now: float) -> None:
        """Begin with `backend`."""
        context = fan.registry.context(fan.service, fan.listener, fan.client, now)
        super().__init__(fan.registry, fan.service, fan, backend, reply, context)
        self._fan = fan

    def rebind(self) -> None:
        """The datagrams to come go to others."""
        self.end(left_because(self.key, monotonic()))

    def _bind(self, now: float) -> Link:
        link = self._open_link(self.key, now)
        if link is None:
            raise ConnectionEnd(CloseReason.CONNECT_FAILED)
        return link

    def _unreachable(
        self, waiting: Sequence[memoryview | bytes], reason: CloseReason, now: float
    ) -> None:
        if reason is CloseReason.CONNECT_FAILED:
            self._move_on([bytes(datagram) for datagram in waiting], now)
        else:
            super()._unreachable(waiting, reason, now)

    def _move_on(self, datagrams: list[bytes], now: float) -> None:
        if not self._fan.resend(self.key, datagrams, now):
            self._drop(Drop.NO_BACKEND, len(datagrams))
        self._end(CloseReason.CONNECT_FAILED, now)
