"""Between a page's server and whoever asks it: where it listens, who is let in, what every answer
carries. Of `nginy web` and of the testbed's demo."""

import socket
from urllib.parse import urlsplit

import uvicorn
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nginy.view.guard import HEADERS, Guard

PORTS_TRIED = 20
MOST_CONNECTIONS = 100
"""At a time; one more is told that it is too many (503)."""


def listen(address: str, port: int) -> socket.socket:
    """At that port, or the next one that is free. Raises OSError, with the place in words."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    last = min(port + PORTS_TRIED, 65_536) - 1
    problem = "no port"
    for candidate in range(port, last + 1):
        door = socket.socket(family)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((address, candidate))
            door.listen()
        except OSError as error:
            door.close()
            problem = error.strerror or str(error)
            continue
        return door
    raise OSError(f"{address}, ports {port} to {last}: {problem}")


def url(door: socket.socket, guard: Guard) -> str:
    """What to open, with the token where one is needed."""
    host, port = door.getsockname()[:2]
    named = f"[{host}]" if ":" in host else host
    token = "" if guard.token is None else f"?token={guard.token}"
    return f"http://{named}:{port}/{token}"


async def serve(application: ASGIApp, door: socket.socket) -> None:
    """Until SIGINT or SIGTERM, which is then raised again."""
    config = uvicorn.Config(
        application,
        log_level="critical",
        proxy_headers=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=1,
    )
    await uvicorn.Server(config).serve(sockets=[door])


class Door:
    """Before anything else: Host, token, and the headers that every answer carries."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        """In front of `app`."""
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
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
            return refused("unknown host")
        if self._guard.token is None:
            return None
        cookie = f"nginy-{urlsplit(f'//{host}').port or 80}"  # cookies know no ports
        if asked.url.path == "/" and self._guard.knows_token(asked.query_params.get("token")):
            answer = RedirectResponse("/", status_code=303)
            answer.set_cookie(cookie, self._guard.token, httponly=True, samesite="strict")
            return answer
        if self._guard.knows_token(asked.cookies.get(cookie)):
            return None
        return refused("the printed URL has the token that is needed here")


def refused(why: str) -> Response:
    """To whoever may not."""
    return PlainTextResponse(why, status_code=403)
