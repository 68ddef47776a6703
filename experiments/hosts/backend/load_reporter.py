"""Pushes load reports to the balancer: JSON lines over TCP, reconnecting for as long as it runs."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import orjson

from experiments.hosts.process import HostPort

INTERVAL_S = 0.5
_CONNECT_TIMEOUT_S = 2.0


async def push_reports(
    to: HostPort, report: Callable[[], dict[str, Any]], interval_s: float = INTERVAL_S
) -> None:
    """Send `report()` to `to` every `interval_s`; never returns.

    A report that cannot be sent is dropped: the next one is about a later moment anyway.
    """
    while True:
        began_s = asyncio.get_running_loop().time()
        with contextlib.suppress(OSError, TimeoutError):
            _, writer = await asyncio.wait_for(
                asyncio.open_connection(*to), min(interval_s, _CONNECT_TIMEOUT_S)
            )
            await _push(writer, report, interval_s)
        elapsed_s = asyncio.get_running_loop().time() - began_s
        await asyncio.sleep(max(0.0, interval_s - elapsed_s))


async def _push(
    writer: asyncio.StreamWriter, report: Callable[[], dict[str, Any]], interval_s: float
) -> None:
    """Until the connection breaks; then OSError."""
    try:
        while True:
            writer.write(orjson.dumps(report(), option=orjson.OPT_APPEND_NEWLINE))
            await writer.drain()
            await asyncio.sleep(interval_s)
    finally:
        writer.close()
