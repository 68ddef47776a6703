"""A coroutine that runs inside the event that wakes it.

One connection reads best as one function from accept to close record, hence a coroutine. An
asyncio.Task would queue each of its steps behind the event loop (with two waits 3.0-4.1 us and
three turns of the loop, against 1.1-1.4 us and none); a strand runs it at once.
"""

import logging
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any

log = logging.getLogger(__name__)


@types.coroutine
def suspended() -> Generator[None, Any, Any]:
    """Wait until somebody calls the strand's `resume`; gives the value passed to it."""
    return (yield)


class Strand:
    """Drives one coroutine. It must not be resumed from within itself."""

    __slots__ = ("_coroutine", "_ended")

    def __init__(self, ended: "Callable[[Strand], None]") -> None:
        """`ended` is called once, after the coroutine returned or failed."""
        self._ended = ended
        self._coroutine: Coroutine[Any, Any, None] | None = None

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run `coroutine` up to its first wait."""
        self._coroutine = coroutine
        self.resume(None)

    def resume(self, value: object) -> None:
        """Run on up to the next wait; the present wait gives `value`."""
        assert self._coroutine is not None, "start it first"
        try:
            self._coroutine.send(value)
        except StopIteration:
            self._ended(self)
        except Exception:
            self._failed()

    def throw(self, error: Exception) -> None:
        """Run on up to the next wait; the present wait raises `error`."""
        assert self._coroutine is not None, "start it first"
        try:
            self._coroutine.throw(error)
        except StopIteration:
            self._ended(self)
        except Exception:
            self._failed()

    def _failed(self) -> None:
        """A fault of nginy ends this one connection, not the others."""
        log.exception("a connection was lost by a fault of nginy")
        self._ended(self)
