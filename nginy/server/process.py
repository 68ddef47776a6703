"""What one balancer process is to its operating system: event loop, signals, descriptor limit."""

import asyncio
import contextlib
import gc
import logging
import random
import resource
import signal
from collections.abc import Iterator

import uvloop

from nginy.config.model import Config
from nginy.server.server import Server

log = logging.getLogger(__name__)


def run(config: Config, seed: int | None) -> None:
    """Serve `config` until SIGTERM or SIGINT. Raises ListenError or AccessLogError if
    it cannot start.

    `seed` makes the algorithms that draw lots repeatable; None: different each time.
    """
    raise_descriptor_limit()
    uvloop.run(_serve(config, random.Random(seed)))


def raise_descriptor_limit() -> None:
    """As many descriptors as we may have: a connection takes two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    log.debug("open files: %d allowed, %d before", hard, soft)


async def _serve(config: Config, rng: random.Random) -> None:
    server = Server(config, rng)
    _relieve_collector()
    with _signals_stop(server):
        await server.run()


def _relieve_collector() -> None:
    """A connection leaves no reference cycle, so cyclic garbage is rare, and what exists now stays.

    Without this, the collector took 2.5 % of the time at the highest rate of new connections.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@contextlib.contextmanager
def _signals_stop(server: Server) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    stopping = (signal.SIGTERM, signal.SIGINT)
    for number in stopping:
        loop.add_signal_handler(number, server.stop)
    try:
        yield
    finally:
        for number in stopping:
            loop.remove_signal_handler(number)
