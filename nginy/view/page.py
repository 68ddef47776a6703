"""The page of `nginy web`: what terminals show, in a browser, and for programs the newest frame.

It only reads: no request changes anything. A reader gets a message when there is something new, and
the next one only when it has taken that: a slow one misses frames, and nothing queues.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from nginy.view.door import Door
from nginy.view.frame import Frame
from nginy.view.guard import Guard
from nginy.view.observer import Observer, Seen
from nginy.view.picture import picture

STATIC = Path(__file__).parent / "static"
ALIVE_S = 1.0
"""A message comes at least so often, so that a page knows a server that is gone."""


def application(observer: Observer, guard: Guard) -> Starlette:
    """The page of what `observer` sees; somebody else lets it follow."""
    encoder = _Encoder()

    async def page(request: Request) -> Response:
        return Response((STATIC / "watch.html").read_bytes(), media_type="text/html")

    async def events(request: Request) -> Response:
        return StreamingResponse(_events(observer, encoder), media_type="text/event-stream")

    async def newest(request: Request) -> Response:
        seen = observer.seen()
        if seen.problem or seen.frame is None:
            return PlainTextResponse(seen.problem or "no frame yet", status_code=503)
        return Response(orjson.dumps(seen.frame), media_type="application/json")

    return Starlette(
        routes=[
            Route("/", page),
            Route("/events", events),
            Route("/frame", newest),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(Door, guard=guard)],
    )


class _Encoder:
    """Messages; a picture is made once, however many read."""

    def __init__(self) -> None:
        self._made: tuple[Frame, bytes] | None = None

    def message(self, seen: Seen, had: Frame | None) -> bytes:
        """For a reader that has got the picture of `had`."""
        new = seen.frame if seen.frame is not had else None
        data = {
            "problem": seen.problem,
            "age_s": round(seen.age_s, 1),
            "picture": orjson.Fragment(self._picture(new)) if new else None,
        }
        return b"data: %s\n\n" % orjson.dumps(data)

    def _picture(self, frame: Frame) -> bytes:
        if self._made is None or self._made[0] is not frame:
            self._made = frame, orjson.dumps(picture(frame))
        return self._made[1]


async def _events(observer: Observer, encoder: _Encoder) -> AsyncIterator[bytes]:
    """Each is made when the one before was taken."""
    had = None
    while True:
        seen = observer.seen()
        yield encoder.message(seen, had)
        had = seen.frame
        if observer.seen().number == seen.number:
            await observer.news(ALIVE_S)
