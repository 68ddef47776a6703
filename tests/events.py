"""A page's stream of events over ASGI, read as slowly as a test tells."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from starlette.types import ASGIApp, Message, Scope

PATIENCE_S = 10


class Reader:
    """Takes an event when it is told to."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.may_take = asyncio.Semaphore(0)
        self.news = asyncio.Event()

    async def send(self, message: Message) -> None:
        if message["type"] != "http.response.body" or not message.get("body"):
            return
        await self.may_take.acquire()
        self.got.append(message["body"])
        self.news.set()

    async def takes(self, count: int) -> None:
        for _ in range(count):
            self.news.clear()
            self.may_take.release()
            await asyncio.wait_for(self.news.wait(), PATIENCE_S)


async def read(
    app: ASGIApp,
    host: str,
    steps: Callable[[Reader], Awaitable[None]],
    query: str = "",
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> list[bytes]:
    """The events that a reader gets who opens /events and goes through those steps."""

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/events",
        "query_string": query.encode(),
        "headers": [(b"host", host.encode()), *headers],
    }
    reader = Reader()
    task = asyncio.create_task(app(scope, receive, reader.send))
    await steps(reader)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return reader.got
