"""A scene on the event loop that nginy uses, and waiting within it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

PATIENCE_S = 10.0


def run(scene: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(scene, PATIENCE_S))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  (what is waited for knows nothing of events)
        await asyncio.sleep(0.002)


async def hung_up(reader: asyncio.StreamReader) -> None:
    """Wait until the peer has closed the connection, by FIN or by RST."""
    try:
        assert await reader.read() == b""
    except ConnectionResetError:
        return
