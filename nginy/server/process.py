"""What one balancer process is to its operating system: event loop, signals, descriptor limit."""

import asyncio
import contextlib
import fcntl
import gc
import logging
import os
import random
import resource
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import uvloop

from nginy.config.model import Config
from nginy.server.server import Server
from nginy.server.sockets import given_sockets

log = logging.getLogger(__name__)

WITHOUT_A_MEANING = (signal.SIGUSR2, signal.SIGQUIT, signal.SIGALRM)
"""Their default would end every connection at once; other servers give them a meaning."""
MOST_DESCRIPTORS_AHEAD = 65_536
"""Half a megabyte of the kernel's."""
ANSWERED = (signal.SIGHUP, signal.SIGUSR1, *WITHOUT_A_MEANING)
"""Those that end nothing."""


def run(config: Config, seed: int | None, status_path: Path | None) -> None:
    """Serve `config` until SIGTERM or SIGINT. Raises ListenError or AccessLogError if
    it cannot start.

    `seed` makes the algorithms that draw lots repeatable; None: different each time.
    `status_path`: the Unix socket that `nginy status` asks; None: none.
    """
    raise_descriptor_limit()
    seed = random.getrandbits(64) if seed is None else seed
    uvloop.run(_serve(config, seed, status_path))


def open_standard_descriptors() -> None:
    """Lead 0, 1 and 2 nowhere if they are closed: libuv aborts the process if it is given one."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def hold_signals() -> None:
    """Let the signals that end nothing wait until they can be answered: while a large file is
    read and while the last log lines are written, their default would end the process."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ANSWERED)


def raise_descriptor_limit() -> None:
    """As many descriptors as we may have: a connection takes two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    log.debug("open files: %d allowed, %d before", hard, soft)
    _enlarge_descriptor_table(hard)


def _enlarge_descriptor_table(limit: int) -> None:
    """At once to what may be wanted: the kernel doubles it as it fills, and with more than one
    thread waits for a grace period of RCU each time (expand_fdtable in fs/file.c). In a crowd of
    arrivals that held everybody up for 10 to 15 ms, six times."""
    last = min(limit, MOST_DESCRIPTORS_AHEAD) - 1
    with contextlib.suppress(OSError):
        os.close(fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, last))


async def _serve(config: Config, seed: int, status_path: Path | None) -> None:
    server = Server(config, seed, status_path, given_sockets(os.environ))
    _relieve_collector()
    with _signals_handled(server):
        await server.run()


def pause_collector() -> None:
    """While a file is read and its rules are made nearly all that is made stays: the collector
    would look at it again and again, 0.6 s of 2.3 with 10 000 rules. See
    `_relieve_collector`."""
    gc.disable()


def _relieve_collector() -> None:
    """A connection leaves no reference cycle, so cyclic garbage is rare, and what exists now stays.

    Without this, the collector took 2.5 % of the time at the highest rate of new connections.
    """
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@contextlib.contextmanager
def _signals_handled(server: Server) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    handlers: dict[signal.Signals, Callable[[], None]] = {
        signal.SIGTERM: partial(server.stop, hand_over=True),
        signal.SIGINT: server.stop,
        signal.SIGUSR1: server.reopen_access_log,
        signal.SIGHUP: _refuse_reload,
        **{number: partial(_ignore, number) for number in WITHOUT_A_MEANING},
    }
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ANSWERED)
    try:
        yield
    finally:
        hold_signals()
        for number in handlers:
            loop.remove_signal_handler(number)


def _refuse_reload() -> None:
    """Elsewhere SIGHUP means "reload"; its default would end every connection at once."""
    log.warning("SIGHUP: this version cannot reload its configuration; still serving the old one")


def _ignore(number: signal.Signals) -> None:
    log.warning(
        "%s: means nothing here; SIGTERM stops, SIGUSR1 opens the access log again", number.name
    )
