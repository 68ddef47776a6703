"""What an emulated backend says of its load."""

import pytest

from experiments.hosts.backend.agent import Agent
from experiments.hosts.backend.latency_estimate import MAX_AGE_S, NEAREST, LatencyEstimate
from experiments.hosts.backend.utilisation import Capacity, Reading, utilisation
from nginy.backend.load import parse_report

CAPACITY = Capacity(servers=2, queue_limit=50, mbps=8.0)


def test_utilisation_by_hand() -> None:
    before = Reading(10.0, 10.0, 3.0, 1000, 2000)
    now = Reading(10.5, 10.5, 3.25, 1000, 252_000)
    assert utilisation(before, now, 10, CAPACITY) == {
        "cpu": 25.0,  # 0.25 s of 2 servers' 0.5 s
        "mem": 20.0,  # 10 of 50 places
        "net": 50.0,  # 2 Mbit of the 4 that fit into 0.5 s
        "io": 0.0,
    }


def test_a_slowed_server_that_never_rests_is_fully_busy() -> None:
    before, now = Reading(0, 0, 0, 0, 0), Reading(1.0, 0.25, 0.5, 0, 0)
    assert utilisation(before, now, 0, CAPACITY)["cpu"] == 100.0


def test_no_time_and_no_room_are_no_division_by_zero() -> None:
    same = Reading(1, 1, 1, 1, 1)
    busy = utilisation(same, same, 0, Capacity(1, 0, 1.0))
    assert set(busy.values()) == {0.0}


def test_the_balancer_reads_these_reports() -> None:
    busy = utilisation(Reading(0, 0, 0, 0, 0), Reading(1, 1, 9, 9e9, 0), 99, CAPACITY)
    line = {"id": "b1", **busy, "in_flight": 3, "latency_ms": 1.5}
    backend_id, report = parse_report(str(line).replace("'", '"').encode())
    assert (backend_id, report.cpu_pct, report.mem_pct, report.net_pct) == ("b1", 100, 100, 100)
    assert (report.in_flight, report.latency_s) == (3, 0.0015)


def test_latency_is_that_of_requests_that_met_the_present_load() -> None:
    estimate = LatencyEstimate()
    assert estimate.at(0.0, 3) == 0.0
    for n in range(NEAREST):
        estimate.add(1.0, 0, 0.010 + n * 1e-6)
        estimate.add(1.0, 20, 0.200)
    assert estimate.at(1.0, 1) == pytest.approx(0.010, abs=1e-4)
    assert estimate.at(1.0, 18) == 0.200


def test_the_latest_count_of_those_equally_near_and_old_ones_not_at_all() -> None:
    estimate = LatencyEstimate()
    for _ in range(NEAREST):
        estimate.add(1.0, 5, 1.0)
    for _ in range(NEAREST):
        estimate.add(2.0, 5, 0.1)
    assert estimate.at(2.0, 5) == 0.1
    assert estimate.at(2.0 + MAX_AGE_S + 0.1, 5) == 0.0


@pytest.mark.parametrize("words", ["ready", "drain", "maint", "75%"])
def test_words_of_an_agent(words: str) -> None:
    Agent().say(words)


@pytest.mark.parametrize("words", ["", "sleepy", "75", "drain now", "1000%"])
def test_words_that_no_agent_says(words: str) -> None:
    with pytest.raises(ValueError, match="an agent says"):
        Agent().say(words)
