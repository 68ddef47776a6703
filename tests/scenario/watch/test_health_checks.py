"""Every kind of check against real sockets and programs on this machine."""

import asyncio
import contextlib
import errno
import os
import socket
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from nginy.address import Address
from nginy.config.pattern import Pattern, literal, regular_expression
from nginy.errors import BackendError
from nginy.watch.check import (
    LONGEST_ANSWER_BYTES,
    READS_IN_A_ROW,
    CheckImpossible,
    check_command,
    check_connect,
    check_tcp,
    check_udp,
    converse,
)
from tests.scenario.watch.event_loop import run, until
from tests.scenario.watch.small_servers import (
    closed_port,
    says,
    tcp_server,
    udp_server,
    unix_server,
)

OK = regular_expression(b"^OK")
PATIENT_S = 8.0
SHORT_S = 0.05


def fails_with(message: str, check: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def scene() -> None:
        with pytest.raises(BackendError, match=message):
            await check()

    run(scene())


# TCP


@pytest.mark.parametrize(
    ("send", "expect", "handler"),
    [
        (None, None, says(b"")),
        (None, OK, says(b"OK, and more", stay=True)),
        (b"PING\r\n", OK, says(b"OK", after=b"PING\r\n", stay=True)),
        (b"PING", None, says(b"", after=b"PING")),
        (None, literal(b"end"), says(b"x" * 16_000 + b"end")),
    ],
)
def test_a_tcp_check_passes(send, expect, handler) -> None:
    async def scene() -> None:
        async with tcp_server(handler) as address:
            await check_tcp(address, send, expect, PATIENT_S)

    run(scene())


def test_an_answer_in_pieces_is_put_together() -> None:
    async def spell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for letter in b"OK":
            await reader.readexactly(1)
            writer.write(bytes([letter]))
        writer.close()

    async def scene() -> None:
        async with tcp_server(spell) as address:
            await check_tcp(address, b"12", literal(b"OK"), PATIENT_S)

    run(scene())


def test_nobody_listens() -> None:
    fails_with("^Connection refused$", lambda: check_tcp(closed_port(), None, None, PATIENT_S))


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (says(b"ERR disk full"), "not the expected one: b'ERR disk full'$"),
        (says(b""), "not the expected one: b''$"),
        (says(b"y" * 100), r"b'y{40}'\.\.\. \(100 bytes\)$"),
        (says(b"y" * (LONGEST_ANSWER_BYTES + 1), stay=True), rf"\({LONGEST_ANSWER_BYTES} bytes\)$"),
    ],
)
def test_another_answer_than_expected(handler, message: str) -> None:
    async def check() -> None:
        async with tcp_server(handler) as address:
            await check_tcp(address, None, OK, PATIENT_S)

    fails_with(message, check)


def test_silence_where_an_answer_is_expected() -> None:
    async def check() -> None:
        async with tcp_server(says(b"", after=b"never", stay=True)) as address:
            await check_tcp(address, None, OK, SHORT_S)

    fails_with("^no answer within 50 ms$", check)


def test_a_handshake_that_does_not_end() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        address = Address(*full.getsockname())
        fails_with("^no answer within 50 ms$", lambda: check_tcp(address, None, None, SHORT_S))
        for filler in fillers:
            filler.close()


def test_a_unix_socket(tmp_path: Path) -> None:
    async def scene() -> None:
        async with unix_server(says(b"OK", after=b"?"), tmp_path / "web") as address:
            await check_tcp(address, b"?", OK, PATIENT_S)

    run(scene())
    missing = Address(str(tmp_path / "none"), 0)
    fails_with("^No such file", lambda: check_tcp(missing, None, None, PATIENT_S))


def test_a_unix_socket_with_a_full_queue(tmp_path: Path) -> None:
    """Its connect does not wait, and does not fail in the usual way either."""
    path = str(tmp_path / "full")
    with socket.socket(socket.AF_UNIX) as full:
        full.bind(path)
        full.listen(0)
        with socket.socket(socket.AF_UNIX) as filler:
            filler.connect(path)
            address = Address(path, 0)
            fails_with("queue of connections is full", lambda: check_tcp(address, None, None, 1.0))


def test_a_shortage_of_the_balancers_own_is_no_failure_of_the_backend(monkeypatch) -> None:
    def exhausted(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    async def scene() -> None:
        for kind in ("socket", "SocketType"):
            monkeypatch.setattr(socket, kind, exhausted)
        with pytest.raises(CheckImpossible):
            await check_tcp(Address("127.0.0.1", 1), None, None, PATIENT_S)
        with pytest.raises(CheckImpossible):
            await check_udp(Address("127.0.0.1", 1), b"?", None, PATIENT_S)
        monkeypatch.undo()

    run(scene())


def test_a_server_does_not_hear_of_a_plain_connect() -> None:
    """One that greets first was reset; MySQL counts that, and blocks the host."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = Address(*server.getsockname()[:2])
        for _ in range(3):
            run(check_connect(address, PATIENT_S))
        with socket.create_connection(address) as later:
            accepted, peer = server.accept()
            accepted.close()
            assert peer == later.getsockname()


def test_a_plain_connect_fails_as_others_do(tmp_path: Path) -> None:
    fails_with("^Connection refused$", lambda: check_connect(closed_port(), PATIENT_S))
    missing = Address(str(tmp_path / "none"), 0)
    fails_with("^No such file", lambda: check_connect(missing, PATIENT_S))
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as stack:
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        address = Address(*full.getsockname())
        fails_with("^no answer within 50 ms$", lambda: check_connect(address, SHORT_S))


def test_a_plain_connect_to_a_unix_socket(tmp_path: Path) -> None:
    async def scene() -> None:
        async with unix_server(says(b"hello"), tmp_path / "web") as address:
            await check_connect(address, PATIENT_S)

    run(scene())


@pytest.mark.parametrize("expect", [None, OK, literal(b"never")])
def test_a_server_that_says_more_than_it_is_asked_is_not_reset(expect: Pattern | None) -> None:
    ends: list[bytes | None] = []

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"OK hello")
            await writer.drain()
            await reader.readexactly(4)
            writer.write(b"more")
            await writer.drain()
            ends.append(await reader.read())
        except ConnectionError:
            ends.append(None)
        finally:
            writer.close()

    async def scene() -> None:
        async with tcp_server(greet) as address:
            with contextlib.suppress(BackendError):
                await check_tcp(address, b"PING", expect, 1.0)
            await until(lambda: bool(ends))

    run(scene())
    assert ends == [b""]


def test_an_answer_in_many_pieces_is_looked_through_a_few_times_only() -> None:
    looked = 0

    def found_in(answer: bytes) -> bool:
        nonlocal looked
        looked += 1
        return False

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            for _ in range(2_000):
                writer.write(b"x")
                await asyncio.sleep(0)
        writer.close()

    async def scene() -> None:
        async with tcp_server(drip) as address:
            answer = await converse(address, None, found_in, LONGEST_ANSWER_BYTES, PATIENT_S)
            assert answer == b"x" * 2_000

    run(scene())
    assert READS_IN_A_ROW < looked < 200


# UDP


def test_a_udp_answer_as_expected() -> None:
    async def scene() -> None:
        async with udp_server(lambda data: b"OK " + data) as address:
            await check_udp(address, b"?", regular_expression(rb"^OK \?$"), PATIENT_S)

    run(scene())


def test_another_udp_answer() -> None:
    async def check() -> None:
        async with udp_server(lambda data: b"no") as address:
            await check_udp(address, b"?", OK, PATIENT_S)

    fails_with("not the expected one: b'no'", check)


def test_udp_silence_passes_only_if_nothing_is_expected() -> None:
    async def check() -> None:
        async with udp_server(lambda data: None) as address:
            await check_udp(address, b"?", None, SHORT_S)
            await check_udp(address, b"?", OK, SHORT_S)

    fails_with("^no answer within 50 ms$", check)


@pytest.mark.parametrize("expect", [None, OK])
def test_a_udp_port_that_is_closed(expect: Pattern | None) -> None:
    address = closed_port(socket.SOCK_DGRAM)
    fails_with("^Connection refused$", lambda: check_udp(address, b"?", expect, PATIENT_S))


# Commands


def shell(script: str, address: Address = Address("192.0.2.1", 80), timeout_s: float = PATIENT_S):  # noqa: B008
    return check_command(["/bin/sh", "-c", script], "b1", address, timeout_s)


def test_a_command_is_told_what_to_check() -> None:
    async def scene() -> None:
        script = '[ "$NGINY_BACKEND $NGINY_HOST $NGINY_PORT" = "b1 192.0.2.1 80" ]'
        await shell(script)
        await shell('[ "$NGINY_HOST-$NGINY_PORT" = "/run/web-" ]', Address("/run/web", 0))
        await shell('[ -n "$PATH" ]')

    run(scene())


@pytest.mark.parametrize(
    ("script", "message"),
    [("exit 3", "^exit status 3$"), ("kill -9 $$", "^killed by signal 9$")],
)
def test_a_command_that_fails(script: str, message: str) -> None:
    fails_with(message, lambda: shell(script))


def test_a_command_that_cannot_be_run() -> None:
    fails_with(
        "^No such file", lambda: check_command(["/nowhere/check"], "b", Address("::1", 1), 1.0)
    )


def test_a_command_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    slow = f"sleep 600 & echo $! $$ > {pids}; wait"
    fails_with("^no answer within 500 ms$", lambda: shell(slow, timeout_s=0.5))
    for pid in pids.read_text().split():
        _wait_for_end(int(pid))


def test_a_check_that_is_cancelled_kills_its_command(tmp_path: Path) -> None:
    pids = tmp_path / "pids"

    async def scene() -> None:
        script = f"sleep 600 & echo $! $$ > {pids}.new; mv {pids}.new {pids}; wait"
        task = asyncio.create_task(shell(script))
        await until(pids.exists)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(scene())
    for pid in pids.read_text().split():
        _wait_for_end(int(pid))


def test_a_command_has_neither_input_nor_output(capfd) -> None:
    async def scene() -> None:
        await check_command(
            [sys.executable, "-c", "print('noise'); assert not open(0).read()"],
            "b1",
            Address("192.0.2.1", 80),
            PATIENT_S,
        )

    run(scene())
    assert capfd.readouterr() == ("", "")


def _wait_for_end(pid: int) -> None:
    """Its parent may be some reaper that takes its time: a zombie has ended."""

    async def scene() -> None:
        await until(lambda: _ended(pid))

    run(scene())


def _ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True
