"""The load generator against emulated backends on loopback, without a balancer between."""

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from experiments.plan.workload.laws import Demand
from experiments.plan.workload.streams import client_stream
from tests.scenario.loopback_testbed import LoopbackTestbed, Traffic


def assert_all_served(traffic: Traffic) -> None:
    assert traffic.exit_status == 0
    offered = len(traffic.requests)
    assert offered > 0
    assert {request["status"] for request in traffic.requests} == {"ok"}
    assert (traffic.summary["offered"], traffic.summary["completed"]) == (offered, offered)
    assert (traffic.summary["failed"], traffic.summary["in_flight"]) == ({}, 0)


@pytest.mark.parametrize("mode", ["per_request", "persistent"])
def test_every_request_is_served_and_recorded_in_full(tmp_path: Path, mode: str) -> None:
    with LoopbackTestbed(tmp_path) as testbed:
        backend = testbed.backend("b1", servers=2, speed=2)
        traffic = testbed.send(
            backend.address, rate=300, mode=mode, connections=3, response_bytes=70_000
        )
        lines = backend.stop()
    assert_all_served(traffic)
    for seq, request in enumerate(traffic.requests):
        assert (request["seq"], request["client"], request["backend"]) == (seq, "c1", "b1")
        assert request["bytes_received"] == request["response_bytes"] == 70_000
        assert request["service_ms"] == pytest.approx(request["demand_ms"] / 2, abs=0.002)
        assert request["intended_s"] <= request["sent_s"]
        order = ("connected_s", "first_byte_s", "done_s", "ended_s")
        assert all(request[early] <= request[late] for early, late in pairwise(order))
        latency_ms = (request["done_s"] - request["intended_s"]) * 1000
        assert latency_ms >= request["wait_ms"] + request["service_ms"] - 0.002
    offered = len(traffic.requests)
    final = lines[-1]
    assert (final["final"], final["backend"]) == (True, "b1")
    assert (final["arrived"], final["completed"], final["rejected"]) == (offered, offered, 0)
    assert (final["undelivered"], final["protocol_errors"]) == (0, 0)
    assert (final["busy"], final["queue_length"], final["active_connections"]) == (0, 0, 0)
    demand_s = sum(request["demand_ms"] for request in traffic.requests) / 1000
    assert final["busy_time_s"] == pytest.approx(demand_s / 2, abs=0.001)
    # How often the machine's kernel dropped a connection is not in this test's hands: it is shared.
    assert final["listen_drops"] >= 0


def test_samples_are_a_time_series(tmp_path: Path) -> None:
    with LoopbackTestbed(tmp_path) as testbed:
        backend = testbed.backend("b1")
        traffic = testbed.send(backend.address, duration_s=1)
        lines = backend.stop()
    keys = {"active_connections", "queue_length", "busy", "arrived", "completed", "rejected"}
    for series, names in ((lines[:-1], {"backend", *keys}), (traffic.samples, {"client"})):
        assert len(series) >= 5
        assert all(names <= line.keys() for line in series)
        assert all(early["t_s"] < late["t_s"] for early, late in pairwise(series))
    arrived = [line["arrived"] for line in lines]
    assert arrived == sorted(arrived)


def test_persistent_connections_carry_many_requests_each(tmp_path: Path) -> None:
    with LoopbackTestbed(tmp_path) as testbed:
        backend = testbed.backend("b1", servers=4)
        traffic = testbed.send(
            backend.address, rate=500, mode="persistent", connections=4, mean_demand_ms=5
        )
    assert_all_served(traffic)
    carried = Counter(request["local"] for request in traffic.requests)
    assert len(carried) == 4
    # Request n travels on connection n mod 4.
    assert max(carried.values()) - min(carried.values()) <= 1
    assert carried[traffic.requests[0]["local"]] == (len(traffic.requests) + 3) // 4


def test_one_connection_per_request(tmp_path: Path) -> None:
    with LoopbackTestbed(tmp_path) as testbed:
        traffic = testbed.send(testbed.backend("b1").address)
    assert_all_served(traffic)
    assert len({request["local"] for request in traffic.requests}) == len(traffic.requests)


def test_the_workload_is_that_of_the_seed_whatever_serves_it(tmp_path: Path) -> None:
    def workload(requests: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
        offsets = [r["intended_s"] - requests[0]["intended_s"] for r in requests]
        return [round(offset, 6) for offset in offsets], [r["demand_ms"] for r in requests]

    with LoopbackTestbed(tmp_path) as testbed:
        fast, slow = testbed.backend("b1", speed=4), testbed.backend("b2", servers=9, speed=0.5)
        options = {"seed": 9, "index": 2, "rate": 200, "duration_s": 0.5}
        first = testbed.send(fast.address, **options)
        second = testbed.send(slow.address, mode="persistent", **options)
    assert workload(first.requests) == workload(second.requests)
    stream = client_stream(
        9, 2, rate_per_s=200, duration_s=0.5, demand=Demand("exponential", mean_ms=2)
    )
    assert workload(first.requests)[1] == (stream.demands_us / 1000).tolist()


def test_a_rate_of_zero_offers_nothing(tmp_path: Path) -> None:
    with LoopbackTestbed(tmp_path) as testbed:
        traffic = testbed.send(testbed.backend("b1").address, rate=0, duration_s=0.2)
    assert traffic.exit_status == 0
    assert (traffic.requests, traffic.summary["offered"]) == ([], 0)
    assert traffic.summary["lateness_ms"] is None
