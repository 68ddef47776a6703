"""What agents say of a backend, asked by hand and left to their schedule."""

import asyncio
import random

import pytest

from nginy.address import Address
from nginy.backend.backend import Backend, Obstacle
from nginy.backend.health import make_health
from nginy.backend.pool import make_backend
from nginy.backend.wishes import Admin, Origin
from nginy.watch.health_monitor import AgentMonitor, HealthMonitor
from nginy.watch.watch import Watch
from tests.scenario.watch.event_loop import run, until
from tests.scenario.watch.monitored import FAST, levels, logged, settings
from tests.scenario.watch.small_servers import closed_port, says, tcp_server


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
