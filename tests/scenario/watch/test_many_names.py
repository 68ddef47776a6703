"""Many names: what they cost the algorithms, and a start that waits for none of them for ever."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from nginy.config.load import parse
from nginy.watch.monitors import Monitors
from nginy.watch.resolver import DnsAnswer, Resolver
from tests.rules import World
from tests.scenario.watch.event_loop import run, until

NAMES = 100


class Stage:
    """A rule with NAMES names; counts how often its algorithm had to rebuild."""

    def __init__(self) -> None:
        backends = "\n".join(f'  - {{id: b{n}, address: "n{n}.test:80"}}' for n in range(NAMES))
        targets = ", ".join(f"b{n}" for n in range(NAMES))
        config = parse(
            f"backends:\n{backends}\n"
            f'rules: [{{name: all, clients: ["0.0.0.0/0:1"], targets: [{targets}]}}]\n'
            "dns: {timeout_s: 0.1, min_ttl_s: 0.01}",
            "f",
        )
        world = World(config)
        self.pool = world.pool
        self.balancer = world.rule.balancer
        self.rebuilt = 0
        self._rebuild = self.balancer.rebuild
        self.balancer.rebuild = self._count  # type: ignore[method-assign]
        self.monitors = Monitors(config, self.pool, world.rules, random.Random(1))

    def _count(self, *args) -> None:
        self.rebuilt += 1
        self._rebuild(*args)

    @property
    def hosts(self) -> set[str]:
        return {backend.address.host for backend in self.balancer.roster.members}


def playing(play: Callable[[Stage], Awaitable[None]]) -> None:
    async def scene() -> None:
        stage = Stage()
        try:
            await stage.monitors.start(asyncio.Event())
            await play(stage)
        finally:
            await stage.monitors.close()
        assert len(asyncio.all_tasks()) == 2  # the scene, and the limit of its time

    run(scene())


def test_they_are_made_known_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one, 500 names of a ketama rule took 46 s to start with."""
    net = 0

    async def ask(_: Resolver, name: str) -> dict[int, DnsAnswer | None]:
        await asyncio.sleep(0)
        number = name.removeprefix("n").removesuffix(".test")
        return {4: DnsAnswer((f"10.0.{net}.{number}",), 0.0), 6: DnsAnswer((), 0.0)}

    async def play(stage: Stage) -> None:
        nonlocal net
        assert stage.hosts == {f"10.0.0.{n}" for n in range(NAMES)}
        assert stage.rebuilt == 2
        net = 1
        await until(lambda: stage.hosts == {f"10.0.1.{n}" for n in range(NAMES)})
        assert stage.rebuilt < NAMES / 4

    monkeypatch.setattr(Resolver, "ask", ask)
    playing(play)


def test_the_start_goes_on_without_those_that_are_not_resolved(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answering = asyncio.Event()

    async def ask(_: Resolver, name: str) -> dict[int, DnsAnswer | None]:
        if name != "n7.test":
            await answering.wait()
        return {4: DnsAnswer(("10.0.0.7",), 60.0), 6: DnsAnswer((), 60.0)}

    async def play(stage: Stage) -> None:
        assert [each.id for each in stage.balancer.roster.members] == ["b7@10.0.0.7"]
        assert f"{NAMES - 1} of {NAMES} names not resolved yet" in caplog.text
        answering.set()
        await until(lambda: len(stage.pool) == NAMES)

    monkeypatch.setattr(Resolver, "ask", ask)
    playing(play)
