"""What a late machine adds to a request, by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.judge.precision import (
    Uncertainty,
    assess,
    balancer_ms,
    generators_ms,
    links_ms,
    round_trips,
)
from experiments.lab.host_load import RunQueue
from experiments.plan.scenario import Scenario, parse_scenario
from topologies.emulate.method import DirectionCounters
from topologies.shapes.shape import LinkSpec
from topologies.shapes.shapes import star

SHAPE = star(2, 2, client_link=LinkSpec(delay_ms=20))


def late(p99_ms: float | None, max_ms: float | None = None) -> DirectionCounters:
    return DirectionCounters(lateness_p99_ms=p99_ms, lateness_max_ms=max_ms)


@pytest.mark.parametrize(
    ("protocol", "alone", "response_bytes", "trips"),
    [
        ("udp", True, 60_000, 1),
        ("tcp", False, 500, 1),
        ("tcp", True, 0, 2),
        ("tcp", True, 14_480, 2),
        ("tcp", True, 14_481, 3),
        ("tcp", True, 20_000, 3),  # the README's three round trips
        ("tcp", False, 20_000, 2),
        ("tcp", True, 1448 * (10 + 20 + 40), 4),
    ],
)
def test_round_trips_of_a_request(
    protocol: str, alone: bool, response_bytes: int, trips: int
) -> None:
    assert round_trips(protocol, response_bytes, alone=alone) == trips


def test_every_packet_that_a_request_waits_for_may_be_late() -> None:
    counters = {"c1->s1": late(0.5), "s1->c1": late(0.1), "c2->s1": late(0.2), "s1->c2": late(0.3)}
    assert links_ms(SHAPE, counters, 3) == pytest.approx(3 * (0.5 + 0.1))


def test_links_of_balancer_and_backends_are_on_the_way_too() -> None:
    counters = {"lb->s1": late(1.0), "s1->lb": late(0.0), "b1->s1": late(0.25)}
    assert links_ms(SHAPE, counters, 2) == pytest.approx(2 * 2 * 1.0 + 2 * 0.25)


def test_links_that_do_not_tell_add_nothing() -> None:
    assert links_ms(SHAPE, {"c1->s1": late(None)}, 3) == 0
    assert links_ms(SHAPE, {}, 3) == 0


def test_the_balancer_waits_each_time_that_it_must_run() -> None:
    assert balancer_ms(RunQueue(ran_s=1, waited_s=0.5, runs=1000), trips=3) == pytest.approx(2.5)
    assert balancer_ms(RunQueue(0, 0, 0), trips=3) == 0
    assert balancer_ms(None, trips=3) == 0


def test_a_generator_that_sent_nothing_is_no_evidence_of_being_on_time() -> None:
    on_time = {"client": "c1", "offered": 9, "lateness_ms": {"p50": 0.0, "p99": 0.2, "max": 9.0}}
    silent = {"client": "c2", "offered": 3, "lateness_ms": None}
    idle = {"client": "c3", "offered": 0, "lateness_ms": None}
    assert generators_ms([on_time, silent, idle]) == {"c1": 0.2, "c2": math.inf}


def found(
    counters: dict[str, DirectionCounters], median_ms: float, **settings: object
) -> Uncertainty:
    scenario = parse_scenario({"network": {"clients": 2, "backends": 2}, **settings}, "test")
    return assess(scenario, counters, None, {"c1": 0.1}, median_ms)


def test_a_late_link_matters_by_the_latency_that_it_is_added_to() -> None:
    counters = {"c1->s1": late(2.0, 16.0), "s1->c1": late(2.0, 3.0)}
    slow, fast = found(counters, 160.0), found(counters, 40.0)
    assert (slow.added_ms, slow.links_max_ms) == (pytest.approx(12.1), 16.0)
    assert slow.acceptable
    assert not fast.acceptable
    assert str(slow) == "latencies up to 12.1 ms (7.6 %) too high at p99, links late"
    assert found(counters, 50.0, protocol="udp", workload={"response_bytes": 500}).acceptable


def test_nothing_below_the_floor_is_refused() -> None:
    assert found({"c1->s1": late(0.6)}, 0.5).acceptable
    assert not found({"c1->s1": late(0.7)}, 0.5).acceptable


def test_without_an_answer_there_is_no_share() -> None:
    nothing = found({}, 0.0)
    assert nothing.added_pct is None
    assert str(nothing) == "latencies up to 0.1 ms too high at p99, generators late"


@pytest.mark.parametrize("worst", ["links_ms", "generators_ms", "balancer_ms"])
def test_the_largest_part_is_the_cause(worst: str) -> None:
    parts = dict.fromkeys(("links_ms", "generators_ms", "balancer_ms"), 1.0) | {worst: 2.0}
    cause = Uncertainty(links_max_ms=0.0, median_latency_ms=10.0, **parts).cause
    assert cause.startswith(worst.removesuffix("_ms"))


@given(st.floats(0, 1e3), st.floats(0, 1e3), st.floats(0, 1e4))
def test_later_is_never_more_acceptable(first: float, second: float, median_ms: float) -> None:
    less, more = sorted((first, second))
    assert (
        found({"c1->s1": late(less)}, median_ms).acceptable
        or not found({"c1->s1": late(more)}, median_ms).acceptable
    )


def test_precision_is_part_of_what_is_asked() -> None:
    assert not Scenario().strict
    strict = parse_scenario({"precision": "strict"}, "test")
    assert strict.strict
    assert strict.digest() != Scenario().digest()
