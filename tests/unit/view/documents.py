"""Status documents of rules at work, as the socket gives them."""

from typing import Any

import orjson

from nginy.errors import BackendError
from nginy.traffic.status import status
from tests.rules import Carrier, World

STARTED = "2026-01-01T00:00:00.000000+00:00"


def document(world: World, started_at: str = STARTED, began_s: float = 0.0) -> dict[str, Any]:
    """At the world's time; `began_s`: when its process started."""
    found: dict[str, Any] = orjson.loads(orjson.dumps(status(world.rules, world.ledger, world.now)))
    lag = {"p99_ms": 0.4, "max_ms": 2.0}
    own = {"started_at": started_at, "uptime_s": world.now - began_s, "loop_lag": lag}
    return found | own


def serve(world: World, count: int, up: int = 100, down: int = 1000) -> None:
    """So many connections that come and end."""
    for _ in range(count):
        carrier = Carrier(world)
        carrier.choose()
        world.now += 0.002
        carrier.reach()
        carrier.carry(up, down)
        carrier.close()


def fail(world: World, count: int) -> None:
    """So many attempts on one backend each that are refused."""
    for _ in range(count):
        carrier = Carrier(world)
        carrier.choose()
        carrier.fail(BackendError("refused", "ECONNREFUSED"))
