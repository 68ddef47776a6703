"""The page's server: static files, the scene, a stream of frames, and one place for commands.

Every reader is served from one list of frames, by how far it has come: a new one gets all points so
far (at most `frame.MOST_FRAMES`), a late one what it lacks, and a slow one, whose message before is
still on its way, misses nothing but the frames in between. So nothing ever queues.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import orjson
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from experiments.live.frame import Scene
from experiments.live.player import SPEEDS, Command, Cursor, Player
from experiments.plan.click import Click, read_click
from nginy.view.door import Door, refused
from nginy.view.guard import Guard

STATIC = Path(__file__).parent / "static"
SHARED = ("nginy.view", "static")
"""What the page has in common with that of `nginy web`."""
PERIOD_S = 0.25
MOST_COMMAND_BYTES = 1000

Pause = Callable[[float], Awaitable[None]]


Faults = Callable[[Click], None]


def application(
    player: Player, guard: Guard, *, pause: Pause = asyncio.sleep, faults: Faults | None = None
) -> Starlette:
    """The page of one player. `pause`: how the stream waits between frames; `faults`: hands one on
    to the run that is being made."""

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
            return refused("commands come from this server's own page")
        try:
            player.obey(Command.model_validate_json(await _body(request)))
        except (ValidationError, ValueError):
            return PlainTextResponse("not a command", status_code=400)
        return _json(player.clock())

    async def fault(request: Request) -> Response:
        if not guard.is_own_command(request.headers):
            return refused("commands come from this server's own page")
        if faults is None or not player.live:
            return PlainTextResponse("no run is being made here", status_code=409)
        try:
            asked = read_click(await _body(request))
            _check_there(asked, player.reels[0].scene)
        except ValueError as error:
            return PlainTextResponse(str(error), status_code=400)
        faults(asked)
        return _json({"asked": asked.model_dump()})

    return Starlette(
        routes=[
            Route("/", page),
            Route("/scenes", scenes),
            Route("/events", events),
            Route("/clock", command, methods=["POST"]),
            Route("/faults", fault, methods=["POST"]),
            Mount("/static", StaticFiles(directory=STATIC, packages=[SHARED])),
        ],
        middleware=[Middleware(Door, guard=guard)],
    )


def _check_there(asked: Click, scene: Scene) -> None:
    """Raises ValueError for somebody who is not in this network.

    Whether it can be done now only the run knows; what it refuses is among what happened.
    """
    names = [host.name for host in scene.hosts if host.role in ("client", "backend")]
    if asked.subject not in names:
        raise ValueError(f"unknown host {asked.subject}; there are: {', '.join(names)}")


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


def _json(content: object) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")
