"""Backends that are checked, resolved, or at another kind of address, behind a whole server."""

import asyncio
import contextlib
import json
import os
import random
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import uvloop

from nginy.backend.wishes import Admin
from nginy.config.load import parse
from nginy.server.server import Server
from nginy.watch.monitors import ReportAddressError
from tests.scenario.watch.dns_server import Zone

FAST = {"interval_s": 0.02, "timeout_s": 5.0}


class Echo:
    """Answers every connection to each of its sockets with the socket's name, and hangs up."""

    def __init__(self, own: ExitStack) -> None:
        self._own = own
        self._selector = own.enter_context(selectors.DefaultSelector())
        self._wake, sleeper = socket.socketpair()
        for end in (self._wake, sleeper):
            own.enter_context(end)
        self._selector.register(sleeper, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        own.callback(self._stop)

    def listen(self, name: str, listener: socket.socket) -> socket.socket:
        listener = self._own.enter_context(listener)
        self._selector.register(listener, selectors.EVENT_READ, name.encode())
        return listener

    def start(self) -> "Echo":
        self._thread.start()
        return self

    def _stop(self) -> None:
        self._wake.send(b"x")
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                with contextlib.suppress(OSError), key.fileobj.accept()[0] as sock:  # type: ignore[union-attr]
                    sock.sendall(key.data)


@pytest.fixture
def echo(own: ExitStack) -> Echo:
    return Echo(own)


def tcp(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


def unix(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    return sock


def at(listener: socket.socket) -> str:
    return f"127.0.0.1:{listener.getsockname()[1]}"


class Doctor:
    """A port beside a backend that is listened to while the backend is well."""

    def __init__(self, own: ExitStack) -> None:
        self._own = own
        self.listener = own.enter_context(tcp())
        self.port = self.listener.getsockname()[1]

    def ill(self) -> None:
        self.listener.close()

    def well(self) -> None:
        self.listener = self._own.enter_context(tcp(port=self.port))


@pytest.fixture
def asks(read_to_end) -> Callable[..., str]:
    """Who answers a connection."""

    def ask(balancer) -> str:
        with balancer.connect() as client:
            return read_to_end(client).decode()

    return ask


def test_a_backend_that_fails_its_checks_gets_nothing_until_it_passes(
    proxy, echo, own, asks, wait_until
) -> None:
    doctor = Doctor(own)
    first, second = (echo.listen(name, tcp()) for name in ("first", "second"))
    echo.start()
    check = {**FAST, "port": doctor.port, "rise": 2, "fall": 2}
    balancer = proxy([{"address": at(first), "health_check": check}, {"address": at(second)}])
    backend = balancer.server.pool["b1"]
    assert {asks(balancer) for _ in range(4)} == {"first", "second"}
    doctor.ill()
    wait_until(lambda: not backend.healthy, "down")
    assert {asks(balancer) for _ in range(6)} == {"second"}
    doctor.well()
    wait_until(lambda: backend.healthy, "up")
    assert {asks(balancer) for _ in range(4)} == {"first", "second"}


def test_while_all_are_down_the_client_is_refused_and_the_log_says_why(
    proxy, echo, own, asks, wait_until
) -> None:
    doctor = Doctor(own)
    doctor.ill()
    only = echo.listen("only", tcp())
    echo.start()
    balancer = proxy([{"address": at(only)}], health_check={**FAST, "port": doctor.port})
    wait_until(lambda: not balancer.server.pool["b1"].healthy, "down")
    assert asks(balancer) == ""
    assert balancer.record()["close_reason"] == "no_backend"


def test_one_that_counts_as_down_at_first_is_served_after_its_first_passed_check(
    proxy, echo, asks, wait_until
) -> None:
    only = echo.listen("only", tcp())
    echo.start()
    check = {**FAST, "initial": "down", "rise": 5, "expect": "only"}
    balancer = proxy([{"address": at(only), "health_check": check}])
    wait_until(lambda: balancer.server.pool["b1"].healthy, "up")
    assert asks(balancer) == "only"


def test_a_recovered_backend_is_not_flooded_by_least_conn(
    proxy, echo, own, asks, wait_until
) -> None:
    """All connections stay open; the one that comes back, empty, gets its slow start's share."""
    doctor = Doctor(own)
    first, second = (echo.listen(name, tcp()) for name in ("first", "second"))
    echo.start()
    balancer = proxy(
        [
            {"address": at(first), "health_check": {**FAST, "port": doctor.port, "fall": 1}},
            {"address": at(second)},
        ],
        slow_start={"duration_s": 3600.0, "floor_pct": 10},
        rules=[
            {
                "clients": ["0.0.0.0/0:PORT"],
                "targets": ["b1", "b2"],
                "strategy": {"type": "least_conn"},
            }
        ],
    )
    backend, busy = (balancer.server.pool[each] for each in ("b1", "b2"))
    doctor.ill()
    wait_until(lambda: not backend.healthy, "down")
    held = [balancer.connect() for _ in range(20)]
    for sock in held:
        assert sock.recv(10) == b"second"
    wait_until(lambda: busy.active == 20, "20 connections")
    doctor.well()
    wait_until(lambda: backend.healthy, "up")
    held += [balancer.connect() for _ in range(10)]
    said = [sock.recv(10) for sock in held[20:]]
    # 2 on the recovered one weigh as much as 20 on the other; without a ramp it would be all 10.
    assert said.count(b"first") in (2, 3)


def test_a_command_decides(proxy, echo, tmp_path, wait_until) -> None:
    only = echo.listen("only", tcp())
    echo.start()
    flag = tmp_path / "well"
    script = f'[ -e {flag} ] && [ "$NGINY_BACKEND $NGINY_HOST" = "b1 127.0.0.1" ]'
    command = ["/bin/sh", "-c", script]
    check = {**FAST, "type": "command", "command": command, "initial": "down", "rise": 1}
    balancer = proxy([{"address": at(only), "health_check": check}])
    backend = balancer.server.pool["b1"]
    assert not backend.healthy
    flag.touch()
    wait_until(lambda: backend.healthy, "up")


def test_an_agent_drains_and_weighs(proxy, echo, own, asks, wait_until) -> None:
    agent = own.enter_context(tcp())
    line = [b"drain\n"]

    def answer() -> None:
        with contextlib.suppress(OSError):
            while True:
                with agent.accept()[0] as sock:
                    sock.sendall(line[0])

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    own.callback(thread.join, 10)
    own.callback(agent.shutdown, socket.SHUT_RDWR)
    first, second = (echo.listen(name, tcp()) for name in ("first", "second"))
    echo.start()
    check = {**FAST, "port": agent.getsockname()[1]}
    balancer = proxy(
        [{"address": at(first), "agent_check": check, "weight": 100},
         {"address": at(second), "weight": 100}]
    )  # fmt: skip
    backend = balancer.server.pool["b1"]
    wait_until(lambda: backend.admin is Admin.DRAIN, "drain")
    assert {asks(balancer) for _ in range(4)} == {"second"}
    line[0] = b"ready 300%\n"
    wait_until(lambda: backend.weight == 300, "weight")
    said = [asks(balancer) for _ in range(8)]
    assert (said.count("first"), said.count("second")) == (6, 2)
    line[0] = b"maint\n"
    wait_until(lambda: backend.admin is Admin.DOWN, "maintenance")
    assert {asks(balancer) for _ in range(4)} == {"second"}


def test_a_unix_socket_serves(proxy, echo, asks, tmp_path, wait_until) -> None:
    path = tmp_path / "web.sock"
    echo.listen("unix", unix(path))
    echo.start()
    check = {**FAST, "expect": "unix", "initial": "down"}
    balancer = proxy([{"address": f"unix:{path}", "health_check": check}])
    wait_until(lambda: balancer.server.pool["b1"].healthy, "up")
    assert asks(balancer) == "unix"
    record = balancer.record()
    assert record["close_reason"] == "completed"
    assert record["backend_address"] == f"unix:{path}"
    assert record["upstream_local"] is None


def test_a_unix_socket_closed_before_all_was_read_is_a_reset(proxy, own, tmp_path) -> None:
    listener = own.enter_context(unix(tmp_path / "web.sock"))
    balancer = proxy([{"address": f"unix:{tmp_path}/web.sock"}])
    client = balancer.connect()
    upstream = own.enter_context(listener.accept()[0])
    client.sendall(b"unread")
    assert upstream.recv(6, socket.MSG_PEEK | socket.MSG_WAITALL) == b"unread"
    upstream.sendall(b"no")
    upstream.close()
    assert client.recv(10) == b"no"
    assert client.recv(10) == b""
    assert balancer.record()["close_reason"] == "backend_reset"


def test_a_unix_socket_takes_bulk_both_ways_and_half_closes(proxy, own, tmp_path) -> None:
    listener = own.enter_context(unix(tmp_path / "web.sock"))
    balancer = proxy([{"address": f"unix:{tmp_path}/web.sock"}])
    client = balancer.connect()
    upstream = own.enter_context(listener.accept()[0])
    data = os.urandom(1 << 20)

    def send() -> None:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    received = b"".join(iter(lambda: upstream.recv(1 << 16), b""))
    sender.join(10)
    assert received == data
    upstream.sendall(b"got it")
    upstream.close()
    assert client.recv(10) == b"got it"
    assert client.recv(10) == b""
    record = balancer.record()
    assert (record["close_reason"], record["bytes_up"]) == ("completed", len(data))


def test_a_unix_socket_that_is_gone_is_a_reason_to_try_the_next(
    proxy, echo, asks, tmp_path
) -> None:
    path = tmp_path / "web.sock"
    unix(path).close()
    second = echo.listen("second", tcp())
    echo.start()
    balancer = proxy([{"address": f"unix:{path}"}, {"address": at(second)}])
    assert asks(balancer) == "second"
    assert balancer.record()["backends_tried"] == ["b1", "b2"]


def test_a_unix_socket_with_a_full_queue_is_a_reason_to_try_the_next(
    proxy, echo, asks, own, tmp_path
) -> None:
    path = tmp_path / "web.sock"
    full = own.enter_context(unix(path))
    full.listen(0)
    filler = own.enter_context(socket.socket(socket.AF_UNIX))
    filler.connect(str(path))
    second = echo.listen("second", tcp())
    echo.start()
    balancer = proxy([{"address": f"unix:{path}"}, {"address": at(second)}])
    assert asks(balancer) == "second"
    assert balancer.record()["backends_tried"] == ["b1", "b2"]


def test_an_ipv6_backend_serves(proxy, echo, asks, wait_until) -> None:
    listener = echo.listen("six", tcp("::1"))
    echo.start()
    address = f"[::1]:{listener.getsockname()[1]}"
    check = {**FAST, "expect": "six", "initial": "down"}
    balancer = proxy([{"address": address, "health_check": check}])
    wait_until(lambda: balancer.server.pool["b1"].healthy, "up")
    assert asks(balancer) == "six"
    record = balancer.record()
    assert record["backend_address"] == address
    assert str(record["upstream_local"]).startswith("[::1]:")


# Names


@pytest.fixture
def zone(own: ExitStack) -> Iterator[tuple[Zone, str]]:
    """A zone and the address of its server."""
    zone = Zone(ttl_s=0)
    sock = own.enter_context(socket.socket(type=socket.SOCK_DGRAM))
    sock.bind(("127.0.0.1", 0))
    stop, stopped = (own.enter_context(end) for end in socket.socketpair())

    def serve() -> None:
        with selectors.DefaultSelector() as selector:
            for each in (sock, stopped):
                selector.register(each, selectors.EVENT_READ)
            while all(key.fileobj is sock for key, _ in selector.select()):
                query, client = sock.recvfrom(4096)
                answer = zone.answer(query)
                if answer is not None:
                    sock.sendto(answer, client)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    own.callback(thread.join, 10)
    own.callback(stop.send, b"x")
    return zone, at(sock)


def test_a_name_is_served_by_all_its_addresses_as_they_change(
    proxy, echo, zone, asks, wait_until
) -> None:
    names, server = zone
    port = echo.listen("one", tcp("127.0.0.1")).getsockname()[1]
    echo.listen("two", tcp("127.0.0.2", port))
    echo.listen("three", tcp("127.0.0.3", port))
    echo.start()
    names.hosts["web.test"] = ["127.0.0.1", "127.0.0.2"]
    balancer = proxy(
        [{"address": f"web.test:{port}"}],
        dns={"nameservers": [server], "min_ttl_s": 0.02, "timeout_s": 5.0},
    )
    assert [asks(balancer) for _ in range(4)] == ["one", "two"] * 2
    assert balancer.records(1)[0]["backend"] == "b1@127.0.0.1"
    live = balancer.connect()
    names.hosts["web.test"] = ["127.0.0.3"]
    wait_until(lambda: set(balancer.server.pool) == {"b1@127.0.0.3"}, "the new address")
    assert {asks(balancer) for _ in range(3)} == {"three"}
    live.close()


def test_a_live_connection_of_an_address_that_vanished_is_kept(
    proxy, peer, zone, wait_until
) -> None:
    names, server = zone
    backend = peer()
    names.hosts["web.test"] = ["127.0.0.1"]
    balancer = proxy(
        [{"address": f"web.test:{backend.address.rpartition(':')[2]}"}],
        dns={"nameservers": [server], "min_ttl_s": 0.02, "timeout_s": 5.0},
    )
    client, upstream = balancer.connect(), backend.accept()
    names.hosts["web.test"] = ["127.0.0.9"]
    wait_until(lambda: set(balancer.server.pool) == {"b1@127.0.0.9"}, "the new address")
    client.sendall(b"still there?")
    assert upstream.recv(100) == b"still there?"


def test_a_name_that_does_not_resolve_refuses_until_it_does(
    proxy, echo, zone, asks, wait_until
) -> None:
    names, server = zone
    port = echo.listen("one", tcp()).getsockname()[1]
    echo.start()
    balancer = proxy(
        [{"address": f"web.test:{port}"}],
        dns={"nameservers": [server], "min_ttl_s": 0.02, "timeout_s": 5.0},
    )
    assert asks(balancer) == ""
    assert balancer.record()["close_reason"] == "no_backend"
    names.hosts["web.test"] = ["127.0.0.1"]
    wait_until(lambda: len(balancer.server.pool) == 1, "the address")
    assert asks(balancer) == "one"


# What else is composed


def test_load_reports_reach_the_algorithm(proxy, echo, own, asks, wait_until) -> None:
    first, second = (echo.listen(name, tcp()) for name in ("first", "second"))
    echo.start()
    with tcp() as free:
        report_to = free.getsockname()
    rule = {"clients": ["0.0.0.0/0:PORT"], "targets": ["b1", "b2"]}
    balancer = proxy(
        [{"address": at(first)}, {"address": at(second)}],
        healthcheck_addr="{}:{}".format(*report_to),
        rules=[{**rule, "strategy": {"type": "adaptive", "interval_s": 0.01}}],
    )
    assert {asks(balancer) for _ in range(4)} == {"first", "second"}
    reporter = own.enter_context(socket.create_connection(report_to))
    for name, cpu_pct in (("b1", 90), ("b2", 10)):
        report = {"id": name, "cpu": cpu_pct, "mem": cpu_pct, "net": 0, "io": 0}
        reporter.sendall(json.dumps(report).encode() + b"\n")
    wait_until(lambda: {asks(balancer) for _ in range(4)} == {"second"}, "the reports to count")


def test_an_address_for_load_reports_that_is_taken_is_an_error(own) -> None:
    taken = own.enter_context(tcp())
    config = parse(
        f"""
backends: [{{id: a, address: "192.0.2.1:80"}}]
rules: [{{clients: ["0.0.0.0/0:1"], targets: [a]}}]
healthcheck_addr: "{at(taken)}"
""",
        "f",
    )

    async def start() -> None:
        await Server(config, random.Random(1)).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        with pytest.raises(ReportAddressError, match=rf"on {at(taken)} \(healthcheck_addr\): Addr"):
            runner.run(start())
        assert runner.run(_tasks()) == 1


async def _tasks() -> int:
    return len(asyncio.all_tasks())


def test_a_penalty_is_logged_once(proxy, peer, asks, caplog, wait_until) -> None:
    caplog.set_level("INFO")
    refusing, good = peer().refuse(), peer()
    balancer = proxy([{"address": refusing.address, "max_fails": 2}, good])
    for _ in range(6):
        with balancer.connect(), good.accept():
            pass
    wait_until(lambda: "left alone" in caplog.text, "the penalty")
    assert caplog.text.count("backend b1: left alone for 10 s after 2 failed attempts") == 1


def test_nothing_of_the_checks_is_left_when_the_server_ends(
    proxy, echo, tmp_path, wait_until
) -> None:
    """A command that runs meanwhile, too; the fixture looks for tasks and descriptors."""
    pid_file = tmp_path / "pid"
    script = f"echo $$ > {pid_file}.new && mv {pid_file}.new {pid_file}; sleep 600"
    check = {"type": "command", "command": ["/bin/sh", "-c", script], "interval_s": 0.01}
    only = echo.listen("only", tcp())
    echo.start()
    balancer = proxy([{"address": at(only), "health_check": {**check, "timeout_s": 600}}])
    wait_until(pid_file.exists, "the command")
    balancer.finish()
    wait_until(lambda: not os.path.exists(f"/proc/{int(pid_file.read_text())}"), "its end")
