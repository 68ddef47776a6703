"""The UDP benchmark's clients and backend, in one process and on one core."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from experiments.bench.needs import BenchError

STALLED_S = 0.05
"""Without a datagram for so long, those under way count as lost and are sent again."""
SESSIONS_CHECKED = 10
Address = tuple[str, int]


class Load:
    """The clients and the backend."""

    def __init__(self, own: ExitStack, window: int, size: int) -> None:
        """Keep `window` datagrams of `size` bytes under way; `own` closes the backend."""
        self.backend = own.enter_context(udp_socket())
        self._window = window
        self._payload = bytes(size)
        self._buffer = bytearray(65_536)
        self._view = memoryview(self._buffer)

    @property
    def backend_port(self) -> int:
        """Where the echo is."""
        return int(self.backend.getsockname()[1])

    def run(self, port: int, seconds: float, clients: int) -> int:
        """Round trips of so many sockets through the balancer at `port`, one datagram of each
        under way at least. Raises BenchError if there are none."""
        with ExitStack() as own:
            sockets = [own.enter_context(udp_socket()) for _ in range(clients)]
            for sock in sockets:
                sock.connect(("127.0.0.1", port))
            self._fill(sockets)
            count, counted_at = 0, 0
            moved_at = time.monotonic()
            end = moved_at + seconds
            while (now := time.monotonic()) < end:
                self._echo()
                count += sum(map(self._turn, sockets))
                if count > counted_at:
                    counted_at, moved_at = count, now
                elif now > moved_at + STALLED_S:
                    self._fill(sockets)
                    moved_at = now
        if not count:
            raise BenchError(f"nothing came back through port {port}")
        return count

    def _fill(self, sockets: list[socket.socket]) -> None:
        for sock in sockets:
            for _ in range(max(1, self._window // len(sockets))):
                sock.send(self._payload)

    def _turn(self, sock: socket.socket) -> int:
        """Take what came back, and send as many anew."""
        done = 0
        try:
            while sock.recv_into(self._buffer):
                sock.send(self._payload)
                done += 1
        except BlockingIOError:
            pass
        return done

    def _echo(self) -> None:
        backend, buffer, view = self.backend, self._buffer, self._view
        try:
            while True:
                size, peer = backend.recvfrom_into(buffer)
                backend.sendto(view[:size], peer)
        except BlockingIOError:
            pass

    @contextmanager
    def held(self, port: int, count: int) -> Iterator[None]:
        """Idle sessions through `port`; each has carried a round trip. Raises BenchError."""
        with ExitStack() as own:
            for number in range(count):
                client = own.enter_context(udp_socket())
                client.connect(("127.0.0.1", port))
                self._round_trip(client, number, port)
            yield

    def check_new_sessions(self, port: int) -> None:
        """Raises BenchError unless each answered datagram of one client is a session of its own,
        which the backend sees by the port it comes from."""
        with udp_socket() as client:
            client.connect(("127.0.0.1", port))
            peers = {self._round_trip(client, n, port) for n in range(SESSIONS_CHECKED)}
        if len(peers) < SESSIONS_CHECKED // 2:  # a port may be drawn again
            raise BenchError(f"port {port} does not begin a session for each datagram")

    def _round_trip(self, client: socket.socket, number: int, port: int) -> Address:
        """One datagram there and back; gives whom the backend saw. Raises BenchError if lost."""
        question = f"question {number}".encode().ljust(len(self._payload))
        for sock in (client, self.backend):
            sock.settimeout(1.0)
        try:
            client.send(question)
            datagram = b""
            while datagram != question:  # the others are left over from a run
                datagram, peer = self.backend.recvfrom(65_536)
            self.backend.sendto(datagram, peer)
            client.recv(65_536)
        except TimeoutError as error:
            raise BenchError(f"nothing came back through port {port}") from error
        finally:
            self.backend.setblocking(False)
        return str(peer[0]), int(peer[1])


def udp_socket() -> socket.socket:
    """A non-blocking one, bound to loopback."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.bind(("127.0.0.1", 0))
    return sock
