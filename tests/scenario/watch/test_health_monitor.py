"""What checks and agents do with a backend, asked by hand and left to their schedule."""

import asyncio
import random
import socket
from pathlib import Path

import pytest

from nginy.address import Address
from nginy.backend.backend import Backend, Obstacle
from nginy.backend.health import make_health
from nginy.backend.pool import make_backend
from nginy.backend.wishes import Admin, Origin
from nginy.config.schema import BackendSettings
from nginy.watch import watch as watch_module
from nginy.watch.check import CheckImpossible
from nginy.watch.health_monitor import AgentMonitor, HealthMonitor
from nginy.watch.watch import Watch
from tests.scenario.watch.event_loop import run, until
from tests.scenario.watch.small_servers import closed_port, says, tcp_server

FAST = {"interval_s": 0.01, "timeout_s": 5.0}


def settings(address: Address, **more: object) -> BackendSettings:
    return BackendSettings.model_validate({"id": "b1", "address": address, **more})


def checked(address: Address, **check: object) -> tuple[Backend, HealthMonitor]:
    given = settings(address, health_check={"timeout_s": 5.0, **check})
    backend = make_backend(given)
    assert given.health_check is not None
    health = make_health(given)
    return backend, HealthMonitor(backend, health, given.health_check, random.Random(1), new=False)


@pytest.fixture(autouse=True)
def _log_level(caplog) -> None:
    caplog.set_level("DEBUG", logger="nginy")


def logged(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("nginy")]


def levels(caplog) -> list[str]:
    return [record.levelname for record in caplog.records if record.name.startswith("nginy")]


class Switch:
    """A port that is listened to or not."""

    def __init__(self) -> None:
        self.address = closed_port()
        self._server: socket.socket | None = None

    def on(self) -> None:
        self._server = socket.create_server(self.address)

    def off(self) -> None:
        if self._server is not None:
            self._server.close()


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


# Agents


class Agent:
    """Answers every connection with `line`."""

    def __init__(self) -> None:
        self.line = b""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.line)
        writer.close()


def with_agent(address: Address, agent_port: int, **more: object) -> tuple[Backend, AgentMonitor]:
    agent = {"port": agent_port, "timeout_s": 5.0, **more.pop("agent", {})}  # type: ignore[dict-item]
    given = settings(address, agent_check=agent, **more)
    backend = make_backend(given)
    assert given.agent_check is not None
    monitor = AgentMonitor(backend, make_health(given), given.agent_check, random.Random(1))
    return backend, monitor


def test_what_an_agent_says_is_done(caplog) -> None:
    async def scene() -> None:
        agent = Agent()
        async with tcp_server(agent) as address:
            backend, monitor = with_agent(address, address.port, weight=200, max_connections=9)

            async def hears(line: bytes) -> tuple[object, ...]:
                agent.line = line
                await monitor.ask_once()
                obstacle = backend.obstacle(0.0)
                return (obstacle, backend.weight, backend.max_connections)

            assert await hears(b"75%\n") == (None, 150, 9)
            assert await hears(b"50%\n") == (None, 100, 9)
            assert await hears(b"weight:7 maxconn:3\n") == (None, 7, 3)
            assert await hears(b"drain\n") == (Obstacle.DRAINING, 7, 3)
            assert await hears(b"down #disk full\n") == (Obstacle.UNHEALTHY, 7, 3)
            assert await hears(b"ready\n") == (Obstacle.UNHEALTHY, 7, 3)
            assert await hears(b"up\n") == (None, 7, 3)
            assert await hears(b"maint\n") == (Obstacle.DOWN, 7, 3)
            assert await hears(b"ready 0%\n") == (Obstacle.DRAINING, 0, 3)
            assert await hears(b"100%\n") == (None, 200, 3)

    run(scene())
    assert levels(caplog).count("WARNING") == 1  # down; `maint` is on purpose
    assert [line for line in logged(caplog) if "weight" not in line] == [
        "backend b1: drain, says its agent",
        "backend b1: down, says its agent: disk full",
        "backend b1: ready, says its agent",
        "backend b1: up, says its agent",
        "backend b1: down, says its agent",
        "backend b1: ready, says its agent",
    ]


def test_an_agents_ready_does_not_end_the_operators_drain() -> None:
    async def scene() -> None:
        agent = Agent()
        async with tcp_server(agent) as address:
            backend, monitor = with_agent(address, address.port)
            backend.set_admin(Admin.DRAIN, 0.0, Origin.API)
            for agent.line in (b"ready\n", b"maint\n", b"ready up\n"):
                await monitor.ask_once()
            assert backend.obstacle(0.0) is Obstacle.DRAINING
            backend.set_admin(Admin.READY, 0.0, Origin.API)
            assert backend.available(0.0)

    run(scene())


def test_an_agents_percentage_is_of_the_configured_weight_and_the_operators_weight_holds() -> None:
    async def scene() -> None:
        agent = Agent()
        async with tcp_server(agent) as address:
            backend, monitor = with_agent(address, address.port, weight=200)
            backend.set_weight(7, 0.0, Origin.API)
            agent.line = b"50%\n"
            await monitor.ask_once()
            assert backend.weight == 7
            backend.set_weight(None, 0.0, Origin.API)
            assert backend.weight == 100
            backend.set_weight(60, 0.0, Origin.FILE)
            await monitor.ask_once()
            assert backend.weight == 30

    run(scene())


def test_an_agents_up_revives_nobody_whom_checks_call_down_and_ends_no_maintenance() -> None:
    async def scene() -> None:
        agent = Agent()
        async with tcp_server(agent) as address:
            given = settings(
                closed_port(),
                health_check={"timeout_s": 5.0, "fall": 1},
                agent_check={"port": address.port, "timeout_s": 5.0},
            )
            backend, health = make_backend(given), make_health(given)
            assert given.health_check is not None
            assert given.agent_check is not None
            rng = random.Random(1)
            checks = HealthMonitor(backend, health, given.health_check, rng, new=False)
            asks = AgentMonitor(backend, health, given.agent_check, rng)

            async def after(line: bytes) -> Obstacle | None:
                agent.line = line
                await asks.ask_once()
                return backend.obstacle(0.0)

            await checks.check_once()
            assert await after(b"maint\n") is Obstacle.DOWN
            await checks.check_once()
            assert await after(b"up\n") is Obstacle.DOWN
            assert await after(b"ready up\n") is Obstacle.UNHEALTHY

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


def test_an_agent_is_asked_what_is_configured() -> None:
    async def scene() -> None:
        handler = says(b"drain\n", after=b"web?\n", stay=True)
        async with tcp_server(handler) as address:
            backend, monitor = with_agent(address, address.port, agent={"send": "web?\n"})
            await monitor.ask_once()
            assert backend.admin is Admin.DRAIN

    run(scene())


@pytest.mark.parametrize("line", [b"", b"weight:1", b"x" * 5000])
def test_an_agent_that_says_nothing_whole_changes_nothing(line: bytes, caplog) -> None:
    async def scene() -> None:
        agent = Agent()
        async with tcp_server(agent) as address:
            backend, monitor = with_agent(address, address.port, weight=100)
            agent.line = b"50% drain\n"
            await monitor.ask_once()
            agent.line = line
            for _ in range(3):
                await monitor.ask_once()
            assert (backend.weight, backend.admin) == (50, Admin.DRAIN)
            agent.line = b"ready\n"
            await monitor.ask_once()
            assert (backend.weight, backend.admin) == (50, Admin.READY)

    run(scene())
    complaints = [line for line in logged(caplog) if "agent of backend" in line]
    assert complaints == [
        "agent of backend b1: no answer, what it said last stays: the line does not end",
        "agent of backend b1: answers again",
    ]


def test_an_agent_that_is_not_there_changes_nothing(caplog) -> None:
    async def scene() -> None:
        backend, monitor = with_agent(closed_port(), closed_port().port)
        for _ in range(3):
            await monitor.ask_once()
        assert backend.available(0.0)

    run(scene())
    assert logged(caplog) == [
        "agent of backend b1: no answer, what it said last stays: Connection refused"
    ]


def test_unknown_words_are_complained_of_once_and_the_others_count(caplog) -> None:
    async def scene() -> None:
        agent = Agent()
        async with tcp_server(agent) as address:
            backend, monitor = with_agent(address, address.port)
            for words in (b"fine", b"\xff" * 900, b"better"):
                agent.line = words + b" drain\n"
                await monitor.ask_once()
            assert backend.admin is Admin.DRAIN

    run(scene())
    assert logged(caplog) == [
        "agent of backend b1: unknown words 'fine'",
        "backend b1: drain, says its agent",
    ]


def test_checks_and_agent_must_agree_that_it_is_up() -> None:
    async def scene() -> None:
        agent = Agent()
        async with tcp_server(agent) as address:
            given = settings(
                address,
                health_check={**FAST, "rise": 1},
                agent_check={**FAST, "port": address.port},
            )
            agent.line = b"down\n"
            watch = Watch(random.Random(1))
            backend = make_backend(given)
            watch.add(backend, given, 0.0, new=False)
            await until(lambda: not backend.healthy)
            agent.line = b"up\n"
            await until(lambda: backend.healthy)
            await watch.close()

    run(scene())
