"""A process stops and the next one starts: nobody who comes meanwhile is lost."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing

import pytest

from nginy.address import Address
from nginy.server.handover import Takeover, hand_over
from nginy.server.sockets import bind, given_sockets
from tests.scenario.proxy.conftest import free_port, read_to_end, udp_socket

PATIENCE_S = 10.0


class Echo:
    """A backend that sends back what it gets, each connection or datagram once; it counts them."""

    def __init__(self, kind: socket.SocketKind) -> None:
        self.served = 0
        self._tcp = kind == socket.SOCK_STREAM
        self.sock = socket.socket(socket.AF_INET, kind)
        self.sock.bind(("127.0.0.1", 0))
        if self._tcp:
            self.sock.listen(1024)
        self.address = "{}:{}".format(*self.sock.getsockname())
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            if self._tcp:
                client, _ = self.sock.accept()
                with client:
                    said = client.recv(100)
                    client.sendall(said)
            else:
                said, sender = self.sock.recvfrom(100)
                self.sock.sendto(said, sender)
            if said == b"end":
                return
            self.served += 1

    def close(self) -> None:
        with socket.socket(self.sock.family, self.sock.type) as last:
            last.connect(self.sock.getsockname())
            last.sendall(b"end")
            self._thread.join(PATIENCE_S)
        self.sock.close()


def tcp_answer(port: int, number: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
        client.sendall(b"%d" % number)
        return read_to_end(client)


def udp_answer(port: int, number: int) -> bytes:
    with udp_socket() as client:
        client.connect(("127.0.0.1", port))
        client.send(b"%d" % number)
        return client.recv(100)


@pytest.mark.parametrize(
    ("protocol", "kind", "answer"),
    [
        ("tcp", socket.SOCK_STREAM, tcp_answer),
        ("udp", socket.SOCK_DGRAM, udp_answer),
    ],
)
def test_nobody_is_lost_in_a_stop_and_start(
    own, start, write_config, tmp_path, wait_until, protocol, kind, answer
):
    echo = own.enter_context(closing(Echo(kind)))
    port = free_port()
    rule = {"clients": [f"127.0.0.0/8:{port}"], "targets": ["b1"], "protocol": protocol}
    path, _ = write_config(
        echo.address, rules=[rule], timeouts={"handover_ms": 60_000, "drain_timeout_ms": 60_000}
    )
    first, log = start(path)
    answered = 0
    stop = threading.Event()
    failed: list[BaseException] = []

    def knock() -> None:
        nonlocal answered
        try:
            while not stop.is_set():
                assert answer(port, answered) == b"%d" % answered
                answered += 1
        except BaseException as failure:
            failed.append(failure)

    client = threading.Thread(target=knock)
    client.start()
    own.callback(client.join)
    own.callback(stop.set)
    wait_until(lambda: answered > 10 or bool(failed), "clients before")
    first.send_signal(signal.SIGTERM)
    second, second_log = start(path, log=tmp_path / "second.log")
    wait_until(lambda: "draining" in log.read_text(), "the end of accepting")
    seen = answered
    wait_until(lambda: answered > seen + 10 or bool(failed), "clients after")
    stop.set()
    client.join()
    assert failed == []
    assert echo.served == answered
    assert "a successor has taken over" in log.read_text()
    assert "taken over from a process that stops" in second_log.read_text()
    if protocol == "udp":
        first.send_signal(signal.SIGINT)  # its sessions would stay for a while
    assert first.wait(PATIENCE_S) == 0
    assert second.poll() is None


def test_without_a_successor_newcomers_are_refused_after_the_time(start, write_config, peer):
    backend = peer()
    path, port = write_config(backend.address, timeouts={"handover_ms": 1})
    process, log = start(path)
    client = socket.create_connection(("127.0.0.1", port))
    backend.accept()  # so that it still drains when the port is closed
    process.send_signal(signal.SIGTERM)
    with client:
        for line in _lines_of(log):
            if "draining 1 connections" in line:
                break
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0


def _lines_of(log):
    with log.open() as lines:
        while True:
            if line := lines.readline():
                yield line


def test_the_second_signal_ends_the_wait_for_a_successor(start, write_config, peer, wait_until):
    path, _ = write_config(peer().address, timeouts={"handover_ms": 3_600_000})
    process, log = start(path)
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: "may take over" in log.read_text(), "the first signal")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0


async def _while_offered(
    sockets: dict, successor: Callable[[], object], *, wait: bool = False
) -> tuple[bool, object]:
    """Whether `hand_over` says that somebody serves, and what `successor` gives, in a thread."""
    offer = asyncio.create_task(hand_over(sockets, PATIENCE_S))
    await asyncio.sleep(0)  # from here on it waits at its door
    got = await asyncio.to_thread(successor)
    if not wait:
        offer.cancel()
    (served,) = await asyncio.gather(offer, return_exceptions=True)
    return served is True, got


def _taken(place, *, confirm: bool) -> Callable[[], object]:
    def take() -> object:
        with closing(Takeover()) as takeover:
            sock = takeover.take(place, v6only=False)
            if confirm:
                takeover.confirm()
        with sock:
            return sock.getsockname()

    return take


def test_a_successor_that_dies_before_it_serves_changes_nothing(own):
    sock = own.enter_context(bind("tcp", Address("127.0.0.1", 0)))
    place = ("tcp", Address(*sock.getsockname()))
    died = asyncio.run(_while_offered({place: sock}, _taken(place, confirm=False)))
    assert died == (False, place[1])
    served = asyncio.run(_while_offered({place: sock}, _taken(place, confirm=True), wait=True))
    assert served == (True, place[1])


def test_more_sockets_than_travel_at_once(own):
    socks = [own.enter_context(bind("udp", Address("127.0.0.1", 0))) for _ in range(450)]
    offered = {("udp", Address(*sock.getsockname())): sock for sock in socks}

    def take_all() -> int:
        with closing(Takeover()) as takeover:
            taken = [takeover.take(place, v6only=False) for place in offered]
            for sock in taken:
                sock.close()
            return len(taken)

    assert asyncio.run(_while_offered(offered, take_all)) == (False, 450)


def test_a_socket_of_the_wrong_families_is_not_taken(own):
    sock = own.enter_context(bind("tcp", Address("::", 0), dual_stack=True))
    place = ("tcp", Address(*sock.getsockname()[:2]))

    def take() -> object:
        with closing(Takeover()) as takeover:
            return takeover.take(place, v6only=True)

    assert asyncio.run(_while_offered({place: sock}, take)) == (False, None)


ASK = """
import socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
    door.settimeout(10)
    door.connect("\\0nginy-handover-" + sys.argv[1])
    message, descriptors, _, _ = socket.recv_fds(door, 100, 200)
    print(message, descriptors)
"""


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_gets_nothing(own):
    sock = own.enter_context(bind("tcp", Address("127.0.0.1", 0)))

    def ask() -> object:
        argv = ["/usr/bin/env", "python3", "-c", ASK, str(os.getpid())]
        return subprocess.run(argv, user=65534, capture_output=True, text=True).stdout.strip()

    offered = {("tcp", Address(*sock.getsockname())): sock}
    assert asyncio.run(_while_offered(offered, ask)) == (False, "b'' []")


def test_sockets_that_systemd_gives_are_used(own, write_config, peer, tmp_path, wait_until):
    backend = peer()
    given = own.enter_context(socket.create_server(("127.0.0.1", 0)))
    port = given.getsockname()[1]
    rule = {"clients": [f"127.0.0.0/8:{port}"], "targets": ["b1"]}
    path, _ = write_config(backend.address, rules=[rule])
    log = tmp_path / "nginy.log"
    shell = f'exec 3<&{given.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
    with log.open("wb") as errors:
        process = own.enter_context(
            subprocess.Popen(
                ["bash", "-c", shell, "sh", sys.executable, "-m", "nginy", "run", "-c", str(path)],
                stderr=errors,
                pass_fds=[given.fileno()],
            )
        )
    own.callback(process.kill)
    wait_until(lambda: "nginy ready" in log.read_text() or process.poll() is not None, "ready")
    assert f"127.0.0.1:{port} (tcp): the socket was given" in log.read_text()
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"hello")
        assert backend.accept().recv(100) == b"hello"


def test_sockets_given_to_another_process_are_left_alone():
    assert given_sockets({"LISTEN_PID": "1", "LISTEN_FDS": "1"}) == {}


@pytest.mark.parametrize("bound", ["127.0.0.1", "::1"])
def test_ipv4_and_ipv6_clients_of_a_dual_stack_port(proxy, peer, bound):
    backend = peer()
    port = free_port()
    rule = {"clients": [f"127.0.0.0/8:{port}", f"[::1/128]:{port}"], "targets": ["b1"]}
    balancer = proxy([backend], rules=[rule], bind_addresses=["::"])
    with socket.create_connection((bound, port)) as client:
        client.sendall(b"x")
        upstream = backend.accept()
        assert upstream.recv(1) == b"x"
        upstream.close()
        assert client.recv(1) == b""
        who = Address(*client.getsockname()[:2])
    assert balancer.record()["client"] == str(who)


@pytest.mark.parametrize("bound", ["127.0.0.1", "127.0.0.2", "::1"])
def test_ipv4_and_ipv6_datagrams_of_a_dual_stack_port(proxy, udp_peer, bound):
    b1, port = udp_peer(), free_port()
    rule = {
        "clients": [f"127.0.0.0/8:{port}", f"[::1/128]:{port}"],
        "targets": ["b1"],
        "protocol": "udp",
        "udp": {"responses": 1},
    }
    server = proxy([b1], rules=[rule], bind_addresses=["::"])
    with udp_socket("::1" if ":" in bound else "127.0.0.1") as client:
        client.connect((bound, port))
        client.send(b"x")
        b1.answer()
        assert client.recv(10) == b"x"
        who = Address(*client.getsockname()[:2])
    record = server.record()
    assert (record["client"], record["listener"]) == (str(who), str(Address(bound, port)))
