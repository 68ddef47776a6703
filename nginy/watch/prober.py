"""Sends the probes that algorithms want, over UDP, and tells them the answers."""

import asyncio
import logging
import random
import socket
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.load import (
    LARGEST_ANSWER_BYTES,
    LARGEST_PROBE,
    InvalidReport,
    ProbeAnswer,
    canonical_host,
    parse_probe_answer,
    probe_request,
)
from nginy.balancer.base import Balancer
from nginy.complaints import Complaints

log = logging.getLogger(__name__)

ANSWERS_AT_ONCE = 64
"""Read per event, so that a flood of answers does not keep connections waiting."""


class _Sent(NamedTuple):
    balancer: Balancer[Any]
    backend: Backend
    source: Address
    """Where the answer is to come from."""
    at: float


class Prober:
    """One socket per address family for all probes of one process.

    An answer counts if it comes from the address that was asked, with the number that was sent
    there, in time. Backends at Unix sockets and names without an address are not probed.
    """

    def __init__(
        self,
        services: Sequence[tuple[Balancer[Any], int | None]],
        rng: random.Random,
        timeout_s: float = 1.0,
    ) -> None:
        """For algorithms, each with the port that is probed (None: the backend's own).

        Nothing is sent before `start`. Answers later than `timeout_s` are dropped.
        """
        self._ports = {balancer: port for balancer, port in services if balancer.wants_probes}
        self._rng = rng
        self._timeout_s = timeout_s
        self._complaints = Complaints(log)
        self._sockets: dict[socket.AddressFamily, socket.socket] = {}
        self._sent: dict[int, _Sent] = {}
        """By number, the oldest first."""

    @property
    def outstanding(self) -> int:
        """Probes sent that may still be answered in time."""
        return len(self._sent)

    def start(self) -> None:
        """Open the sockets, inside the running event loop. Raises OSError if there are none left.

        A host without IPv6 probes by IPv4 alone.
        """
        if not self._ports:
            return
        loop = asyncio.get_running_loop()
        families = [socket.AF_INET, *([socket.AF_INET6] if socket.has_ipv6 else [])]
        for family in families:
            try:
                sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            except OSError:
                if family is socket.AF_INET6:
                    continue
                raise
            self._sockets[family] = sock
            loop.add_reader(sock, self._read, sock)

    def close(self) -> None:
        """Send and hear nothing any more."""
        for sock in self._sockets.values():
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()
        self._sockets.clear()
        self._sent.clear()

    def tick(self, now: float) -> None:
        """Send what is due by time; forget what was not answered. `now`: monotonic seconds."""
        self._forget_late(now)
        for balancer in self._ports:
            self.after_pick(balancer, now)

    def after_pick(self, balancer: Balancer[Any], now: float) -> None:
        """Send what `balancer` wants to know now."""
        if balancer in self._ports and self._sockets:
            for backend in balancer.probes_due(now):
                self._probe(balancer, backend, now)

    def _probe(self, balancer: Balancer[Any], backend: Backend, now: float) -> None:
        sock = self._sockets.get(backend.address.family)
        if sock is None:
            return
        target = Address(backend.address.host, self._ports[balancer] or backend.address.port)
        number = self._rng.randrange(LARGEST_PROBE + 1)
        try:
            sock.sendto(probe_request(number), target)
        except BlockingIOError:
            return  # a probe lost is one answer less
        except OSError as error:
            self._complaints.say(f"send {backend.id}", now, "probe to %s: %s", target, error)
            return
        source = Address(canonical_host(target.host), target.port)
        self._sent[number] = _Sent(balancer, backend, source, now)

    def _forget_late(self, now: float) -> None:
        while self._sent:
            number, sent = next(iter(self._sent.items()))
            if now - sent.at <= self._timeout_s:
                return
            del self._sent[number]

    def _read(self, sock: socket.socket) -> None:
        for _ in range(ANSWERS_AT_ONCE):
            try:
                datagram, sender = sock.recvfrom(LARGEST_ANSWER_BYTES + 1)
            except BlockingIOError:
                return
            except OSError as error:
                self._complaints.say("read", time.monotonic(), "probe answers: %s", error)
                return
            source = Address(canonical_host(sender[0]), sender[1])
            self._answered(datagram, source, time.monotonic())

    def _answered(self, datagram: bytes, source: Address, now: float) -> None:
        try:
            answer = parse_probe_answer(datagram)
        except InvalidReport as error:
            self._complaints.say("invalid", now, "probe answer of %s: %s", source, error)
            return
        sent = self._sent.get(answer.probe)
        if sent is None or sent.source != source:
            return
        del self._sent[answer.probe]
        if now - sent.at <= self._timeout_s:
            self._deliver(sent, answer, now)

    @staticmethod
    def _deliver(sent: _Sent, answer: ProbeAnswer, now: float) -> None:
        sent.balancer.probed(sent.backend, answer.in_flight, answer.latency_s, now)
