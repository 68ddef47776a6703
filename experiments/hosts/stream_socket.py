"""A non-blocking TCP socket on an event loop: bytes in by callback, bytes out buffered.

Thinner than asyncio's transports, which need several turns of the loop before the first byte moves
and hide which error ended a connection: both would be in the measurement.
"""

import asyncio
import socket
import struct
from collections.abc import Callable

# Python allocates it all for every read: below malloc's threshold for mapping fresh pages.
_RECV_BYTES = 64 * 1024


class StreamSocket:
    """Owns `sock`, which must be connected and non-blocking.

    `on_bytes` gets what arrives. `on_end` is called once when the other side ends the connection,
    with None for an orderly end of stream, else with the error; never after `close`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        on_bytes: Callable[[bytes], None],
        on_end: Callable[[OSError | None], None],
    ) -> None:
        """Start reading at once."""
        self._loop = loop
        self._sock = sock
        # The loop is given the number: asked about a socket that it does not know yet, it would
        # format its repr for a KeyError, two system calls and 100 us per connection.
        self._fd = sock.fileno()
        self._on_bytes = on_bytes
        self._on_end = on_end
        self._unsent = bytearray()
        self._open = True
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop.add_reader(self._fd, self._readable)

    def write(self, data: bytes) -> None:
        """Send now what the kernel takes, the rest as it drains. After the end: nothing."""
        if not self._open:
            return
        self._unsent += data
        if len(self._unsent) == len(data):
            self._send()

    def close(self) -> None:
        """Give the connection up; bytes not yet handed to the kernel are lost. Idempotent."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            self._sock.close()

    def reset(self) -> None:
        """Give it up with RST (SO_LINGER of 0 seconds, socket(7)); what has not left is lost."""
        if self._open:
            linger = struct.pack("ii", 1, 0)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close()

    def _readable(self) -> None:
        try:
            data = self._sock.recv(_RECV_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(error)
            return
        if data:
            self._on_bytes(data)
        else:
            self._end(None)

    def _send(self) -> None:
        try:
            sent = self._sock.send(self._unsent)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            # From the loop and not from inside write(), whose caller is in the middle of its work.
            self._loop.call_soon(self._end, error)
            return
        del self._unsent[:sent]
        if self._unsent:
            self._loop.add_writer(self._fd, self._send)
        else:
            self._loop.remove_writer(self._fd)

    def _end(self, error: OSError | None) -> None:
        if self._open:
            self.close()
            self._on_end(error)
