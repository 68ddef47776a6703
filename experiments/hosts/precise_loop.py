"""An asyncio event loop whose timers are good to tens of microseconds.

asyncio and uvloop both wait in `epoll_wait`, whose timeout is in whole milliseconds: a timer is up
to 1 ms late, which would be a tenth of a 10 ms service time. `select(2)` takes microseconds, and an
epoll descriptor is itself selectable: so wait in select for the epoll descriptor, then poll it.
"""

import asyncio
import ctypes
import select
import selectors
from typing import Any

_PR_SET_TIMERSLACK = 29  # linux/prctl.h
_TIMER_SLACK_NS = 1


class _PreciseSelector(selectors.EpollSelector):
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As EpollSelector.select, with a timeout (seconds) that is not rounded up."""
        if timeout is None or timeout > 0:
            select.select([self.fileno()], [], [], timeout)
        return super().select(0)


def new_precise_loop() -> asyncio.SelectorEventLoop:
    """A fresh loop on a precise selector, in a thread without the usual 50 us timer slack."""
    prctl: Any = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(_TIMER_SLACK_NS), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_TIMERSLACK)")
    return asyncio.SelectorEventLoop(_PreciseSelector())
