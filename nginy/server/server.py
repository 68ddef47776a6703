"""The balancer process: opened, serving, draining, closed."""

import asyncio
import contextlib
import logging
import math
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nginy.address import Address
from nginy.backend.pool import BackendPool, make_backend
from nginy.config.model import Config, Protocol
from nginy.config.route import RouteTable, rules_by_port
from nginy.engine.access_log import open_access_log
from nginy.engine.loop_lag import LoopLag
from nginy.engine.pipes import pipes
from nginy.engine.poller import Poller
from nginy.engine.timers import TimerWheel
from nginy.server.handover import Place, hand_over
from nginy.server.listener import Listener
from nginy.server.sockets import ListeningSockets
from nginy.server.status_socket import StatusSocket
from nginy.tcp.connection import TcpProxy
from nginy.traffic.admission import Census
from nginy.traffic.background import Background
from nginy.traffic.ledger import Ledger
from nginy.traffic.loops import Loops
from nginy.traffic.rule import RunningRule, Surroundings, stream
from nginy.traffic.status import status
from nginy.udp.port import UdpProxy
from nginy.udp.sessions import Sessions
from nginy.watch.monitors import Monitors

log = logging.getLogger(__name__)

TICK_S = 0.05
"""How late a timeout may be, and how long a close record may wait for its batch."""
STANDSTILL_S = 1.0
"""A tick this late does not come from load."""
LONGEST_GRACE_S = 30.0
"""UDP sessions are given as long to be heard of again as the process stood still, up to this."""


class Server:
    """One worker: listeners, the proxy, and the clock that drives their timeouts.

    To be made and used inside a running event loop.
    """

    def __init__(
        self,
        config: Config,
        seed: int,
        status_path: Path | None = None,
        given: Mapping[Place, socket.socket] | None = None,
    ) -> None:
        """Serve `config`; `seed` is of all that draws lots. Nothing listens yet.

        Its status is served at `status_path`; None: nowhere. `given`: listening sockets that are to
        be used instead of binding, owned from now on.

        Raises AccessLogError if the access log cannot be opened.
        """
        self._config = config
        self._loop = asyncio.get_running_loop()
        self.pool = BackendPool(map(make_backend, config.backends))
        now = time.monotonic()
        self._access_log = open_access_log(config.access_log) if config.access_log else None
        self.ledger = Ledger(self._access_log.add if self._access_log else None)
        self.poller = Poller(self._loop.call_soon)
        self.wheel = TimerWheel(TICK_S, now)
        census = Census(config.limits.max_connections)
        run_soon = self.poller.run_soon
        loops = {
            protocol: Loops(port for which, port in config.ports if which == protocol)
            for protocol in self.ledger.closed
        }
        around = Surroundings(
            pool=self.pool,
            census=census,
            ledger=self.ledger,
            timers=self.wheel,
            run_soon=run_soon,
            background=Background(run_soon),
            seed=seed,
            loops=loops,
        )
        self.rules = tuple(RunningRule(rule, around, now) for rule in config.rules)
        self.monitors = Monitors(config, self.pool, self.rules, stream(seed, "monitors"))
        self.tcp = TcpProxy(self.poller, self.wheel, self.ledger, self._rule_finder("tcp"))
        sessions = Sessions(self.poller, self.wheel, self.ledger)
        self.udp = UdpProxy(sessions, self._rule_finder("udp"))
        self.loop_lag = LoopLag()
        self.status_socket = StatusSocket(status_path, self.rules, self.ledger, self.loop_lag)
        self._given = given or {}
        self._listeners: list[Listener] = []
        self._stopping = asyncio.Event()
        self._hand_over = False
        self._draining = False
        self._hurried = asyncio.Event()
        self._drained = asyncio.Event()
        self._ticking: asyncio.TimerHandle | None = None
        self._ticked_s = math.inf
        """How late its tick is: by what held the event loop."""
        self._sweep_from_s = -math.inf

    async def run(self) -> None:
        """Serve until `stop`, then drain and close. Raises ListenError if it cannot start."""
        try:
            await self.monitors.start(self._stopping)
            if self._stopping.is_set():
                return
            taken_over = self._open()
            await self.status_socket.open(wait=taken_over)
            log.info("nginy ready: %s", ", ".join(map(str, self.listening)))
            await self._stopping.wait()
            handed_over = self._hand_over and await self._handed_over()
            self._close_listeners()
            self.udp.drain(handed_over=handed_over)
            await self._drain()
        finally:
            await self.monitors.close()
            await self.status_socket.close()
            self._close()

    @property
    def listening(self) -> tuple[Address, ...]:
        """The addresses where new clients are served now, TCP first."""
        return (*(listener.address for listener in self._listeners), *self.udp.listening)

    @property
    def open_connections(self) -> int:
        """Connections and UDP sessions that are served now."""
        return self.tcp.open_connections + self.udp.open_sessions

    def stop(self, *, hand_over: bool = False) -> None:
        """Accept no more and drain; called again: close what is still open at once.

        `hand_over`: before that, accept on for up to `handover_ms`, until a successor does.
        """
        if self._stopping.is_set():
            log.info("second signal: closing %d connections", self.open_connections)
            self._hurried.set()
            self._abort_all()
        else:
            self._hand_over = hand_over and self._config.timeouts.handover_ms > 0
        self._stopping.set()

    def reopen_access_log(self) -> None:
        """Go on in a new file, after the old one was renamed; the log says so."""
        if self._access_log is None:
            log.info("no access log is configured: nothing to open again")
        else:
            self._access_log.reopen()

    def _rule_finder(self, protocol: Protocol) -> Callable[[str, int], RunningRule | None]:
        """Takes a client's host and the port it arrived at."""
        return RouteTable(rule for rule in self.rules if rule.protocol == protocol).lookup

    def _open(self) -> bool:
        """Whether sockets were taken over from a predecessor."""
        self._loop.add_reader(self.poller.fileno(), self.poller.dispatch)
        self._tick()
        rules_on = rules_by_port(self.rules)
        given, self._given = self._given, {}
        with contextlib.closing(ListeningSockets(self._config.dual_stack, given)) as sockets:
            for host in self._config.bind_addresses:
                for protocol, port in self._config.ports:
                    rules = rules_on[protocol, port]
                    self._listen(sockets, protocol, Address(host, port), rules)
            sockets.serving()
        self.udp.sessions.say_whether_enough(self.rules)
        return sockets.taken_over

    def _listen(
        self,
        sockets: ListeningSockets,
        protocol: Protocol,
        address: Address,
        rules: Sequence[RunningRule],
    ) -> None:
        names = [rule.name for rule in rules]
        if protocol == "udp":
            buffer_bytes = max(rule.udp.receive_buffer_bytes for rule in rules)
            self.udp.listen(sockets.udp(address, names, buffer_bytes), address)
        else:
            sock = sockets.tcp(address, names)
            listener = Listener(sock, address, self.poller, self.wheel, self.tcp.accept)
            self._listeners.append(listener)

    async def _handed_over(self) -> bool:
        """Serve on until a successor does, a while, or until the second signal: whether it does."""
        seconds = self._config.timeouts.handover_ms / 1e3
        log.info("stopping: a successor may take over within %g s", seconds)
        self.udp.keep_clients()
        sockets: dict[Place, socket.socket] = {
            ("tcp", listener.address): listener.sock for listener in self._listeners
        }
        sockets |= {("udp", address): sock for address, sock in self.udp.sockets.items()}
        offer = asyncio.create_task(hand_over(sockets, seconds))
        hurry = asyncio.create_task(self._hurried.wait())
        await asyncio.wait({offer, hurry}, return_when=asyncio.FIRST_COMPLETED)
        if taken := offer.done() and offer.result():
            log.info("a successor has taken over")
            await self.status_socket.close()
        for task in (offer, hurry):
            task.cancel()
        await asyncio.gather(offer, hurry, return_exceptions=True)
        return taken

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    async def _drain(self) -> None:
        self._draining = True
        timeout_s = self._config.timeouts.drain_timeout_ms / 1e3
        log.info("draining %d connections", self.open_connections)
        try:
            await asyncio.wait_for(self._drained.wait(), timeout_s)
        except TimeoutError:
            log.warning(
                "%d connections left after %g s are closed", self.open_connections, timeout_s
            )

    def _abort_all(self) -> None:
        self.tcp.abort_all()
        self.udp.abort_all()

    def _tick(self) -> None:
        # First: a fault below must not stop the clock.
        self._ticking = self._loop.call_later(TICK_S, self._tick)
        now = time.monotonic()
        if self._stood_still(now):
            return  # first what has come meanwhile, then who was silent
        self.wheel.advance(now)
        if now >= self._sweep_from_s:
            self.udp.sweep(now)
        self.monitors.tick(now)
        if self._access_log is not None:
            self._access_log.flush()
        if self._draining and not self.open_connections:
            self._drained.set()

    def _stood_still(self, now: float) -> bool:
        """Whether the process was stopped (SIGSTOP, a suspended machine) or held since the last
        tick: in that time nobody was silent. Its timers are put off by as much."""
        late_s, self._ticked_s = now - self._ticked_s - TICK_S, now
        if math.isfinite(late_s):
            self.loop_lag.add(late_s, now)
        if late_s < STANDSTILL_S:
            return False
        log.warning("nginy stood still for %.1f s: that does not count as silence", late_s)
        self.wheel.postpone(late_s, now)
        self._sweep_from_s = now + min(late_s, LONGEST_GRACE_S)
        return True

    def _close(self) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
        self._close_listeners()
        self.tcp.abort_all()
        self.udp.close()
        self._loop.remove_reader(self.poller.fileno())
        self.poller.shut()
        pipes.clear()
        if self._access_log is not None:
            self._access_log.close()
        if self._stopping.is_set():  # else it could not start
            self._sum_up()

    def _sum_up(self) -> None:
        found = status(self.rules, self.ledger, time.monotonic())
        log.info("closed connections: %s", _summary(found.closed["tcp"]))
        if any(protocol == "udp" for protocol, _ in self._config.ports):
            log.info("ended UDP sessions: %s", _summary(found.closed["udp"]))
            log.info("dropped datagrams: %s", _summary(found.dropped))


def _summary(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in counts.items()) or "none"
