"""A non-blocking UDP socket with room for bursts, and the kernel's count of what did not fit."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.hosts.process import HostPort

BUFFER_BYTES = 8 * 1024 * 1024
"""Of the kernel, each way: a thousand datagrams of any size while this process waits for a CPU."""
READ_AT_ONCE = 64
_LARGEST_BYTES = 65_536
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33  # asm-generic/socket.h
_SNMP = Path("/proc/net/snmp")

Source = Any
"""An address as the socket module has it."""


def udp_socket(family: socket.AddressFamily) -> socket.socket:
    """A non-blocking one with large buffers (as large as is allowed, without the privilege)."""
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    for plain, force in (
        (socket.SO_RCVBUF, _SO_RCVBUFFORCE),
        (socket.SO_SNDBUF, _SO_SNDBUFFORCE),
    ):
        sock.setsockopt(socket.SOL_SOCKET, plain, BUFFER_BYTES)
        with contextlib.suppress(PermissionError):
            sock.setsockopt(socket.SOL_SOCKET, force, BUFFER_BYTES)
    return sock


def bound(at: HostPort) -> socket.socket:
    """One that receives at `at`. Raises OSError if the address cannot be had."""
    sock = udp_socket(socket.AF_INET6 if ":" in at.host else socket.AF_INET)
    try:
        sock.bind(at)
    except OSError:
        sock.close()
        raise
    return sock


def read_from(
    loop: asyncio.AbstractEventLoop,
    sock: socket.socket,
    on_datagram: Callable[[bytes, Source], None],
    on_error: Callable[[OSError], None] = lambda _: None,
) -> None:
    """Call `on_datagram` for all that arrives, `on_error` for what ICMP says of what was sent."""

    def readable() -> None:
        for _ in range(READ_AT_ONCE):
            try:
                datagram, source = sock.recvfrom(_LARGEST_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                on_error(error)
                continue
            on_datagram(datagram, source)
            if sock.fileno() < 0:  # closed meanwhile
                return

    loop.add_reader(sock.fileno(), readable)


def udp_drops() -> int:
    """Datagrams this network namespace had no buffer for since it exists (RFC 4113, Linux)."""
    return buffer_errors(_SNMP.read_text())


def buffer_errors(snmp: str) -> int:
    """RcvbufErrors and SndbufErrors out of the text of /proc/net/snmp."""
    names, values = [line.split()[1:] for line in snmp.splitlines() if line.startswith("Udp:")]
    counts = dict(zip(names, map(int, values), strict=True))
    return counts["RcvbufErrors"] + counts["SndbufErrors"]
