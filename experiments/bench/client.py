"""The benchmark's own client: `python -m experiments.bench.client ACTION HOST PORT [COUNT]`.

`ready` waits until HOST answers. `verify` also compares small responses, and prints the SHA-256 of
the bulk payload. `download` prints 10^9 bytes per second of one download of checked length. `hold`
prints HELD once COUNT connections have carried a request each, and keeps them.
"""

import hashlib
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

SMALL_BODY = b"hello world\n"
HELD = "all held"
READY_TIMEOUT_S = 10.0
RECEIVE_BYTES = 1 << 20
SMALL_REQUESTS = 50


def wait_until_open(host: str, port: int) -> None:
    """Return once a connection is accepted. Raises OSError after READY_TIMEOUT_S."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        try:
            socket.create_connection((host, port), 1.0).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def get(host: str, port: int, path: str) -> Iterator[memoryview]:
    """The body of a response in pieces, each valid until the next. Raises ValueError if short."""
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    buffer = memoryview(bytearray(RECEIVE_BYTES))
    with socket.create_connection((host, port), 10.0) as sock:
        sock.sendall(request.encode())
        have = 0
        while (end := bytes(buffer[:have]).find(b"\r\n\r\n")) < 0:
            if (size := sock.recv_into(buffer[have:])) == 0:
                raise ValueError("the connection ended before the response did")
            have += size
        left = _content_length(bytes(buffer[:end])) - (have - end - 4)
        yield buffer[end + 4 : have]
        while left:
            if (size := sock.recv_into(buffer)) == 0:
                raise ValueError(f"{left} bytes of the response are missing")
            left -= size
            yield buffer[:size]


def ready(host: str, port: int) -> str:
    """Return once it answered. Raises ValueError if the answer is wrong."""
    wait_until_open(host, port)
    body = b"".join(get(host, port, "/small"))
    if body != SMALL_BODY:
        raise ValueError(f"wrong response: {body!r}")
    return "ready"


def verify(host: str, port: int) -> str:
    """SHA-256 of the bulk payload, after the small responses were compared."""
    for _ in range(SMALL_REQUESTS):
        ready(host, port)
    digest = hashlib.sha256()
    for piece in get(host, port, "/bulk"):
        digest.update(piece)
    return digest.hexdigest()


def download(host: str, port: int) -> float:
    """10^9 bytes per second, request and response included."""
    begin = time.perf_counter()
    size = sum(len(piece) for piece in get(host, port, "/bulk"))
    return size / 1e9 / (time.perf_counter() - begin)


def hold(host: str, port: int, count: int) -> None:
    """Keep idle connections until a signal. Raises ValueError if one carries no response."""
    request = f"GET /small HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    with ExitStack() as own:
        for _ in range(count):
            sock = own.enter_context(socket.create_connection((host, port), 10.0))
            sock.sendall(request)
            response = b""
            while not response.endswith(SMALL_BODY):
                if not (piece := sock.recv(4096)):
                    raise ValueError("a connection ended before its response did")
                response += piece
        print(HELD, flush=True)
        signal.pause()


def _content_length(head: bytes) -> int:
    status, *fields = head.decode("latin-1").split("\r\n")
    if " 200 " not in status:
        raise ValueError(status)
    values = dict(field.split(": ", 1) for field in fields)
    return int(values["Content-Length"])


def main(action: str, host: str, port: int, *count: str) -> None:
    """Do it, and print what came of it."""
    if action == "hold":
        hold(host, port, int(*count))
    else:
        actions = {"ready": ready, "verify": verify, "download": download}
        print(actions[action](host, port))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
