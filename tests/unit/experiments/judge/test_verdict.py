import json

import pytest

from experiments.judge.precision import Uncertainty
from experiments.judge.verdict import (
    STOLEN,
    Check,
    Verdict,
    backends_check,
    captures_check,
    cpu_check,
    faults_check,
    lateness_check,
    links_check,
    precision_check,
    problems_check,
    rejected,
    sockets_check,
)
from experiments.lab.host_load import HostLoad, Neighbour, RunQueue


def test_one_failed_check_makes_the_run_invalid_and_is_the_reason() -> None:
    verdict = Verdict((links_check([], 12), links_check(["c1-s1: loss 9 %, asked 1 %"], 12)))
    assert not verdict.valid
    assert verdict.reasons == ["links: c1-s1: loss 9 %, asked 1 %"]
    assert verdict.to_json()["valid"] is False
    assert Verdict((links_check([], 12),)).valid


def test_a_run_that_ended_early_keeps_its_reasons() -> None:
    assert rejected("links", ["a", "b"]).reasons == ["links: a; b"]


def test_the_worst_generator_decides_and_is_named() -> None:
    late_ms = {"c1": 0.2, "c2": 1.2}
    check = lateness_check(late_ms, median_latency_ms=10)
    assert not check.ok
    assert "c2" in check.detail
    assert lateness_check(late_ms, median_latency_ms=100).ok, "5 % of the median is 5 ms"
    assert lateness_check({}, 0).ok


def uncertain(links_ms: float, median_ms: float = 160.0) -> Uncertainty:
    return Uncertainty(links_ms, 2 * links_ms, 0.1, 0.0, median_ms)


def test_lateness_that_could_change_what_is_shown_refuses_and_names_its_cause() -> None:
    assert precision_check(uncertain(12.0)).ok
    late = precision_check(uncertain(17.0))
    assert not late.ok
    assert late.cause == "links late"
    assert "(links 17.0 ms, latest packet 34.0 ms;" in late.detail
    assert "allowed 16.0 ms" in late.detail


def load(idle: float = 50, steal: float = 0, ran_s: float = 3, waited_s: float = 0) -> HostLoad:
    return HostLoad(idle, steal, 10.0, RunQueue(ran_s, waited_s, 1000))


def test_strict_cpu_needs_idle_time_and_no_thief() -> None:
    assert cpu_check(load(), strict=True).ok
    assert not cpu_check(load(idle=3), strict=True).ok
    assert not cpu_check(load(steal=20), strict=True).ok
    assert cpu_check(load(steal=20), strict=True).cause == STOLEN


def test_a_full_machine_is_stated_unless_it_was_the_balancers_limit() -> None:
    full = cpu_check(load(idle=0, steal=20, waited_s=1), strict=False)
    assert full.ok
    assert "0 % idle, 20.0 % stolen" in full.detail
    assert "ran 30% of the time and waited for a processor 10%" in full.detail
    assert not cpu_check(load(idle=0, ran_s=5, waited_s=4.5), strict=False).ok
    assert cpu_check(load(idle=0, ran_s=9.5, waited_s=0.4), strict=False).ok, "its own limit"


def test_where_the_kernel_does_not_tell_a_full_machine_is_refused() -> None:
    assert not cpu_check(HostLoad(0, 0, 10.0), strict=False).ok
    assert cpu_check(HostLoad(50, 0, 10.0), strict=False).ok


PASSED = Check("conservation", True, "")
LATE = Check("precision", False, "late", "links late")
DEAD = Check("links", False, "the emulator is gone")
BESIDE = HostLoad(0, 0, 10, None, Neighbour("firefox", 7, 85.2))


@pytest.mark.parametrize(
    ("checks", "load", "expected"),
    [
        ((PASSED,), BESIDE, None),
        ((PASSED, LATE), BESIDE, "links late; firefox (pid 7) used 85 % of a core"),
        ((PASSED, LATE), None, "links late"),
        ((LATE, DEAD), BESIDE, None),
        ((LATE,), HostLoad(0, 12, 10, None, BESIDE.busiest), f"links late; 12 % {STOLEN}"),
    ],
)
def test_disturbed_is_what_a_busy_moment_explains_wholly(
    checks: tuple[Check, ...], load: HostLoad | None, expected: str | None
) -> None:
    assert Verdict(checks, load=load).disturbance == expected


def test_a_verdict_states_the_uncertainty_in_words_and_numbers() -> None:
    stored = json.loads(json.dumps(Verdict((PASSED,), uncertain(2.0)).to_json()))
    assert stored["statement"] == "latencies up to 2.1 ms (1.3 %) too high at p99, links late"
    assert stored["uncertainty"]["added_ms"] == pytest.approx(2.1)
    assert stored["uncertainty"]["links_max_ms"] == 4.0
    assert rejected("links", ["a"]).to_json()["statement"] is None


def test_captures_must_be_whole_and_on_one_clock() -> None:
    assert captures_check({"c1": 0, "lb": 0}, {"c1": 0, "balancer": 0}, 0.0).ok
    assert not captures_check({"c1": 0, "lb": 7}, {}, 0.0).ok
    assert not captures_check({"c1": 0}, {}, -0.5).ok
    left_out = captures_check({"c1": 0}, {"c1": 0, "balancer": 3}, 0.0)
    assert not left_out.ok
    assert "{'balancer': 3}" in left_out.detail


def test_every_backend_must_have_lived_and_dropped_nothing() -> None:
    finals = {"b1": {"listen_drops": 0}, "b2": {"listen_drops": 0}}
    assert backends_check(finals, ["b1", "b2"]).ok
    assert "b3" in backends_check(finals, ["b1", "b2", "b3"]).detail
    finals["b2"]["listen_drops"] = 4
    assert not backends_check(finals, ["b1", "b2"]).ok
    assert backends_check(finals, ["b1", "b2"], own_queues=True).ok


def test_problems_of_another_module_become_a_check() -> None:
    assert problems_check("x", [], "fine").detail == "fine"
    assert not problems_check("x", ["broken"], "fine").ok


def test_faults_must_be_applied_all_and_at_their_times() -> None:
    due = [("kill b2", 5.0), ("restore b2", 9.0)]
    assert faults_check(due, [5.01, 9.2]).ok
    assert faults_check(due, [5.01, 9.3]).cause, "the machine was busy"
    assert not faults_check(due, [5.3]).cause, "left out"
    assert "restore b2 at 9 s was applied +0.30 s off" in faults_check(due, [5.01, 9.3]).detail
    assert "kill b2 at 5 s was applied -0.10 s off" in faults_check(due, [4.9, 9.0]).detail
    assert "restore b2 at 9 s was not applied" in faults_check(due, [5.0]).detail
    assert not faults_check(due, []).ok


def test_datagrams_that_sockets_lost_are_no_loss_of_the_network() -> None:
    assert sockets_check({"c1": 0, "b1": 0}).ok
    assert "'b1': 3" in sockets_check({"c1": 0, "b1": 3}).detail
