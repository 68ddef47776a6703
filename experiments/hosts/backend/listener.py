"""A listening socket that does not drop, and the kernel's count of the times it did."""

import socket
from pathlib import Path

from experiments.hosts.process import HostPort

_NETSTAT = Path("/proc/net/netstat")
_SOMAXCONN = Path("/proc/sys/net/core/somaxconn")


def listen(at: HostPort, backlog: int) -> socket.socket:
    """A non-blocking TCP listener with room for `backlog` connections not yet accepted.

    Raises OSError where the address cannot be had, or where the kernel would silently cut the
    backlog down (net.core.somaxconn of this network namespace): that would drop connections.
    """
    allowed = int(_SOMAXCONN.read_text())
    if backlog > allowed:
        raise OSError(f"listen backlog {backlog} is above net.core.somaxconn = {allowed}")
    sock = socket.create_server(
        at, family=socket.AF_INET6 if ":" in at.host else socket.AF_INET, backlog=backlog
    )
    sock.setblocking(False)
    return sock


def listen_drops() -> int:
    """Connections turned away from listen queues of this network namespace since it exists.

    Linux counts ListenOverflows within ListenDrops (net/ipv4/tcp_ipv4.c, tcp_v4_syn_recv_sock).
    """
    return parse_listen_drops(_NETSTAT.read_text())


def parse_listen_drops(netstat: str) -> int:
    """The same from the text of a /proc/PID/net/netstat."""
    names, values = (line.split() for line in netstat.splitlines() if line.startswith("TcpExt:"))
    return int(values[names.index("ListenDrops")])
