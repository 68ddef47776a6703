"""Names, asked of a DNS server on loopback, and what becomes of the backends behind them."""

import asyncio
import random
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.pool import Outcome
from nginy.config.guard_settings import DnsSettings
from nginy.config.load import parse
from nginy.watch.monitors import Monitors
from nginy.watch.resolver import DnsAnswer, NoAddress, NoAnswer, Resolver
from tests.rules import World
from tests.scenario.watch.dns_server import Zone, dns_server
from tests.scenario.watch.event_loop import PATIENCE_S, run, until


def settings(server: Address, **more: object) -> DnsSettings:
    return DnsSettings.model_validate({"nameservers": (server,), "timeout_s": 5.0, **more})


def resolving(scene: Callable[[Zone, Resolver], Awaitable[None]], **more: object) -> None:
    async def play() -> None:
        zone = Zone()
        async with dns_server(zone) as server:
            await scene(zone, Resolver(settings(server, **more)))

    run(play())


def test_addresses_of_both_families_with_their_time_to_live() -> None:
    async def scene(zone: Zone, resolver: Resolver) -> None:
        zone.hosts["web.test"] = ["10.0.0.1", "10.0.0.2", "2001:DB8::0:1"]
        zone.ttl_s = 7
        answers = await resolver.ask("web.test")
        assert answers[6] == DnsAnswer(("2001:db8::1",), 7.0)
        four = answers[4]
        assert four is not None  # the server may give them in any order
        assert (sorted(four.hosts), four.ttl_s) == (["10.0.0.1", "10.0.0.2"], 7.0)

    resolving(scene)


def test_one_family_alone_is_an_answer() -> None:
    async def scene(zone: Zone, resolver: Resolver) -> None:
        zone.hosts["web.test"] = ["10.0.0.1"]
        answers = await resolver.ask("web.test")
        assert answers[4] == DnsAnswer(("10.0.0.1",), 60.0)
        assert answers[6] is not None
        assert answers[6].hosts == ()
        zone.broken.add(6)
        assert (await resolver.ask("web.test"))[6] is None

    resolving(scene, timeout_s=0.2)


@pytest.mark.parametrize(
    ("zone", "message"),
    [
        (Zone(aliases={"web.test": "b.test", "b.test": "web.test"}), "more than 8 names"),
        (Zone({"web.test": ["10.0.0.1"]}, broken={4, 6}), "failed to answer"),
        (Zone({"web.test": ["10.0.0.1"]}, silent=True), "no answer within 0.2 s"),
    ],
)
def test_no_answer(zone: Zone, message: str) -> None:
    async def scene() -> None:
        async with dns_server(zone) as server:
            with pytest.raises(NoAnswer, match=message):
                await Resolver(settings(server, timeout_s=0.2)).ask("web.test")

    run(scene())


@pytest.mark.parametrize(
    ("zone", "message"),
    [
        (Zone(), "there is no such name"),
        (Zone({"web.test": []}), "the name has no address"),
        (Zone(aliases={"web.test": "b.test"}), "there is no such name"),
    ],
)
def test_no_address_is_an_answer(zone: Zone, message: str) -> None:
    async def scene() -> None:
        async with dns_server(zone) as server:
            with pytest.raises(NoAddress, match=message):
                await Resolver(settings(server)).ask("web.test")

    run(scene())


def test_no_address_of_one_family_and_a_fault_of_the_other_is_none() -> None:
    async def scene() -> None:
        async with dns_server(Zone({"web.test": []}, broken={6})) as server:
            with pytest.raises(NoAnswer) as caught:
                await Resolver(settings(server, timeout_s=0.2)).ask("web.test")
            assert caught.type is NoAnswer

    run(scene())


def test_the_name_that_a_name_stands_for_is_asked_for_too() -> None:
    """A nameserver that does not know the other name's addresses says the name alone."""

    async def scene(zone: Zone, resolver: Resolver) -> None:
        zone.aliases = {"web.test": "b.test", "b.test": "c.test"}
        zone.hosts["c.test"] = ["10.0.0.1"]
        zone.ttl_s = 7
        assert (await resolver.ask("web.test"))[4] == DnsAnswer(("10.0.0.1",), 7.0)

    resolving(scene)


def test_what_was_refused_is_asked_again() -> None:
    async def scene(zone: Zone, resolver: Resolver) -> None:
        zone.hosts["web.test"] = ["10.0.0.1"]
        zone.refusals = 2
        answers = await resolver.ask("web.test")
        assert answers[4] == DnsAnswer(("10.0.0.1",), 60.0)
        assert None not in answers.values()

    resolving(scene)


def test_names_that_only_the_host_knows_are_found_without_configured_nameservers() -> None:
    async def scene() -> None:
        answers = await Resolver(DnsSettings(timeout_s=1.0, max_ttl_s=9.0)).ask("localhost")
        assert {host for answer in answers.values() if answer for host in answer.hosts} & {
            "127.0.0.1",
            "::1",
        }

    run(scene())


# The backends behind a name.


class Scene:
    """A rule for `web.test` and a backend with an address; a zone says what web.test is."""

    def __init__(
        self,
        server: Address,
        zone: Zone,
        backend: str = "",
        dns: str = "",
        timeout_s: float = 1.0,
    ) -> None:
        self.zone = zone
        config = parse(
            f"""
backends:
  - {{id: web, address: "web.test:80", weight: 3{backend}}}
  - {{id: fixed, address: "192.0.2.9:80"}}
rules: [{{clients: ["0.0.0.0/0:1"], targets: [web, fixed], name: all}}]
dns: {{nameservers: ["{server}"], timeout_s: {timeout_s}, min_ttl_s: 0.02{dns}}}
""",
            "f",
        )
        world = World(config)
        self.pool = world.pool
        self.rule = world.rule
        self.monitors = Monitors(config, self.pool, world.rules, random.Random(1))

    @property
    def ids(self) -> list[str]:
        """Whom the algorithm may choose."""
        return [backend.id for backend in self.rule.balancer.roster.members]


def playing(
    zone: Zone, play: Callable[[Scene], Awaitable[None]], backend: str = "", dns: str = ""
) -> None:
    async def scene() -> None:
        async with dns_server(zone) as server:
            stage = Scene(server, zone, backend, dns)
            try:
                await stage.monitors.start(asyncio.Event())
                await play(stage)
            finally:
                await stage.monitors.close()
            assert not [task for task in asyncio.all_tasks() if "Monitor" in repr(task.get_coro())]

    run(scene())


def test_every_address_is_a_backend_of_its_own() -> None:
    async def play(stage: Scene) -> None:
        assert stage.ids == ["web@10.0.0.1", "web@10.0.0.2", "fixed"]
        assert "web" not in stage.pool
        backend = stage.pool["web@10.0.0.2"]
        assert (backend.address, backend.weight) == (Address("10.0.0.2", 80), 3)
        assert backend.hash_name == "10.0.0.2:80"

    playing(Zone({"web.test": ["10.0.0.2", "10.0.0.1"]}), play)


def test_they_come_and_go_when_the_time_to_live_has_passed() -> None:
    """A backend that stays is the same, with all it counts."""

    async def play(stage: Scene) -> None:
        pool, zone = stage.pool, stage.zone
        first, stays = pool["web@10.0.0.1"], pool["web@10.0.0.2"]
        lease = pool.lease(first, stage.rule.balancer, 0.0)
        zone.hosts["web.test"] = ["10.0.0.3", "10.0.0.2"]
        await until(lambda: "web@10.0.0.3" in pool)
        assert stage.ids == ["web@10.0.0.2", "web@10.0.0.3", "fixed"]
        assert pool["web@10.0.0.2"] is stays
        assert (first.removed, first.active, stays.removed) == (True, 1, False)
        lease.release(Outcome(), 1.0)
        assert (first.active, pool.open_leases) == (0, 0)

    playing(Zone({"web.test": ["10.0.0.1", "10.0.0.2"]}, ttl_s=0), play)


def test_new_ones_start_slowly_and_the_first_ones_do_not() -> None:
    async def play(stage: Scene) -> None:
        assert stage.pool["web@10.0.0.1"].share == 300
        stage.zone.hosts["web.test"] = ["10.0.0.1", "10.0.0.2"]
        await until(lambda: "web@10.0.0.2" in stage.pool)
        assert (stage.pool["web@10.0.0.1"].share, stage.pool["web@10.0.0.2"].share) == (300, 60)

    slow = ", slow_start: {duration_s: 1000, floor_pct: 20}"
    playing(Zone({"web.test": ["10.0.0.1"]}, ttl_s=0), play, slow)


@pytest.mark.parametrize("fault", ["silent", "nxdomain", "empty", "servfail"])
def test_while_there_is_no_answer_the_old_addresses_stay(fault: str, caplog) -> None:
    async def play(stage: Scene) -> None:
        zone, before = stage.zone, stage.pool["web@10.0.0.1"]
        if fault == "silent":
            zone.silent = True
        elif fault == "servfail":
            zone.broken = {4, 6}
        else:
            zone.hosts = {"web.test": []} if fault == "empty" else {}
        await until(lambda: "kept: 10.0.0.1" in caplog.text)
        asked = zone.questions
        await until(lambda: zone.questions > asked + 3)
        assert stage.ids == ["web@10.0.0.1", "fixed"]
        assert stage.pool["web@10.0.0.1"] is before
        zone.silent, zone.broken, zone.hosts = False, set(), {"web.test": ["10.0.0.2"]}
        await until(lambda: "web@10.0.0.2" in stage.pool)
        assert caplog.text.count("kept: 10.0.0.1") == 1

    playing(Zone({"web.test": ["10.0.0.1"]}, ttl_s=0), play)


@pytest.mark.parametrize("gone", [{"web.test": []}, {}])
def test_a_name_without_address_loses_its_backends_after_a_while(gone, caplog) -> None:
    async def play(stage: Scene) -> None:
        zone, before = stage.zone, stage.pool["web@10.0.0.1"]
        zone.hosts = gone
        await until(lambda: stage.ids == ["fixed"])
        assert before.removed
        zone.hosts = {"web.test": ["10.0.0.1"]}
        await until(lambda: stage.ids == ["web@10.0.0.1", "fixed"])

    playing(Zone({"web.test": ["10.0.0.1"]}, ttl_s=0), play, dns=", hold_s: 0.1")
    assert "web.test has no address any more" in caplog.text


def test_who_is_to_stop_waits_for_no_name() -> None:
    async def scene() -> None:
        zone, stopping = Zone(silent=True), asyncio.Event()
        async with dns_server(zone) as server:
            stage = Scene(server, zone, timeout_s=3600)
            start = asyncio.create_task(stage.monitors.start(stopping))
            try:
                await until(lambda: zone.questions > 0)
                assert not start.done()
                stopping.set()
                await start
            finally:
                await stage.monitors.close()

    run(scene())


def test_without_any_answer_it_starts_and_serves_when_there_is_one(caplog) -> None:
    async def play(stage: Scene) -> None:
        assert stage.ids == ["fixed"]
        assert "web.test: there is no such name; nobody is served by it until it" in caplog.text
        stage.zone.hosts["web.test"] = ["10.0.0.1"]
        await until(lambda: stage.ids == ["web@10.0.0.1", "fixed"])

    playing(Zone(), play)


def test_it_is_not_asked_again_before_the_time_to_live_has_passed() -> None:
    async def play(stage: Scene) -> None:
        asked = stage.zone.questions
        assert asked == 2  # A and AAAA
        stage.zone.hosts["web.test"] = ["10.0.0.2"]
        for _ in range(20):
            await asyncio.sleep(0.002)
        assert stage.zone.questions == asked
        assert stage.ids == ["web@10.0.0.1", "fixed"]

    playing(Zone({"web.test": ["10.0.0.1"]}, ttl_s=3600), play)


def test_a_time_to_live_is_cut_to_max_ttl() -> None:
    async def play(stage: Scene) -> None:
        stage.zone.hosts["web.test"] = ["10.0.0.2"]
        await until(lambda: stage.ids == ["web@10.0.0.2", "fixed"])

    playing(Zone({"web.test": ["10.0.0.1"]}, ttl_s=3600), play, dns=", max_ttl_s: 0.03")


def test_backups_behind_a_name_are_backups() -> None:
    async def play(stage: Scene) -> None:
        balancer = stage.rule.balancer

        def picked() -> set[str]:
            client = Address("192.0.2.1", 1)
            picks = (balancer.pick(client, 1.0) for _ in range(10))
            return {backend.id for backend in picks if backend is not None}

        assert picked() == {"fixed"}
        stage.pool["fixed"].set_healthy(False, 1.0)
        assert picked() == {"web@10.0.0.1", "web@10.0.0.2"}

    playing(Zone({"web.test": ["10.0.0.1", "10.0.0.2"]}), play, ", backup: true")


def test_who_leaves_is_checked_no_more() -> None:
    async def play(stage: Scene) -> None:
        gone: Backend = stage.pool["web@127.0.0.1"]
        await until(lambda: not gone.healthy)
        stage.zone.hosts["web.test"] = ["127.0.0.2"]
        await until(lambda: "web@127.0.0.2" in stage.pool)
        assert gone.removed
        new = stage.pool["web@127.0.0.2"]
        await until(lambda: not new.healthy)
        running = [repr(task.get_coro()) for task in asyncio.all_tasks()]
        assert sum("HealthMonitor.run" in each for each in running) == 1

    check = ", health_check: {interval_s: 0.01, port: 1}"
    playing(Zone({"web.test": ["127.0.0.1"]}, ttl_s=0), play, check)


def test_a_process_that_is_told_to_end_while_names_are_resolved_ends(tmp_path: Path) -> None:
    """It waited out the time of the question, an hour here, before it heard of it."""
    with socket.socket(type=socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.settimeout(PATIENCE_S)
        nameserver = f"127.0.0.1:{silent.getsockname()[1]}"
        path = tmp_path / "nginy.yaml"
        path.write_text(
            'backends: [{id: web, address: "web.test:80"}]\n'
            'rules: [{clients: ["127.0.0.0/8:1"], targets: [web]}]\n'
            f'dns: {{nameservers: ["{nameserver}"], timeout_s: 3600}}\n'
        )
        command = [sys.executable, "-m", "nginy", "run", "-c", str(path)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            try:
                silent.recv(512)
                process.terminate()
                _, log = process.communicate(timeout=PATIENCE_S)
            finally:
                process.kill()
    assert process.returncode == 0
    assert "ready" not in log
    assert "not resolved" not in log
