"""Finding peers that vanished without a word: TCP keepalive and TCP_USER_TIMEOUT.

A dead peer ends its connection like a reset: `client_reset` or `backend_reset`.
"""

import socket
from typing import NamedTuple

from nginy.config.schema import ConnectionTimeouts


class DeadPeers(NamedTuple):
    """Socket options of both sides of a connection; 0 stands for the system's own."""

    keepalive_idle_s: int
    keepalive_interval_s: int
    keepalive_count: int
    user_timeout_ms: int

    @classmethod
    def of(cls, timeouts: ConnectionTimeouts) -> "DeadPeers | None":
        """As configured; None: nothing is."""
        options = cls(
            timeouts.keepalive_idle_s,
            timeouts.keepalive_interval_s,
            timeouts.keepalive_count,
            timeouts.user_timeout_ms,
        )
        return options if options.keepalive_idle_s or options.user_timeout_ms else None

    def watch(self, sock: socket.socket) -> None:
        """Set them on a TCP socket; a Unix socket's peer cannot vanish."""
        if sock.family == socket.AF_UNIX:
            return
        if self.keepalive_idle_s:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, self.keepalive_idle_s)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, self.keepalive_interval_s)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, self.keepalive_count)
        if self.user_timeout_ms:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self.user_timeout_ms)
