"""What is done to a balancer, and the one figure that says how it took it.

A scene takes a rig and a balancer, and gives a `Figure`. It ends by itself within half a minute.
"""

import asyncio
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

import psutil

from experiments.hosts.backend.agent import Agent
from experiments.lab.processes import HostProcess, ProcessFailed
from experiments.lab.systems.contract import SystemKind
from experiments.stress.ends import HOST
from experiments.stress.rig import (
    BACKEND_PORT,
    LOAD_PORT,
    REPORT_PORT,
    UDP_PORT,
    Rig,
    pinged,
    result,
)

FREE_DESCRIPTORS = 16
ALL_PEERS = ("nginx", "haproxy", "nginy")


class Figure(NamedTuple):
    """What was measured; `quiet`: the same just before."""

    value: float
    quiet: float | None = None
    lag_ms: float | None = None
    """p99 of how late nginy's event loop was, by itself."""


class Goal(NamedTuple):
    """What the figure of nginy is held against; one of the first two."""

    beside: str | None = None
    """No worse than this balancer in the same run, by more than `slack`."""
    held: float | None = None
    """At most this much above `quiet`, or above 0."""
    slack: float = 0.0
    more_is_better: bool = False


class Scene(NamedTuple):
    """A row group of the table."""

    title: str
    measure: Callable[[Rig, SystemKind], Figure]
    goal: Goal
    systems: tuple[str, ...] = ("nginy",)


def downloads(count: int, rig: Rig, peer: SystemKind) -> Figure:
    """So many take what they can get."""
    rig.balancer(peer)
    rig.client("hold", LOAD_PORT, count, "d")
    return Figure(pinged(rig.ping(4)).p99)


def arrivals(rig: Rig, peer: SystemKind) -> Figure:
    """As many as HAProxy is configured for come at once."""
    rig.balancer(peer)
    quiet = pinged(rig.ping(1))
    ping = rig.ping(3)
    rig.client("hold", LOAD_PORT, 3900, "e")
    return Figure(pinged(ping).longest, quiet.longest)


def closed_at_once(rig: Rig, _: SystemKind) -> Figure:
    """Their backend is down, and `on_down: close`."""
    with _agent() as (agent, port):
        backend = {"id": "b1", "address": f"{HOST}:{BACKEND_PORT}", "agent_check": _asked(port)}
        rig.nginy([backend], rule={"live_connections": {"on_down": "close"}})
        rig.client("hold", LOAD_PORT, 2000, "e")
        return _during(rig, lambda: agent.say("down"), 2)


def new_weight(rig: Rig, _: SystemKind) -> Figure:
    """An agent halves the weight of one of 10 000 ketama backends, while clients come."""
    with _agent() as (agent, port):
        backends = _backends(10_000)
        backends[0] |= {"weight": 2, "agent_check": _asked(port)}
        rig.nginy(backends, rule={"strategy": {"type": "ketama"}})
        rig.client("knock", LOAD_PORT, 100, 8)
        return _during(rig, lambda: agent.say("50%"), 5)


def checks(rig: Rig, _: SystemKind) -> Figure:
    """Each of 5 000 backends is connected to every 2 s."""
    rig.nginy(_backends(5000), health_check={"type": "tcp", "interval_s": 2.0})
    return Figure(pinged(rig.ping(5)).p99)


def full(rig: Rig, _: SystemKind) -> Figure:
    """Clients wait for a place on one of 8 000 backends that have none."""
    backends = [{**backend, "max_connections": 1} for backend in _backends(8000)]
    rig.nginy(backends, rule={"queue": {"max_waiting": 100, "timeout_ms": 60_000}})
    rig.client("hold", LOAD_PORT, 8000, "e")
    quiet = pinged(rig.ping(2))
    rig.client("knock", LOAD_PORT, 5, 4)
    return Figure(pinged(rig.ping(4)).p99, quiet.p99)


def flood(rig: Rig, peer: SystemKind) -> Figure:
    """UDP from new sources; the figure is of clients that had a session before."""
    rig.balancer(peer)
    steady = rig.client("steady", UDP_PORT, 20, 500, 8)
    rig.client("flood", UDP_PORT, 20_000, 8)
    return _answered_pct(steady)


def reporter(rig: Rig, _: SystemKind) -> Figure:
    """A backend's host sends lines that are no load reports, as fast as they are taken."""
    backend = {"id": "b1", "address": f"{HOST}:{BACKEND_PORT}"}
    rig.nginy([backend], healthcheck_addr=f"{HOST}:{REPORT_PORT}")
    return _during(rig, lambda: rig.client("report", REPORT_PORT, 3), 4)


def descriptors(rig: Rig, peer: SystemKind) -> Figure:
    """16 are free, and clients come at 400 a second."""
    _leave_descriptors(rig.balancer(peer))
    return _answered_pct(rig.client("knock", LOAD_PORT, 400, 3))


def restart(wait: bool, rig: Rig, peer: SystemKind) -> Figure:
    """SIGTERM, and the next process: at once, or (`wait`) when the first has ended."""
    first = rig.balancer(peer)
    clients = rig.client("knock", LOAD_PORT, 200, 4)
    time.sleep(1)
    if wait:
        with suppress(ProcessFailed):  # HAProxy ends by the signal
            first.stop()
    else:
        os.kill(first.pid, signal.SIGTERM)
    rig.balancer(peer)
    counted = result(clients)
    return Figure(counted["sent"] - counted["answered"])


def _during(rig: Rig, event: Callable[[], object], seconds: float) -> Figure:
    """The longest ping of so many seconds with `event` at their beginning, and of those before."""
    quiet = pinged(rig.ping(seconds))
    ping = rig.ping(seconds)
    event()
    return Figure(pinged(ping).longest, quiet.longest)


def _answered_pct(clients: HostProcess) -> Figure:
    counted = result(clients)
    return Figure(100 * counted["answered"] / counted["sent"])


def _leave_descriptors(process: HostProcess) -> None:
    """To it and its workers, beyond those that are open."""
    first = psutil.Process(process.pid)
    for each in (first, *first.children(recursive=True)):
        most = each.num_fds() + FREE_DESCRIPTORS
        resource.prlimit(each.pid, resource.RLIMIT_NOFILE, (most, most))


def _backends(count: int) -> list[dict[str, Any]]:
    """The backend by so many of its addresses."""
    hosts = (f"127.1.{number // 250}.{number % 250 + 1}" for number in range(count))
    return [
        {"id": f"b{number}", "address": f"{host}:{BACKEND_PORT}"}
        for number, host in enumerate(hosts, 1)
    ]


def _asked(port: int) -> dict[str, Any]:
    return {"port": port, "interval_s": 0.2}


@contextmanager
def _agent() -> Iterator[tuple[Agent, int]]:
    """Answers at a port of all local addresses until the block ends."""
    agent, loop = Agent(), asyncio.new_event_loop()
    with socket.create_server(("0.0.0.0", 0)) as listener:
        listener.setblocking(False)
        agent.answer_on(loop, listener)
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            yield agent, listener.getsockname()[1]
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


LOOP_HELD = Goal(held=5.0)
SCENES = {
    "downloads-16": Scene(
        "ping p99 beside 16 downloads, ms",
        partial(downloads, 16), Goal(beside="haproxy"), ALL_PEERS,
    ),
    "downloads-128": Scene(
        "ping p99 beside 128 downloads, ms",
        partial(downloads, 128), Goal(beside="haproxy"), ALL_PEERS,
    ),
    "arrivals": Scene(
        "longest ping while 3 900 connections arrive at once, ms",
        arrivals, Goal(beside="haproxy"), ALL_PEERS,
    ),
    "closes": Scene(
        "longest ping while 2 000 connections are closed at once, ms", closed_at_once, LOOP_HELD
    ),
    "weight": Scene(
        "longest ping after a new weight among 10 000 ketama backends, ms", new_weight, LOOP_HELD
    ),
    "checks": Scene("ping p99 while 5 000 backends are checked, ms", checks, LOOP_HELD),
    "full": Scene("ping p99 while clients wait for 8 000 full backends, ms", full, LOOP_HELD),
    "flood": Scene(
        "answers within 1 s to known clients in a flood of 20 000 new UDP sources/s, %",
        flood, Goal(beside="nginx", slack=5.0, more_is_better=True), ("nginx", "nginy"),
    ),
    "reporter": Scene("longest ping beside a hostile load reporter, ms", reporter, LOOP_HELD),
    # Not nginx: its worker is another user, and may not always be limited from outside.
    "descriptors": Scene(
        "answered of 400 connections/s with 16 free descriptors, %",
        descriptors,
        Goal(beside="haproxy", slack=1.0, more_is_better=True),
        ("haproxy", "nginy"),
    ),
    "restart": Scene(
        "connections lost in a stop-and-start, of 200/s",
        partial(restart, False), Goal(beside="nginx"), ALL_PEERS,
    ),
    "restart-after": Scene(
        "the same, started when the old process has ended",
        partial(restart, True), Goal(beside="nginx"), ALL_PEERS,
    ),
}  # fmt: skip
