"""Who asks a process again and again, and has the newest frame for whoever shows it."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from nginy.view.ask import Document, NoStatus
from nginy.view.frame import Frame, frame
from nginy.view.marks import Mark, mark

WINDOW_S = 5.0
"""Over which rates are taken, as in the testbed's frames."""
MARKS = 10
"""At most so many are remembered in a window, however often is asked."""
REST = 9
"""A process is left alone for so many times as long as it took to answer."""
SILENT_S = 2.0
"""After which an answer that does not come is said to."""


@dataclass
class History:
    """The marks of the window; frames made by them."""

    _marks: deque[Mark] = field(default_factory=deque)

    def frame(self, document: Document) -> Frame:
        """Of the next document."""
        now, marks = mark(document), self._marks
        if marks and marks[-1].started_at != now.started_at:
            marks.clear()
        while len(marks) > 1 and now.at_s - marks[1].at_s >= WINDOW_S:
            marks.popleft()
        made = frame(marks, document)
        if not marks or now.at_s - marks[-1].at_s >= WINDOW_S / MARKS:
            marks.append(now)
        return made


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known at a moment."""

    number: int
    """Of the news: the same number is the same frame and the same problem."""
    frame: Frame | None
    """The newest; None: there was none yet."""
    age_s: float
    """Of it, or since the start."""
    problem: str
    """Why there is no newer one; empty: nothing is wrong."""


class Observer:
    """Asks by `ask` (which may raise NoStatus), and keeps what came of it."""

    def __init__(
        self,
        ask: Callable[[], Awaitable[Document]],
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Nothing asked yet; `clock` in seconds, `pause`: how it waits between two questions."""
        self._ask = ask
        self._pause = pause
        self._clock = clock
        self._history = History()
        self._frame: Frame | None = None
        self._problem = ""
        self._number = 0
        self._answered_s = self._asked_s = clock()
        self._waits = False
        self._news = asyncio.Event()

    async def follow(self, period_s: float) -> None:
        """Ask once a period, for ever; less often who takes long to answer."""
        while True:
            began_s = self._clock()
            await self.look()
            took_s = self._clock() - began_s
            await self._pause(max(period_s - took_s, took_s * REST))

    async def look(self) -> None:
        """Ask once."""
        self._asked_s, self._waits = self._clock(), True
        try:
            self._frame = self._history.frame(await self._ask())
        except NoStatus as error:
            self._problem = str(error)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            self._problem = f"the answer is no status that can be read: {error!r}"
        else:
            self._problem = ""
            self._answered_s = self._clock()
        self._waits = False
        self._number += 1
        self._news.set()
        self._news = asyncio.Event()

    async def news(self, at_most_s: float) -> None:
        """Wait for something new, or so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._news.wait()

    def seen(self) -> Seen:
        """What is known now."""
        now = self._clock()
        problem = self._problem
        if self._waits and now - self._asked_s > SILENT_S:
            problem = f"no answer for {now - self._asked_s:.0f} s"
        return Seen(self._number, self._frame, now - self._answered_s, problem)
