"""Load reports on real sockets: backends are told apart, and none waits for another."""

import asyncio
import logging
import socket
import time
from typing import Any

import pytest

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.load import LoadReport, parse_report
from nginy.watch import load_listener
from nginy.watch.line_reader import LINES_AT_ONCE, LINES_PER_S
from nginy.watch.load_listener import (
    ACCEPTS_AT_ONCE,
    LONGEST_LINE_BYTES,
    MOST_PER_BACKEND,
    LoadListener,
)
from nginy.watch.reports import Reports
from tests.scenario.watch.event_loop import PATIENCE_S, hung_up, run, until

LINE = b'{"cpu": %d, "mem": 2, "net": 3, "io": 4}\n'


class Scene:
    """A listener for four backends at 127.0.0.2 to 127.0.0.5; two share the last address."""

    def __init__(self) -> None:
        hosts = {"b2": 2, "b3": 3, "b4": 4, "b5": 5, "b5-too": 5}
        self.backends = [
            Backend(backend_id, Address(f"127.0.0.{last}", 80))
            for backend_id, last in hosts.items()
        ]
        self.delivered: list[tuple[str, float]] = []
        self.reports = Reports([self])  # type: ignore[list-item]
        self.reports.know(self.backends)
        self.listener = self.another(Address("127.0.0.1", 0))
        self._writers: list[asyncio.StreamWriter] = []

    def another(self, address: Address) -> LoadListener:
        return LoadListener(address, self.reports.find, self.reports.deliver)

    def reported(self, backend: Backend, report: LoadReport, now: float) -> None:
        assert abs(now - time.monotonic()) < PATIENCE_S
        self.delivered.append((backend.id, report.cpu_pct))

    async def __aenter__(self) -> "Scene":
        await self.listener.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for writer in self._writers:
            writer.close()
        self.listener.close()

    async def connect(self, last: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(
            *self.listener.address, local_addr=(f"127.0.0.{last}", 0)
        )
        self._writers.append(writer)
        return reader, writer


def test_one_is_silent_one_talks_nonsense_one_reports() -> None:
    # The original project awaited one reporter at a time: the others were not heard.
    async def scene() -> None:
        async with Scene() as s:
            _, silent = await s.connect(2)
            silent.write(b'{"cpu"')
            _, garbage = await s.connect(3)
            garbage.write(b"GET / HTTP/1.1\r\n\r\n\xff\xfe\n" * 100)
            _, good = await s.connect(4)
            for cpu in range(5):
                good.write(LINE % cpu)
            await until(lambda: len(s.delivered) == 5)
            assert s.delivered == [("b4", cpu) for cpu in range(5)]
            garbage.write(LINE % 77)
            await until(lambda: ("b3", 77.0) in s.delivered)
            silent.write(b': 9, "mem": 2, "net": 3, "io": 4}\n')
            await until(lambda: ("b2", 9.0) in s.delivered)

    run(scene())


def test_lines_may_come_in_pieces_and_many_at_once() -> None:
    async def scene() -> None:
        async with Scene() as s:
            _, writer = await s.connect(4)
            for byte in LINE % 1:
                writer.write(bytes([byte]))
                await writer.drain()
            writer.write(b"".join(LINE % cpu for cpu in range(2, 100)) + b"\r\n\n" + LINE % 100)
            await until(lambda: len(s.delivered) == 100)
            assert [cpu for _, cpu in s.delivered] == [float(cpu) for cpu in range(1, 101)]

    run(scene())


def test_an_id_tells_backends_of_one_address_apart_and_lies_are_not_believed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scene() -> None:
        async with Scene() as s:
            _, writer = await s.connect(5)
            writer.write(LINE % 1)
            writer.write((LINE % 2).replace(b"{", b'{"id": "b4", '))
            writer.write((LINE % 3).replace(b"{", b'{"id": "b5-too", '))
            await until(lambda: len(s.delivered) == 3)
            assert s.delivered == [("b5", 1.0), ("b5-too", 1.0), ("b5-too", 3.0)]

    with caplog.at_level(logging.WARNING):
        run(scene())
    assert "no backend 'b4'" in caplog.text


def test_strangers_are_shown_the_door(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        async with Scene() as s:
            for _ in range(5):
                reader, _ = await s.connect(9)
                await hung_up(reader)

    with caplog.at_level(logging.WARNING):
        run(scene())
    lines = [record.message for record in caplog.records if "127.0.0.9" in record.message]
    assert len(lines) == 1


def test_a_line_without_end_costs_its_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        async with Scene() as s:
            reader, endless = await s.connect(3)
            _, good = await s.connect(4)
            endless.write(b"x" * (LONGEST_LINE_BYTES + 1))
            await hung_up(reader)
            good.write(LINE % 1)
            await until(lambda: s.delivered == [("b4", 1.0)])

    with caplog.at_level(logging.WARNING):
        run(scene())
    assert f"a line of more than {LONGEST_LINE_BYTES} bytes" in caplog.text


def test_closing_ends_the_connections_and_frees_the_port() -> None:
    async def scene() -> None:
        s = Scene()
        async with s:
            reader, writer = await s.connect(4)
            writer.write(LINE % 1)
            await until(lambda: len(s.delivered) == 1)
            address = s.listener.address
            s.listener.close()
            await hung_up(reader)
        again = s.another(address)
        await again.start()
        with pytest.raises(OSError, match="in use"):
            await s.another(address).start()
        again.close()

    run(scene())


def test_a_host_that_connects_again_and_again_replaces_its_own_connections() -> None:
    async def scene() -> None:
        async with Scene() as s:
            other, other_writer = await s.connect(2)
            other_writer.write(LINE % 1)
            await until(lambda: len(s.delivered) == 1)
            first, first_writer = await s.connect(4)
            first_writer.write(LINE % 2)
            await until(lambda: len(s.delivered) == 2)
            for n in range(MOST_PER_BACKEND):
                _, writer = await s.connect(4)
                writer.write(LINE % (10 + n))
                await until(lambda n=n: ("b4", 10.0 + n) in s.delivered)  # type: ignore[misc]
            await hung_up(first)
            other_writer.write(LINE % 3)
            await until(lambda: ("b2", 3.0) in s.delivered)
            assert not other.at_eof()

    run(scene())


@pytest.mark.parametrize("line", [b"x\n", b"\n", LINE % 7, b'{"id": "nobody"}\n'])
def test_one_that_never_stops_holds_up_neither_the_others_nor_the_loop(line: bytes) -> None:
    """`yes x | nc` for 4 s left all traffic of all rules unanswered for over 16 s."""

    async def scene() -> None:
        async with Scene() as s:
            handled = 0

            def count(text: bytes) -> tuple[str | None, LoadReport]:
                nonlocal handled
                handled += 1
                return parse_report(text)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(load_listener, "parse_report", count)
                loop = asyncio.get_running_loop()
                began_at = loop.time()
                flood = b"".join([line] * (1_000_000 // len(line)))
                for last in (2, 2, 3):
                    (await s.connect(last))[1].write(flood)
                await asyncio.sleep(0)
                _, good = await s.connect(4)
                most_per_turn = 0
                good.write(LINE % 1)
                while ("b4", 1.0) not in s.delivered:
                    before = handled
                    await asyncio.sleep(0)
                    most_per_turn = max(most_per_turn, handled - before)
                granted = LINES_AT_ONCE + LINES_PER_S * (loop.time() - began_at)
            assert handled <= 3 * granted + 1
            assert most_per_turn <= 3 * LINES_AT_ONCE + 1

    run(scene())


def test_what_many_send_at_once_takes_a_fifth_of_the_time_in_short_turns() -> None:
    work_s, lines = 0.0005, 40

    async def scene() -> None:
        async with Scene() as s:
            reported = s.reported

            def slowly(backend: Backend, report: LoadReport, now: float) -> None:
                until_s = time.monotonic() + work_s
                while time.monotonic() < until_s:
                    pass
                reported(backend, report, now)

            s.reported = slowly  # type: ignore[method-assign]
            for last in (2, 3, 4, 4):
                (await s.connect(last))[1].write((LINE % 1) * (lines // 4))
            began_at, most_per_turn = time.monotonic(), 0
            while len(s.delivered) < lines:
                before = len(s.delivered)
                await asyncio.sleep(0)
                most_per_turn = max(most_per_turn, len(s.delivered) - before)
            assert most_per_turn <= 5  # 2 ms, and the one that is under way
            assert time.monotonic() - began_at > 3 * lines * work_s

    run(scene())


def test_one_that_is_too_fast_is_told_of_once_and_heard_in_order(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scene() -> None:
        async with Scene() as s:
            loop = asyncio.get_running_loop()
            began_at = loop.time()
            _, fast = await s.connect(4)
            fast.write(b"".join(LINE % (n % 100) for n in range(int(LINES_AT_ONCE) + 50)))
            await until(lambda: len(s.delivered) == LINES_AT_ONCE + 50)
            assert loop.time() - began_at > 40 / LINES_PER_S
            assert [cpu for _, cpu in s.delivered] == [float(n % 100) for n in range(250)]

    with caplog.at_level(logging.WARNING):
        run(scene())
    assert caplog.text.count("127.0.0.4: more than 100 lines per second") == 1


def test_a_flood_of_connections_is_accepted_a_few_at_a_time() -> None:
    async def scene() -> None:
        async with Scene() as s:
            accepted = 0
            enter = s.listener._enter

            def count(*args: Any) -> None:
                nonlocal accepted
                accepted += 1
                enter(*args)

            s.listener._enter = count  # type: ignore[method-assign]
            sockets = [socket.socket() for _ in range(5 * ACCEPTS_AT_ONCE)]
            try:
                for each in sockets:
                    each.setblocking(False)
                    each.connect_ex(s.listener.address)
                most_per_turn = 0
                while accepted < len(sockets):
                    before = accepted
                    await asyncio.sleep(0)
                    most_per_turn = max(most_per_turn, accepted - before)
            finally:
                for each in sockets:
                    each.close()
            assert most_per_turn == ACCEPTS_AT_ONCE

    run(scene())
