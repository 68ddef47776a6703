"""An agent beside an emulated backend: whoever connects is told one line (HAProxy's agent-check).

And the port of health checks over TCP, which says nothing: that it accepts is the answer.
"""

import asyncio
import re
import socket
from collections.abc import Callable

STATES = ("ready", "drain", "maint", "up", "down")
_PERCENT = re.compile(r"\d{1,3}%")


class Agent:
    """Says what it was last told to say; `ready` at first."""

    def __init__(self) -> None:
        """Ready."""
        self._line = b"ready\n"

    def say(self, words: str) -> None:
        """From now on, answer this: one of STATES, or a share of the weight like `75%`.

        Raises ValueError for anything else.
        """
        if words not in STATES and not _PERCENT.fullmatch(words):
            raise ValueError(f"an agent says {', '.join(STATES)} or 75%, not {words!r}")
        self._line = words.encode() + b"\n"

    def answer_on(self, loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
        """Answer at a non-blocking listening socket."""
        accept_and_close(loop, listener, lambda: self._line)


def accept_and_close(
    loop: asyncio.AbstractEventLoop, listener: socket.socket, line: Callable[[], bytes] = bytes
) -> None:
    """Accept, write `line()` (nothing, unless given), close."""

    def accept() -> None:
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        with sock:
            try:
                sock.send(line())
            except OSError:
                return  # who asked has gone

    loop.add_reader(listener, accept)
