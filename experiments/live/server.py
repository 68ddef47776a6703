"""The page's server: static files, the scene, a stream of frames, and one place for commands.

Every reader is served from one list of frames, by how far it has come: a new one gets all points so
far (at most `frame.MOST_FRAMES`), a late one what it lacks, and a slow one, whose message before is
still on its way, misses nothing but the frames in between. So nothing ever queues.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import orjson
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from experiments.live.guard import HEADERS, Guard
from experiments.live.player import SPEEDS, Command, Cursor, Player

STATIC = Path(__file__).parent / "static"
PERIOD_S = 0.25
MOST_COMMAND_BYTES = 1000

Pause = Callable[[float], Awaitable[None]]


def application(player: Player, guard: Guard, *, pause: Pause = asyncio.sleep) -> Starlette:
    """The page of one player. `pause`: how the stream waits between frames."""

    async def page(request: Request) -> Response:
        return Response((STATIC / "index.html").read_bytes(), media_type="text/html")

    async def scenes(request: Request) -> Response:
        shown = [reel.scene.model_dump() for reel in player.reels]
        return _json({"speeds": SPEEDS, "scenes": shown})

    async def events(request: Request) -> Response:
        # A page that opens a stream itself cannot set the header.
        reader = request.headers.get("last-event-id") or request.query_params.get("since", "")
        stream = _events(player, Cursor.read(reader), pause)
        return StreamingResponse(stream, media_type="text/event-stream")

    async def command(request: Request) -> Response:
        if not guard.is_own_command(request.headers):
            return _refused("commands come from this server's own page")
        try:
            player.obey(Command.model_validate_json(await _body(request)))
        except (ValidationError, ValueError):
            return PlainTextResponse("not a command", status_code=400)
        return _json(player.clock())

    return Starlette(
        routes=[
            Route("/", page),
            Route("/scenes", scenes),
            Route("/events", events),
            Route("/clock", command, methods=["POST"]),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(_Door, guard=guard)],
    )


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_COMMAND_BYTES:
            raise ValueError("too long")
    return body


async def _events(player: Player, reader: Cursor, pause: Pause) -> AsyncIterator[bytes]:
    """A message per period: the clock, the frames of this moment, the points that `reader` lacks.

    Each is made when the one before has been taken.
    """
    while True:
        now = player.cursor()
        yield _message(player, player.known_to(reader), now)
        reader = now
        await pause(PERIOD_S)


def _message(player: Player, known: Sequence[int], now: Cursor) -> bytes:
    runs = [
        {
            "fresh": last < 0,
            "points": reel.points[last + 1 : place + 1],
            "frame": orjson.Fragment(reel.encoded[place]) if place >= 0 else None,
            "problem": reel.problem,
        }
        for reel, last, place in zip(player.reels, known, now.places, strict=True)
    ]
    data = orjson.dumps({"clock": player.clock(), "runs": runs})
    return b"id: %s\ndata: %s\n\n" % (str(now).encode(), data)


class _Door:
    """Before anything else: Host, token, and the headers that every answer carries."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        answer = self._answer(HTTPConnection(scope))

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                named = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *named]
            await send(message)

        await (answer or self._app)(scope, receive, with_headers)
        return None

    def _answer(self, asked: HTTPConnection) -> Response | None:
        """Who is not let in gets it; and who brings the token in the URL, a cookie instead."""
        host = asked.headers.get("host", "")
        if not self._guard.knows_host(host):
            return _refused("unknown host")
        if self._guard.token is None:
            return None
        cookie = f"nginy-{urlsplit(f'//{host}').port or 80}"  # cookies know no ports
        if asked.url.path == "/" and self._guard.knows_token(asked.query_params.get("token")):
            answer = RedirectResponse("/", status_code=303)
            answer.set_cookie(cookie, self._guard.token, httponly=True, samesite="strict")
            return answer
        if self._guard.knows_token(asked.cookies.get(cookie)):
            return None
        return _refused("the printed URL has the token that is needed here")


def _json(content: object) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")


def _refused(why: str) -> Response:
    return PlainTextResponse(why, status_code=403)
