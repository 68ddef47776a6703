"""Many names: what they cost the algorithms, and a start that waits for none of them for ever."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from nginy.backend.make import make_backend
from nginy.backend.pool import BackendPool
from nginy.backend.resolution import Answer
from nginy.balancer.tiers import balancer_for
from nginy.config.load import parse
from nginy.watch.monitors import Monitors
from nginy.watch.resolver import Resolver
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
        (rule,) = config.rules
        self.pool = BackendPool(make_backend(each) for each in config.backends)
        self.name = rule.name
        self.balancer = balancer_for(
            rule, self.pool.members(rule.backend_ids), random.Random(1), 0.0
        )
        self.rebuilt = 0
        self._rebuild = self.balancer.rebuild
        self.balancer.rebuild = self._count  # type: ignore[method-assign]
        self.monitors = Monitors(
            config,
            self.pool,
            {"all": self},  # type: ignore[dict-item]
            random.Random(1),
        )

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
            await stage.monitors.start()
            await play(stage)
        finally:
            await stage.monitors.close()
        assert len(asyncio.all_tasks()) == 2  # the scene, and the limit of its time

    run(scene())


def test_they_are_made_known_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one, 500 names of a ketama rule took 46 s to start with."""
    net = 0

    async def ask(_: Resolver, name: str) -> dict[int, Answer | None]:
        await asyncio.sleep(0)
        number = name.removeprefix("n").removesuffix(".test")
        return {4: Answer((f"10.0.{net}.{number}",), 0.0), 6: Answer((), 0.0)}

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

    async def ask(_: Resolver, name: str) -> dict[int, Answer | None]:
        if name != "n7.test":
            await answering.wait()
        return {4: Answer(("10.0.0.7",), 60.0), 6: Answer((), 60.0)}

    async def play(stage: Stage) -> None:
        assert [each.id for each in stage.balancer.roster.members] == ["b7@10.0.0.7"]
        assert f"{NAMES - 1} of {NAMES} names not resolved yet" in caplog.text
        answering.set()
        await until(lambda: len(stage.pool) == NAMES)

    monkeypatch.setattr(Resolver, "ask", ask)
    playing(play)
