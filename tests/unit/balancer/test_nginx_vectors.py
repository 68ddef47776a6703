"""The deterministic methods give the very sequences recorded from nginx 1.22.1.

Each file of tests/data/vectors holds the nginx configuration, the input and the backends that
answered. The one recorded case not run is `two_primaries_two_backups`: backup servers are not
implemented.
"""

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.outcome import Outcome
from nginy.backend.pool import BackendPool, Lease
from nginy.balancer.base import Balancer
from nginy.balancer.registry import make_balancer
from nginy.config.schema import StrategySettings

VECTORS = Path(__file__).parents[2] / "data" / "vectors"
CLIENT = Address("192.0.2.1", 40000)
OK = Outcome()
FAILED = Outcome(failed=True)


def load_vector(name: str) -> dict[str, Any]:
    vector: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text())
    return vector


def cases(name: str) -> list[str]:
    return list(load_vector(name)["config"])


class Rig:
    """A balancer over backends numbered as in the recording; weight None: not in the group."""

    def __init__(self, method: str, weights: Sequence[int | None], **limits: Any) -> None:
        self.backends = [
            Backend(str(i), Address("127.0.0.1", 21000 + i), weight=weight, **limits)
            for i, weight in enumerate(weights)
            if weight is not None
        ]
        self.pool = BackendPool(self.backends)
        self.balancer: Balancer = make_balancer(StrategySettings(type=method), random.Random(0))
        self.balancer.rebuild(self.backends, 0.0)

    def open(self, client: Address = CLIENT) -> tuple[int | None, Lease | None]:
        backend = self.balancer.pick(client, 0.0)
        if backend is None:
            return None, None
        return int(backend.id), self.pool.lease(backend, self.balancer, 0.0)

    def serve(self, client: Address = CLIENT) -> int | None:
        """One connection, closed before the next."""
        index, lease = self.open(client)
        if lease is not None:
            lease.release(OK, 0.0)
        return index

    def attempt_all(self, refusing: Sequence[int], now: float) -> list[int]:
        """The backends one connection tries until one accepts."""
        tried: list[Backend] = []
        while (backend := self.balancer.pick(CLIENT, now, tried)) is not None:
            tried.append(backend)
            lease = self.pool.lease(backend, self.balancer, now)
            if int(backend.id) not in refusing:
                lease.connected(0.0, now)
                lease.release(OK, now)
                break
            lease.release(FAILED, now)
        return [int(backend.id) for backend in tried]


@pytest.mark.parametrize("case", cases("nginx_smooth_wrr"))
def test_round_robin(case: str) -> None:
    vector = load_vector("nginx_smooth_wrr")
    given = vector["input"][case]
    rig = Rig("round_robin", given["weights"], max_connections=given.get("max_conns", 0))
    hold = given.get("hold", False)
    answers = [rig.open()[0] if hold else rig.serve() for _ in range(given["connections"])]
    assert answers == vector["expected"][case]


@pytest.mark.parametrize(
    "case", [c for c in cases("nginx_smooth_wrr_failure") if c != "two_primaries_two_backups"]
)
def test_round_robin_with_failures(case: str) -> None:
    vector = load_vector("nginx_smooth_wrr_failure")
    given = vector["input"][case]
    limits = {"max_fails": given["max_fails"], "fail_timeout_s": given["fail_timeout_s"]}
    rig = Rig("round_robin", given["weights"], **limits)
    now = 1000.0
    attempts: list[list[int]] = []
    for phase in given["phases"]:
        now += phase.get("after_s", 0.0)
        refusing = phase.get("refusing", ())
        attempts += [rig.attempt_all(refusing, now) for _ in range(phase["connections"])]
    assert attempts == vector["expected"][case]


def least_conn_answers(given: dict[str, Any]) -> Iterator[int | None]:
    rig = Rig("least_conn", given["weights"], max_connections=given.get("max_conns", 0))
    held: dict[int, Lease | None] = {}
    for operation, connection in given["script"]:
        if operation == "open":
            index, held[connection] = rig.open()
            yield index
        elif (lease := held.pop(connection)) is not None:
            lease.release(OK, 0.0)


@pytest.mark.parametrize("case", cases("nginx_least_conn"))
def test_least_conn(case: str) -> None:
    vector = load_vector("nginx_least_conn")
    assert list(least_conn_answers(vector["input"][case])) == vector["expected"][case]


@pytest.mark.parametrize("case", [c for c in cases("nginx_hash") if "pass" not in c])
def test_source_hash(case: str) -> None:
    vector = load_vector("nginx_hash")
    given = vector["input"][case]
    rig = Rig("source_hash", given["weights"])
    for backend in rig.backends:
        backend.down = int(backend.id) in given.get("down", ())
    keys = vector["input"][given["keys"]]
    assert [rig.serve(Address(key, 40000)) for key in keys] == vector["expected"][case]


def test_source_hash_falls_back_to_round_robin_after_21_misses() -> None:
    """(20/22)^21 = 13.5 % of the keys: which backend they get depends on those before them."""
    vector = load_vector("nginx_hash")
    rig = Rig("source_hash", [1, 1, 20])
    rig.backends[2].down = True
    keys = vector["input"]["keys_127"][:500]
    for case in ("w1_1_20_s2_down_pass1", "w1_1_20_s2_down_pass2"):
        answers = [rig.serve(Address(key, 40000)) for key in keys]
        assert answers == vector["expected"][case], case
