"""HAProxy's choices, replayed: the very servers recorded from HAProxy 2.6.12.

Each file of tests/data/vectors holds HAProxy's configuration, the input and the servers that
answered. Everything a test needs is read from the case itself.
"""

import json
import random
from collections.abc import Iterator
from math import gcd
from pathlib import Path
from typing import Any

import pytest

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.pool import BackendPool, Lease, Outcome
from nginy.backend.wishes import Admin, Origin
from nginy.balancer.base import Balancer
from nginy.balancer.registry import make_balancer
from nginy.balancer.renewal import finished
from nginy.balancer.source import NearestRing, full_avalanche, server_map
from nginy.config.strategies import FirstSettings, SourceSettings, StrategySettings

VECTORS = Path(__file__).parents[2] / "data" / "vectors"
OK = Outcome()
Case = dict[str, Any]


def load(name: str) -> dict[str, Case]:
    vector: dict[str, Case] = json.loads((VECTORS / f"{name}.json").read_text())
    return vector


def cases(name: str, balance: str = "") -> list[str]:
    """Those whose configuration has `balance` (all, if it is empty)."""
    config = load(name)["config"]
    return [case for case in config if f"balance {balance}" in config[case]]


def servers(given: Case) -> dict[int, Backend]:
    """By index; a server without weight is not in the configuration.

    Explicit numeric ids become ids here; else ids are names, so that places count.
    """
    weights, limits = given["weights"], given.get("maxconn", 0)
    ids = given.get("ids") or [f"s{index}" for index in range(len(weights))]
    limits = limits if isinstance(limits, list) else [limits] * len(weights)
    return {
        index: Backend(
            str(ids[index]),
            Address("127.0.0.1", 21000 + index),
            weight=weight,
            max_connections=limits[index] or 0,
        )
        for index, weight in enumerate(weights)
        if weight is not None
    }


class Rig:
    """An algorithm over the servers of a case."""

    def __init__(self, settings: StrategySettings, given: Case) -> None:
        self.servers = servers(given)
        self.balancer: Balancer[Any] = make_balancer(settings, random.Random(0))
        self.index = {backend: index for index, backend in self.servers.items()}
        self.leases: dict[int, Lease] = {}
        self.pool = BackendPool(self.servers.values())

    def apply(self, changes: Case) -> None:
        maint = {int(name.removeprefix("s")) for name in changes.get("maint", ())}
        for index, backend in self.servers.items():
            backend.set_admin(Admin.DOWN if index in maint else Admin.READY, 0.0, Origin.FILE)
        for name, weight in changes.get("set_weight", {}).items():
            self.servers[int(name.removeprefix("s"))].set_weight(weight, 0.0, Origin.FILE)

    def pick(self, host: str) -> Backend | None:
        return self.balancer.pick(Address(host, 40000), 0.0)

    def open(self, host: str) -> int | None:
        backend = self.pick(host)
        if backend is None:
            return None
        self.leases[len(self.leases)] = self.pool.lease(backend, self.balancer, 0.0)
        return self.index[backend]


def source_settings(config: str) -> SourceSettings:
    """What HAProxy's lines say."""
    lines = [line.split() for line in config.splitlines()]
    words = next((line[1:] for line in lines if line[:1] == ["hash-type"]), ["map-based"])
    factor = next((int(line[1]) for line in lines if line[:1] == ["hash-balance-factor"]), 0)
    consistent, function = words[0] == "consistent", words[1:]
    return SourceSettings(
        method="consistent" if consistent else "map",
        # HAProxy's default holds only while no function is named.
        avalanche="avalanche" in function if function else None,
        load_factor=factor / 100 if factor and consistent else None,
    )


@pytest.mark.parametrize("case", cases("haproxy_source"))
def test_source(case: str) -> None:
    vector = load("haproxy_source")
    given = vector["input"][case]
    rig = Rig(source_settings(vector["config"][case]), given)
    rig.balancer.rebuild(list(rig.servers.values()), 0.0)
    rig.apply(given)
    keys = given["keys"] if isinstance(given["keys"], list) else vector["input"][given["keys"]]
    picked = [rig.pick(key) for key in keys]
    answers = [None if backend is None else rig.index[backend] for backend in picked]
    assert answers == vector["expected"][case]


@pytest.mark.parametrize("case", cases("haproxy_hash_balance_factor"))
def test_bounded_source(case: str) -> None:
    vector = load("haproxy_hash_balance_factor")
    given = vector["input"][case]
    settings = source_settings(vector["config"][case])
    assert settings.load_factor == given["factor"] / 100
    rig = Rig(settings, given)
    rig.balancer.rebuild(list(rig.servers.values()), 0.0)
    rig.apply(given)
    assert [rig.open(key) for key in given["keys"]] == vector["expected"][case]


def first_answers(given: Case) -> Iterator[int | None]:
    """HAProxy goes by ids, the algorithm by order, so the servers come in the order of ids.

    A connection that found no room waits for the next that leaves.
    """
    rig = Rig(FirstSettings(), given)
    ids = given.get("ids") or range(len(given["weights"]))
    rig.balancer.rebuild([rig.servers[i] for i in sorted(rig.servers, key=lambda i: ids[i])], 0.0)
    leases: dict[int, Lease] = {}
    waiting: list[int] = []
    for operation, connection in given["script"]:
        if operation == "open":
            backend = rig.pick("192.0.2.1")
            if backend is None:
                waiting.append(connection)
            else:
                leases[connection] = rig.pool.lease(backend, rig.balancer, 0.0)
            yield None if backend is None else rig.index[backend]
            continue
        if connection in waiting:
            waiting.remove(connection)
        else:
            leases.pop(connection).release(OK, 0.0)
        if waiting and (backend := rig.pick("192.0.2.1")) is not None:
            leases[waiting.pop(0)] = rig.pool.lease(backend, rig.balancer, 0.0)


@pytest.mark.parametrize("case", cases("haproxy_first"))
def test_first(case: str) -> None:
    vector = load("haproxy_first")
    assert list(first_answers(vector["input"][case])) == vector["expected"][case]


@pytest.mark.parametrize("case", cases("haproxy_roundrobin", "static-rr"))
def test_server_map_walked_as_static_rr(case: str) -> None:
    """The map of `source` is the one HAProxy's static-rr walks; a change keeps its position."""
    vector = load("haproxy_roundrobin")
    given = vector["input"][case]
    weights, position, answers = given["weights"], 0, []
    for phase in given.get("phases") or [given]:
        away = {int(name.removeprefix("s")) for name in phase.get("maint", ())}
        present = [index for index, weight in enumerate(weights) if weight]
        up = [index for index in present if index not in away]
        divisor = gcd(*(weights[index] for index in present))
        places = server_map([weights[index] // divisor for index in up])
        for _ in range(phase["connections"]):
            position = position if position < len(places) else 0
            answers.append(up[places[position]])
            position += 1
    assert answers == vector["expected"][case]


def test_the_map_that_haproxy_shows_and_the_hash_of_numbers() -> None:
    recorded = load("haproxy_source")["input"]
    assert list(server_map([1, 2, 3, 1, 4])) == recorded["map_weighted_table"]
    for number, hashed in recorded["full_hash_examples"].items():
        assert full_avalanche(int(number)) == hashed


def xorshift32() -> Iterator[int]:
    """HAProxy's generator, from the constant its first thread starts with."""
    state = 2463534242
    while True:
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        yield state


@pytest.mark.parametrize(
    "case",
    [
        case
        for case in cases("haproxy_random", "random")
        if "draws" in load("haproxy_random")["input"][case]
    ],
)
def test_the_ring_drawn_from_by_random(case: str) -> None:
    """`balance random` looks its numbers up on the ring of `source`; the draws are known."""
    vector = load("haproxy_random")
    given = vector["input"][case]
    backends = servers(given)
    numbers = [index + 1 for index in backends]
    ring = finished(
        NearestRing.slices(list(backends.values()), numbers, [b.weight for b in backends.values()])
    )
    index = {backend: at for at, backend in backends.items()}
    draws, answers = xorshift32(), []
    for _ in range(given["connections"]):
        chosen = ring.owner(next(draws), set(index))
        for _ in range(given["draws"] - 1):
            other = ring.owner(next(draws), set(index))
            if other.active * chosen.weight <= chosen.active * other.weight:
                chosen = other
        chosen.active += given["hold"]
        answers.append(index[chosen])
    assert answers == vector["expected"][case]
