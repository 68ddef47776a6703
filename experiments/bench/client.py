"""The benchmark's own client: `python -m experiments.bench.client verify|download HOST PORT`.

`verify` waits until HOST answers, compares small responses and prints the SHA-256 of the bulk
payload. `download` prints 10^9 bytes per second of one download of checked length.
"""

import hashlib
import socket
import sys
import time
from collections.abc import Iterator

from experiments.bench.systems import SMALL_BODY

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


def verify(host: str, port: int) -> str:
    """SHA-256 of the bulk payload, after the small responses were compared."""
    wait_until_open(host, port)
    for _ in range(SMALL_REQUESTS):
        body = b"".join(get(host, port, "/small"))
        if body != SMALL_BODY:
            raise ValueError(f"wrong response: {body!r}")
    digest = hashlib.sha256()
    for piece in get(host, port, "/bulk"):
        digest.update(piece)
    return digest.hexdigest()


def download(host: str, port: int) -> float:
    """10^9 bytes per second, request and response included."""
    begin = time.perf_counter()
    size = sum(len(piece) for piece in get(host, port, "/bulk"))
    return size / 1e9 / (time.perf_counter() - begin)


def _content_length(head: bytes) -> int:
    status, *fields = head.decode("latin-1").split("\r\n")
    if " 200 " not in status:
        raise ValueError(status)
    values = dict(field.split(": ", 1) for field in fields)
    return int(values["Content-Length"])


if __name__ == "__main__":
    action = {"verify": verify, "download": download}[sys.argv[1]]
    print(action(sys.argv[2], int(sys.argv[3])))
