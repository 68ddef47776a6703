"""A real proxy on loopback, peers to talk through it, and a leak check after every test."""

import asyncio
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import uvloop

from nginy.address import Address
from nginy.config.load import parse
from nginy.engine.pipes import pipes
from nginy.server.server import Server

DGRAM = socket.SOCK_DGRAM
PATIENCE_S = 10.0
LINGER_RESET = struct.pack("ii", 1, 0)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s for: {what}"
        time.sleep(0.005)


def reset(sock: socket.socket) -> None:
    """Close with RST instead of FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
    sock.close()


def read_to_end(sock: socket.socket) -> bytes:
    pieces = []
    while piece := sock.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class Peer:
    """A listening socket on loopback that plays a backend."""

    def __init__(self, own: ExitStack, backlog: int = 1024) -> None:
        self._own = own
        self.listener = own.enter_context(socket.create_server(("127.0.0.1", 0), backlog=backlog))
        self.listener.settimeout(PATIENCE_S)
        self.address = "{}:{}".format(*self.listener.getsockname())

    def accept(self) -> socket.socket:
        sock = self._own.enter_context(self.listener.accept()[0])
        sock.settimeout(PATIENCE_S)
        return sock

    def refuse(self) -> "Peer":
        """From now on connections are refused."""
        self.listener.close()
        return self

    def stall(self) -> "Peer":
        """From now on connections hang: the queue of one who never accepts is full."""
        self.listener.listen(0)
        for _ in range(4):
            filler = self._own.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(self.listener.getsockname())
        return self


class UdpPeer:
    """A UDP socket on loopback that plays a backend; each datagram comes with where to answer."""

    def __init__(self, own: ExitStack, host: str = "127.0.0.1", port: int = 0) -> None:
        self.socket = own.enter_context(udp_socket(host, port))
        self.address = str(Address(*self.socket.getsockname()[:2]))

    def receive(self) -> tuple[bytes, tuple[str, int]]:
        return self.socket.recvfrom(1 << 16)

    def answer(self, prefix: bytes = b"") -> tuple[str, int]:
        """Send the next datagram back, after `prefix`; gives where to."""
        datagram, sender = self.receive()
        self.socket.sendto(prefix + datagram, sender)
        return sender

    def waits(self) -> bool:
        """Whether a datagram waits."""
        return bool(select.select([self.socket], [], [], 0)[0])

    def refuse(self) -> "UdpPeer":
        """From now on its host answers by ICMP that nobody is there."""
        self.socket.close()
        return self


def udp_socket(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind((host, port))
    sock.settimeout(PATIENCE_S)
    return sock


def free_port() -> int:
    """One that neither protocol uses."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(type=DGRAM) as udp:
            try:
                udp.bind(tcp.getsockname())
            except OSError:
                continue
            return int(tcp.getsockname()[1])


class Proxy:
    """A server in a thread of its own, and what a test wants to know of it."""

    def __init__(
        self,
        own: ExitStack,
        log_path: Path,
        settings: dict[str, object],
        status_path: Path | None = None,
    ) -> None:
        self._own = own
        self._log_path = log_path
        self._status_path = status_path
        self.port = free_port()
        settings = {"access_log": str(log_path), "bind_addresses": ["127.0.0.1"], **settings}
        text = json.dumps(settings).replace("PORT", str(self.port))
        self._config = parse(text, "test")
        self.server: Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> "Proxy":
        self._thread.start()
        wait_until(lambda: bool(self._failure or (self.server and self.server.listening)), "ready")
        assert self._failure is None, self._failure
        return self

    def connect(self) -> socket.socket:
        sock = self._own.enter_context(socket.create_connection(("127.0.0.1", self.port)))
        sock.settimeout(PATIENCE_S)
        return sock

    def client(self, to: str = "127.0.0.1", host: str = "") -> socket.socket:
        """A UDP socket (bound to `host`) connected to the proxy's address `to`."""
        sock = self._own.enter_context(udp_socket(host or to))
        sock.connect((to, self.port))
        return sock

    def call(self, function: Callable[[], object]) -> None:
        """Run it in the server's thread, and wait until that is done."""
        assert self._loop is not None
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (function(), done.set()))
        assert done.wait(PATIENCE_S)

    def stop(self) -> None:
        """What a signal does."""
        assert self._loop is not None
        assert self.server is not None
        self._loop.call_soon_threadsafe(self.server.stop)

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def finish(self) -> None:
        if self.running:
            self.stop()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        assert self._failure is None, self._failure

    def records(self, count: int) -> list[dict[str, object]]:
        """The close records, once there are at least `count`."""

        def lines() -> list[str]:
            return self._log_path.read_text().splitlines()

        wait_until(lambda: len(lines()) >= count, f"{count} close records")
        return [json.loads(line) for line in lines()]

    def record(self) -> dict[str, object]:
        records = self.records(1)
        assert len(records) == 1
        return records[0]

    def assert_nothing_left(self) -> None:
        server = self.server
        assert server is not None
        if self.running and server.udp.open_sessions:
            self.call(server.udp.abort_all)
        wait_until(lambda: server.open_connections == 0, "connections to end")
        assert server.pool.open_leases == 0
        assert all(backend.active == 0 for backend in server.pool.values())
        wait_until(lambda: server.poller.watched == len(server.listening), "sockets unwatched")
        assert len(server.wheel) == 0

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except BaseException as failure:
            self._failure = failure

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.server = Server(self._config, 1, self._status_path)
        await self.server.run()
        assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.fixture(scope="session")
def _first_loop() -> None:
    """The first uvloop of a process opens a pipe that stays."""

    async def nothing() -> None:
        pass

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(nothing())


@pytest.fixture(autouse=True)
def _no_descriptor_left(_first_loop: None) -> Iterator[None]:
    pipes.clear()  # that a test without a server has left spare; a server clears its own
    before = open_descriptors()
    yield
    wait_until(lambda: open_descriptors() == before, f"{before} open descriptors again")


@pytest.fixture
def own(_no_descriptor_left: None) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def peer(own: ExitStack) -> Callable[..., Peer]:
    return lambda **options: Peer(own, **options)


@pytest.fixture
def proxy(own: ExitStack, tmp_path: Path) -> Iterator[Callable[..., Proxy]]:
    """`proxy(backends, **settings)`: started, in front of `backends`, one rule for everybody.

    A backend is a Peer, a UdpPeer, or its settings; they are called b1, b2, ...

    When the test is over, its sockets are closed, and nothing may be left of its connections.
    """
    started: list[Proxy] = []

    def start(
        backends: list[Peer | UdpPeer | dict[str, object]],
        status_path: Path | None = None,
        **settings: object,
    ) -> Proxy:
        listed = [
            {
                "id": f"b{number}",
                **({"address": each.address} if isinstance(each, (Peer, UdpPeer)) else each),
            }
            for number, each in enumerate(backends, 1)
        ]
        ids = [each["id"] for each in listed]
        document = {
            "backends": listed,
            "rules": [{"clients": ["0.0.0.0/0:PORT"], "targets": ids}],
            **settings,
        }
        log_path = tmp_path / f"access-{len(started)}.log"
        started.append(Proxy(own, log_path, document, status_path).start())
        return started[-1]

    yield start
    own.close()
    for each in started:
        each.assert_nothing_left()
        each.finish()


@pytest.fixture
def udp_peer(own: ExitStack) -> Callable[..., UdpPeer]:
    return lambda **options: UdpPeer(own, **options)


@pytest.fixture
def udp_proxy(proxy: Callable[..., Proxy]) -> Callable[..., Proxy]:
    """`udp_proxy(backends, udp={...}, top={...}, **rule)`: `proxy` with one UDP rule."""

    def start(
        backends: list[UdpPeer | dict[str, object]],
        top: dict[str, object] | None = None,
        **rule: object,
    ) -> Proxy:
        rule = {
            "clients": ["0.0.0.0/0:PORT"],
            "protocol": "udp",
            "targets": [f"b{number}" for number in range(1, len(backends) + 1)],
            **rule,
        }
        return proxy(backends, rules=[rule], **(top or {}))

    return start


@pytest.fixture
def write_config(tmp_path: Path) -> Callable[..., tuple[Path, int]]:
    """`write_config(address, **settings)`: a file with one backend; gives its path and a port."""

    def write(backend: str, **settings: object) -> tuple[Path, int]:
        port = free_port()
        document = {
            "backends": [{"id": "b1", "address": backend}],
            "rules": [{"clients": [f"127.0.0.0/8:{port}"], "targets": ["b1"]}],
            "bind_addresses": ["127.0.0.1"],
            "status_socket": "off",
            **settings,
        }
        path = tmp_path / "nginy.yaml"
        path.write_text(json.dumps(document))
        return path, port

    return write


@pytest.fixture
def start(own: ExitStack) -> Callable[..., tuple[subprocess.Popen[bytes], Path]]:
    """Start `nginy run`, wait for its ready line; gives the process and the log's path."""

    def start_one(
        path: Path,
        prefix: tuple[str, ...] = (),
        stdout: int = subprocess.PIPE,
        log: Path | None = None,
    ) -> tuple[subprocess.Popen[bytes], Path]:
        log = log or path.with_suffix(".log")
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "nginy", "run", "-c", str(path)],
                stdout=stdout,
                stderr=errors,
            )
        own.enter_context(process)
        own.callback(process.kill)
        wait_until(lambda: "nginy ready" in log.read_text() or process.poll() is not None, "ready")
        return process, log

    return start_one


@pytest.fixture
def short(own: ExitStack, tmp_path: Path) -> Path:
    """A folder with a path short enough for any socket, whatever pytest's is."""
    link = Path(f"/tmp/nginy-test-{os.getpid()}")
    link.symlink_to(tmp_path)
    own.callback(link.unlink)
    return link


@pytest.fixture(name="reset")
def _reset() -> Callable[[socket.socket], None]:
    return reset


@pytest.fixture(name="read_to_end")
def _read_to_end() -> Callable[[socket.socket], bytes]:
    return read_to_end


@pytest.fixture(name="wait_until")
def _wait_until() -> Callable[[Callable[[], bool], str], None]:
    return wait_until
