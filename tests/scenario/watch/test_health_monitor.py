"""What checks do with a backend, asked by hand and left to their schedule."""

import asyncio
import random
from pathlib import Path

import pytest

from nginy.address import Address
from nginy.backend.pool import make_backend
from nginy.backend.wishes import Admin, Origin
from nginy.watch import watch as watch_module
from nginy.watch.check import CheckImpossible
from nginy.watch.watch import Watch
from tests.scenario.watch.event_loop import run, until
from tests.scenario.watch.monitored import FAST, Switch, checked, levels, logged, settings
from tests.scenario.watch.small_servers import closed_port, says, tcp_server


def test_it_falls_and_rises_and_says_so_once(caplog) -> None:
    switch = Switch()
    backend, monitor = checked(switch.address, rise=2, fall=3)

    async def scene() -> None:
        seen = []
        for listening, times in ((True, 2), (False, 4), (True, 3)):
            (switch.on if listening else switch.off)()
            for _ in range(times):
                await monitor.check_once()
                seen.append(backend.healthy)
        assert seen == [True] * 4 + [False] * 3 + [True] * 2
        switch.off()

    run(scene())
    assert logged(caplog) == [
        "backend b1: down after 3 failed checks: Connection refused",
        "backend b1: up after 2 passed checks",
    ]
    assert levels(caplog) == ["WARNING", "INFO"]


@pytest.mark.parametrize(("initial", "passed"), [("up", False), ("down", True)])
def test_the_first_check_alone_decides(initial: str, passed: bool, caplog) -> None:
    async def scene() -> None:
        async with tcp_server(says(b"")) as listening:
            address = listening if passed else closed_port()
            backend, monitor = checked(address, initial=initial, rise=9, fall=9)
            assert backend.healthy is (initial == "up")
            await monitor.check_once()
            assert backend.healthy is passed

    run(scene())
    verdict = (
        "up after 1 passed check" if passed else "down after 1 failed check: Connection refused"
    )
    assert logged(caplog) == [f"backend b1: {verdict}"]


def test_another_port_is_checked(caplog) -> None:
    async def scene() -> None:
        async with tcp_server(says(b"")) as listening:
            backend, monitor = checked(closed_port(), port=listening.port, initial="down")
            await monitor.check_once()
            assert backend.healthy

    run(scene())


def test_who_is_in_maintenance_is_not_checked_and_starts_anew_afterwards() -> None:
    connections = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    async def scene() -> None:
        async with tcp_server(count) as address:
            backend, monitor = checked(address, rise=9, fall=9, initial="down", send="?")
            backend.set_admin(Admin.DOWN, 0.0, Origin.FILE)
            for _ in range(3):
                await monitor.check_once()
            backend.set_admin(Admin.READY, 0.0, Origin.FILE)
            await monitor.check_once()
            await until(lambda: connections == 1)
            assert backend.healthy

    run(scene())


def test_a_check_that_cannot_be_made_changes_nothing(monkeypatch, caplog) -> None:
    async def impossible() -> None:
        raise CheckImpossible("Too many open files")

    async def scene() -> None:
        backend, monitor = checked(closed_port(), fall=1)
        monkeypatch.setattr(monitor, "_check", impossible)
        await monitor.check_once()
        assert backend.healthy

    run(scene())
    assert logged(caplog) == ["backend b1 not checked: Too many open files"]


def test_a_fault_of_a_check_does_not_end_the_checks(monkeypatch, caplog) -> None:
    async def faulty() -> None:
        raise ZeroDivisionError

    async def scene() -> None:
        backend, monitor = checked(closed_port(), initial="up", fall=1)
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(monitor, "_check", faulty)
            await monitor.check_once()
        assert backend.healthy
        await monitor.check_once()
        assert not backend.healthy

    run(scene())
    assert "ZeroDivisionError" in caplog.text


def test_checks_go_on_by_schedule_never_two_at_once_until_removed() -> None:
    state = {"now": 0, "most": 0, "all": 0}

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state["now"] += 1
        state["all"] += 1
        state["most"] = max(state["most"], state["now"])
        await asyncio.sleep(0.03)
        state["now"] -= 1
        writer.write(b"OK")
        writer.close()

    async def scene() -> None:
        async with tcp_server(slow) as address:
            given = settings(address, health_check={**FAST, "expect": "OK"})
            watch = Watch(random.Random(1))
            backend = make_backend(given)
            watch.add(backend, given, 0.0, new=False)
            await until(lambda: state["all"] >= 5)
            watch.remove(backend)
            await watch.close()
            assert not [task for task in asyncio.all_tasks() if "Monitor" in repr(task.get_coro())]
            assert state["most"] == 1

    run(scene())


def test_only_so_many_checks_are_under_way_at_once_and_everybody_has_a_turn(monkeypatch) -> None:
    now = most = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await reader.read(1)
        await asyncio.sleep(0.005)
        now -= 1
        writer.write(b"ERR")
        writer.close()

    async def scene() -> None:
        monkeypatch.setattr(watch_module, "MOST_CHECKS", 2)
        async with tcp_server(count) as address:
            asked = {**FAST, "send": "?", "expect": "OK", "fall": 1}
            given = settings(address, health_check=asked)
            watch = Watch(random.Random(1))
            backends = [make_backend(given) for _ in range(9)]
            for backend in backends:
                watch.add(backend, given, 0.0, new=False)
            await until(lambda: not any(backend.healthy for backend in backends))
            await watch.close()

    run(scene())
    assert most == 2


def test_a_removed_backend_is_left_alone_while_a_command_runs(tmp_path: Path) -> None:
    started = tmp_path / "started"

    async def scene() -> None:
        command = ["/bin/sh", "-c", f"touch {started}; sleep 600"]
        check = {**FAST, "type": "command", "command": command}
        given = settings(Address("192.0.2.1", 80), health_check=check)
        watch = Watch(random.Random(1))
        backend = make_backend(given)
        watch.add(backend, given, 0.0, new=False)
        await until(started.exists)
        watch.remove(backend)
        await watch.close()
        assert backend.healthy

    run(scene())


def test_a_backend_that_the_file_has_down_is_not_watched() -> None:
    async def scene() -> None:
        given = settings(
            closed_port(), down=True, health_check=FAST, agent_check={**FAST, "port": 1}
        )
        watch = Watch(random.Random(1))
        before = asyncio.all_tasks()
        watch.add(make_backend(given), given, 0.0, new=False)
        assert asyncio.all_tasks() == before
        await watch.close()

    run(scene())


def test_one_that_came_at_run_time_starts_slowly_with_its_first_passed_check() -> None:
    async def scene() -> None:
        async with tcp_server(says(b"")) as address:
            check = {**FAST, "initial": "down"}
            slow = {"duration_s": 1000.0, "floor_pct": 10}
            given = settings(address, weight=10, health_check=check, slow_start=slow)
            watch = Watch(random.Random(1))
            old, new = make_backend(given), make_backend(given)
            watch.add(old, given, 0.0, new=False)
            watch.add(new, given, 0.0, new=True)
            await until(lambda: old.healthy and new.healthy)
            assert (old.share, new.share) == (1000, 100)
            await watch.close()

    run(scene())


def test_the_last_checks_words_are_kept(monkeypatch) -> None:
    async def impossible() -> None:
        raise CheckImpossible("Too many open files")

    async def scene() -> None:
        switch = Switch()
        backend, monitor = checked(switch.address)
        assert backend.last_check is None
        await monitor.check_once()
        refused = backend.last_check
        assert refused is not None
        assert (refused.passed, refused.words) == (False, "Connection refused")
        switch.on()
        await monitor.check_once()
        passed = backend.last_check
        assert (passed.passed, passed.words) == (True, "")
        assert refused.ended_at <= passed.ended_at - passed.duration_s
        monkeypatch.setattr(monitor, "_check", impossible)
        await monitor.check_once()
        impossible_one = backend.last_check
        assert (impossible_one.passed, impossible_one.words) == (None, "Too many open files")
        switch.off()

    run(scene())
