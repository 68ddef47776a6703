"""Clients of the stress scenes, and their backend: `python -m experiments.stress.ends ACTION ...`.

Each is one process, so that none holds up another by its interpreter; all are on loopback.
"""

import json
import os
import random
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count

from experiments.stress.backend import ECHO, READY, say, serve

HOST = "127.0.0.1"
PING_INTERVAL_S = 0.002
SPACE = bytearray(1 << 20)
"""For what is not looked at."""
EXCHANGE_TIMEOUT_S = 3.0


def ping(port: int, seconds: float) -> None:
    """A byte there and back on one connection every 2 ms; prints p99 and the longest, ms.

    One that took long stands for those that would have been sent meanwhile, each as much shorter.
    """
    took_s: list[float] = []
    # Or it would be the other clients, on the same core, that it waits for.
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    with socket.create_connection((HOST, port), 10.0) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(30.0)
        _round_trip(sock)
        say(READY)
        end_s = time.monotonic() + seconds
        while (began_s := time.monotonic()) < end_s:
            _round_trip(sock)
            last_s = time.monotonic() - began_s
            took_s.append(last_s)
            while (last_s := last_s - PING_INTERVAL_S) > PING_INTERVAL_S:
                took_s.append(last_s)
            time.sleep(max(0.0, began_s + PING_INTERVAL_S - time.monotonic()))
    took_s.sort()
    say(json.dumps({"p99": took_s[len(took_s) * 99 // 100] * 1e3, "longest": took_s[-1] * 1e3}))


def _round_trip(sock: socket.socket) -> None:
    sock.send(ECHO)
    if not sock.recv(1):
        raise ConnectionError("the bystander's connection was closed")


def hold(port: int, connections: int, first: str) -> None:
    """So many connections at once, each with a first byte; then take whatever comes."""
    chosen = selectors.EpollSelector()
    for _ in range(connections):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex((HOST, port))
        chosen.register(sock, selectors.EVENT_WRITE)
    answered = 0
    while True:
        for key, _ in chosen.select():
            sock = key.fileobj  # type: ignore[assignment]
            if key.events == selectors.EVENT_WRITE:
                with suppress(OSError):
                    sock.send(first.encode())
                chosen.modify(sock, selectors.EVENT_READ, [])
                continue
            answered += _first_answer(key, chosen)
            if answered == connections:
                answered += 1  # say it once
                say(READY)


def _first_answer(key: selectors.SelectorKey, chosen: selectors.BaseSelector) -> int:
    """1 if it is; a later one is thrown away."""
    sock: socket.socket = key.fileobj  # type: ignore[assignment]
    try:
        size = sock.recv_into(SPACE)
    except OSError:
        size = 0
    if not size:
        chosen.unregister(sock)
        sock.close()
        return 0
    first = not key.data
    key.data.append(1) if first else None
    return int(first)


def knock(port: int, per_second: float, seconds: float) -> None:
    """Short exchanges at this rate, whatever becomes of those before; prints how many of all were
    answered in time."""
    chosen = selectors.EpollSelector()
    began_s, sent, answered = time.monotonic(), 0, 0
    say(READY)
    while (elapsed_s := time.monotonic() - began_s) < seconds + EXCHANGE_TIMEOUT_S:
        while sent < min(elapsed_s, seconds) * per_second:
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex((HOST, port))
            chosen.register(sock, selectors.EVENT_WRITE)
            sent += 1
        for key, _ in chosen.select(0.002):
            answered += _exchange(key, chosen)
        if elapsed_s > seconds and len(chosen.get_map()) == 0:
            break
    say(json.dumps({"answered": answered, "sent": sent}))


def _exchange(key: selectors.SelectorKey, chosen: selectors.BaseSelector) -> int:
    """The next step of one; 1 if its answer came."""
    sock: socket.socket = key.fileobj  # type: ignore[assignment]
    answer = b""
    with suppress(OSError):
        if key.events == selectors.EVENT_WRITE:
            sock.send(ECHO)
            chosen.modify(sock, selectors.EVENT_READ)
            return 0
        answer = sock.recv(1)
    chosen.unregister(sock)
    sock.close()
    return len(answer)


def flood(port: int, per_second: float, seconds: float) -> None:
    """Datagrams that each come from another source, by raw packets (needs root)."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        rng, began_s = random.Random(1), time.monotonic()
        say(READY)
        for number in count(1):
            source = 0x7F000000 | rng.randrange(1 << 16, 1 << 24)
            udp = struct.pack("!4H", rng.randrange(1024, 65536), port, 16, 0) + bytes(8)
            head = (0x45, 0, 0, 0, 0, 64, socket.IPPROTO_UDP, 0, source, 0x7F000001)
            with suppress(OSError):
                sock.sendto(struct.pack("!BBHHHBBHII", *head) + udp, (HOST, 0))
            late_s = time.monotonic() - began_s - number / per_second
            if late_s < -0.001:
                time.sleep(-late_s)
            if number >= per_second * seconds:
                say(json.dumps({"per_second": number / (time.monotonic() - began_s)}))
                return


def steady(port: int, clients: int, per_second: float, seconds: float) -> None:
    """UDP clients with a session each; prints how much of what they ask is answered in a second."""
    socks = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(clients)]
    for sock in socks:
        sock.connect((HOST, port))
        sock.settimeout(5.0)
        sock.send(ECHO)
        sock.recv(2048)
        sock.setblocking(False)
    say(READY)
    began_s, sent, answered = time.monotonic(), 0, 0
    while (now_s := time.monotonic()) < began_s + seconds + 1:
        while sent < min(now_s - began_s, seconds) * per_second:
            with suppress(OSError):
                socks[sent % clients].send(struct.pack("d", time.monotonic()))
            sent += 1
        for sock in socks:
            with suppress(OSError):
                while True:
                    (asked_s,) = struct.unpack("d", sock.recv(8))
                    answered += time.monotonic() - asked_s < 1.0
        time.sleep(0.001)
    say(json.dumps({"answered": answered, "sent": sent}))


def report(port: int, seconds: float) -> None:
    """Load reports that are none, as fast as they are taken."""
    with socket.create_connection((HOST, port), 10.0) as sock:
        sock.settimeout(0.1)
        say(READY)
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            with suppress(TimeoutError):
                sock.send(b"y\n" * 10_000)


ACTIONS: dict[str, Callable[..., None]] = {
    action.__name__: action for action in (serve, ping, hold, knock, flood, steady, report)
}


def main(action: str, *arguments: str) -> None:
    """Do it; numbers are given as they are written."""
    ACTIONS[action](*(json.loads(each) if each[0].isdigit() else each for each in arguments))


if __name__ == "__main__":
    main(*sys.argv[1:])
