"""Where a running process says what it does: one JSON document per connection to a Unix socket.

Nothing is read from who connects. Whatever is wrong with the socket is a warning: a balancer serves
its clients, whether or not somebody can ask it how.
"""

import asyncio
import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import logging
import os
import socket
import stat
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from nginy.engine.loop_lag import LoopLag
from nginy.traffic.ledger import Ledger
from nginy.traffic.rule import RunningRule
from nginy.traffic.status import RuleStatus, Status, status_in_slices

log = logging.getLogger(__name__)

SCHEMA_VERSION = 2
OFF = "off"
MOST_READERS = 16
"""At a time; one more waits until another one has all, or was dropped."""
NAME_DIGITS = 16
"""Of a socket's name, hexadecimal."""
SEND_TIMEOUT_S = 5.0
"""A reader that has not taken its document after this is dropped."""
LOCK_TIMEOUT_S = 1.0
PREDECESSOR_S = 2.0
"""A process whose listening sockets were taken over has closed its own by then."""
RETRY_S = 0.05
ENCODED_AT_ONCE = 500
"""Backends, about 0.5 ms."""


class _NotOurs(OSError):
    """The path is taken, by something that is to stay."""


def default_folder(uid: int, environ: Mapping[str, str]) -> Path:
    """Where sockets are unless `status_socket` says otherwise: only the user can write there."""
    if uid == 0:
        return Path("/run/nginy")
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    return Path(runtime, "nginy") if runtime.startswith("/") else Path(f"/tmp/nginy-{uid}")


def default_path(config_path: Path) -> Path:
    """The socket of the process that this user runs with this configuration file."""
    name = hashlib.sha256(os.fsencode(os.path.abspath(config_path))).hexdigest()[:NAME_DIGITS]
    return default_folder(os.getuid(), os.environ) / f"{name}.sock"


def socket_path(setting: str | None, config_path: Path) -> Path | None:
    """What the setting `status_socket` of this file means; None: no socket."""
    if setting is None:
        return default_path(config_path)
    return None if setting == OFF else Path(setting)


class StatusSocket:
    """Serves the status of `rules`, from `open` until `close`."""

    def __init__(
        self, path: Path | None, rules: Sequence[RunningRule], ledger: Ledger, lag: LoopLag
    ) -> None:
        """`path` None: nothing is served."""
        self._lag = lag
        self._started_at = datetime.now(UTC).isoformat(timespec="microseconds")
        self._started_s = time.monotonic()
        self._path = path
        self._rules = rules
        self._ledger = ledger
        self._listener: socket.socket | None = None
        self._inode: tuple[int, int] | None = None
        """Of our socket, by which it is known again."""
        self._accepting: asyncio.Task[None] | None = None
        self._answering: set[asyncio.Task[None]] = set()

    @property
    def readers(self) -> int:
        """How many are being answered."""
        return len(self._answering)

    async def open(self, *, wait: bool = False) -> None:
        """Serve, if that is possible; else say why not.

        `wait`: a predecessor is about to leave its own.
        """
        path = self._path
        if path is None:
            return
        tries = round(PREDECESSOR_S / RETRY_S) if wait else 0
        listener = None
        try:
            for left in range(tries, -1, -1):
                if (listener := await self._opened(path, last=not left)) is not None:
                    break
                await asyncio.sleep(RETRY_S)  # the other process tells nobody when it closes it
        except OSError as error:
            log.warning(
                "status is not served at %s: %s; give status_socket another path, or %s",
                path,
                error.strerror or error,
                OFF,
            )
            return
        assert listener is not None, "the last try raises"
        log.info("status: %s", path)
        self._accepting = asyncio.create_task(self._accept(listener))

    async def _opened(self, path: Path, *, last: bool) -> socket.socket | None:
        """None if another process has it yet; if this is the last try, OSError says so."""
        private = path.parent == default_folder(os.getuid(), os.environ)
        if private:
            _make_private(path.parent)
        try:
            async with _locked(path.parent):
                if private:
                    _remove_strays(path.parent)
                self._listener = _listen(path)
                self._inode = _inode(path)
        except _NotOurs:
            if last:
                raise
        return self._listener

    async def close(self) -> None:
        """Serve no more; the socket goes, unless another one has taken its place."""
        tasks = [*self._answering, *([self._accepting] if self._accepting else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._listener is None or self._path is None:
            return
        with contextlib.suppress(OSError):
            if _inode(self._path) == self._inode:
                self._path.unlink()
        self._listener.close()
        self._listener = None

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                reader, _ = await loop.sock_accept(listener)
            except OSError as error:  # no descriptor left
                log.warning("a status was not given: %s", error)
                await asyncio.sleep(1.0)
                continue
            task = asyncio.create_task(self._answer(reader))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
            if len(self._answering) >= MOST_READERS:
                await asyncio.wait(self._answering, return_when=asyncio.FIRST_COMPLETED)

    async def _answer(self, reader: socket.socket) -> None:
        with reader:
            reader.setblocking(False)
            try:
                document = await self._document()
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await asyncio.get_running_loop().sock_sendall(reader, document)
            except OSError as error:  # it has gone, or does not read
                log.debug("a status was not taken: %s", error)
            except Exception:
                log.exception("a status was not given by a fault of nginy")

    async def _document(self) -> bytes:
        """As JSON: the fields of `Status`, when this process started (by which a reader knows that
        it is another one, whose counts began anew) and how long before the snapshot, and the event
        loop's lag of the last minute."""
        now = time.monotonic()
        snapshot = await self._snapshot(now)
        lag = self._lag.figure(now)
        rules = [orjson.Fragment(await _encoded_rule(rule)) for rule in snapshot.rules]
        process = {
            "schema_version": SCHEMA_VERSION,
            "started_at": self._started_at,
            "uptime_s": round(now - self._started_s, 6),
            "loop_lag": None if lag is None else lag._asdict(),
        }
        return orjson.dumps(process | _fields(snapshot) | {"rules": rules})

    async def _snapshot(self, now: float) -> Status:
        slices = status_in_slices(self._rules, self._ledger, now)
        while True:
            try:
                next(slices)
            except StopIteration as end:
                snapshot: Status = end.value
                return snapshot
            await asyncio.sleep(0)


async def _encoded_rule(rule: RuleStatus) -> bytes:
    pieces = []
    for start in range(0, len(rule.backends), ENCODED_AT_ONCE):
        pieces.append(orjson.dumps(rule.backends[start : start + ENCODED_AT_ONCE])[1:-1])
        await asyncio.sleep(0)
    backends = orjson.Fragment(b"[" + b",".join(pieces) + b"]")
    return orjson.dumps(_fields(rule) | {"backends": backends})


def _fields(one: Status | RuleStatus) -> dict[str, Any]:
    return {field.name: getattr(one, field.name) for field in dataclasses.fields(one)}


def _make_private(folder: Path) -> None:
    """Raises OSError if somebody else can write there."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o022
    if not private or found.st_uid != os.getuid():
        raise _NotOurs(f"{folder} is not a directory that only this user can write")


@contextlib.asynccontextmanager
async def _locked(folder: Path) -> AsyncIterator[None]:
    """Nobody else looks for a socket, removes or makes one there meanwhile.

    Otherwise two that start together both find a stale socket, and one removes the other's.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise _NotOurs(f"somebody else keeps {folder} locked") from None
            await asyncio.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def _listen(path: Path) -> socket.socket:
    """Raises OSError if that is not possible."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.setblocking(False)
        os.fchmod(listener.fileno(), 0o600)  # what bind makes has it from the start
        try:
            listener.bind(str(path))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            _remove_stale(path)
            listener.bind(str(path))
        listener.listen()
    except BaseException:
        listener.close()
        raise
    return listener


def _remove_strays(folder: Path) -> None:
    """What processes that were killed have left in the folder of our own."""
    for stray in folder.glob("[0-9a-f]" * NAME_DIGITS + ".sock"):
        with contextlib.suppress(OSError):  # served, or gone by now
            _remove_stale(stray)


def _remove_stale(path: Path) -> None:
    """Remove a socket that nobody serves. Raises OSError for anything else."""
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise _NotOurs("it exists and is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        found = probe.connect_ex(str(path))
    if found in (0, errno.EAGAIN):
        raise _NotOurs("another process serves it")
    if found != errno.ECONNREFUSED:
        raise OSError(found, os.strerror(found))
    path.unlink()


def _inode(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino
