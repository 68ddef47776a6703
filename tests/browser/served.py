"""The page's server in this process, where a test can stop it and see who reads."""

import threading
import time
from collections.abc import Callable, Sequence

import uvicorn
from starlette.types import Receive, Scope, Send

from experiments.live.player import Player
from experiments.live.reel import Reel
from experiments.live.server import application
from experiments.plan.click import Click
from nginy.view.guard import Guard


class Served:
    """Serves from its making until `stop`."""

    def __init__(
        self,
        reels: Sequence[Reel],
        *,
        name: str,
        port: int = 0,
        speed: int = 1,
        faults: Callable[[Click], None] | None = None,
    ) -> None:
        self.player = Player(reels, time.monotonic, name=name, speed=speed)
        self.streams = 0
        self._app = application(self.player, Guard.at("127.0.0.1"), faults=faults)
        config = uvicorn.Config(
            self._counted,
            interface="asgi3",
            port=port,
            log_level="error",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        deadline_s = time.monotonic() + 10
        while not self._server.started:
            assert time.monotonic() < deadline_s
            assert self._thread.is_alive()
            time.sleep(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        stream = scope.get("path") == "/events"
        self.streams += stream
        try:
            await self._app(scope, receive, send)
        finally:
            self.streams -= stream

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()
