"""Keepalive and user timeout reach both sides' sockets, where a rule wants them."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from nginy.config.schema import ConnectionTimeouts
from nginy.tcp.connection import watch_peer

KEEPALIVE_TIMER = "02"


def timer(local_port: int, remote_port: int) -> str:
    """The timer that runs for a connection, as the kernel's table says (proc(5), tcp)."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        ports = tuple(int(fields[column].split(":")[1], 16) for column in (1, 2))
        if ports == (local_port, remote_port):
            return fields[5].split(":")[0]
    raise AssertionError(f"no connection from port {local_port} to {remote_port}")


@pytest.mark.parametrize("idle_s", [0, 1000])
def test_keepalive_runs_on_both_sides_if_it_is_wanted(
    proxy: Callable[..., object], peer: Callable[..., object], idle_s: int
) -> None:
    backend = peer()
    front = proxy([backend], timeouts={"keepalive_idle_s": idle_s})
    client = front.connect()  # type: ignore[attr-defined]
    client.sendall(b"?")
    server = backend.accept()  # type: ignore[attr-defined]
    assert server.recv(1) == b"?"
    server.sendall(b"!")
    assert client.recv(1) == b"!"
    upstream_port, backend_port = server.getpeername()[1], server.getsockname()[1]
    wanted = [KEEPALIVE_TIMER if idle_s else "00"] * 2
    from_client = timer(front.port, client.getsockname()[1])  # type: ignore[attr-defined]
    assert [from_client, timer(upstream_port, backend_port)] == wanted


def test_options_are_set_as_configured() -> None:
    options = ConnectionTimeouts(
        keepalive_idle_s=7, keepalive_interval_s=3, keepalive_count=2, user_timeout_ms=900
    )
    with socket.socket() as sock:
        watch_peer(sock, options)
        assert [
            sock.getsockopt(socket.IPPROTO_TCP, option)
            for option in (
                socket.TCP_KEEPIDLE,
                socket.TCP_KEEPINTVL,
                socket.TCP_KEEPCNT,
                socket.TCP_USER_TIMEOUT,
            )
        ] == [7, 3, 2, 900]
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_a_user_timeout_alone_starts_no_keepalive() -> None:
    options = ConnectionTimeouts(user_timeout_ms=900)
    with socket.socket() as sock:
        watch_peer(sock, options)
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_nothing_is_set_unless_asked_for() -> None:
    with socket.socket() as sock:
        watch_peer(sock, ConnectionTimeouts())
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert not sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)


def test_a_unix_socket_is_left_alone() -> None:
    options = ConnectionTimeouts(keepalive_idle_s=7, user_timeout_ms=900)
    with socket.socket(socket.AF_UNIX) as sock:
        watch_peer(sock, options)
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
