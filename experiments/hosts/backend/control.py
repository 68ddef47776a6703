"""Commands to an emulated backend while it runs: lines on its standard input.

    speed 0.25      work at a quarter of the configured speed from now on
    agent drain     have the agent answer `drain` (or `ready`, `maint`, `75%`)
    hang on, reset_after 1000, lie 0.1, report_delay 2
                    see `misdeeds.py`

Each one that is carried out is confirmed on standard output, `applied speed 0.25 at 1234.567890`,
with the time on CLOCK_MONOTONIC. A pipe needs no address and does not cross the network under
test.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping

SERVE = "serve"
"""What a standby is told when it is to start."""


def applied(command: str) -> str:
    """What confirms `command`; the time follows."""
    return f"applied {command} at "


class Control:
    """Reads commands from the descriptor `fd` and carries them out."""

    def __init__(self, handlers: Mapping[str, Callable[[str], None]], fd: int = 0) -> None:
        """`handlers`: first word -> what to do with the rest; ValueError refuses it."""
        self._handlers = handlers
        self._fd = fd
        self._unfinished = b""

    def wait_for_start(self) -> bool:
        """Block until the line SERVE comes; False if the input ends instead."""
        while b"\n" not in self._unfinished:
            data = os.read(self._fd, 1)
            if not data:
                return False
            self._unfinished += data
        line, _, self._unfinished = self._unfinished.partition(b"\n")
        return line.decode(errors="replace").strip() == SERVE

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Carry out what comes from now on."""
        loop.add_reader(self._fd, self._readable, loop)

    def _readable(self, loop: asyncio.AbstractEventLoop) -> None:
        data = os.read(self._fd, 4096)
        if not data:
            loop.remove_reader(self._fd)
            return
        *lines, self._unfinished = (self._unfinished + data).split(b"\n")
        for line in lines:
            self._carry_out(line.decode(errors="replace").strip(), loop.time())

    def _carry_out(self, command: str, now_s: float) -> None:
        word, _, rest = command.partition(" ")
        try:
            if word not in self._handlers:
                raise ValueError(f"known are {', '.join(self._handlers)}")
            self._handlers[word](rest)
        except ValueError as error:
            print(f"refused {command!r}: {error}", file=sys.stderr, flush=True)
        else:
            print(f"{applied(command)}{now_s:.6f}", flush=True)
