from experiments.verdict import (
    Verdict,
    backends_check,
    captures_check,
    cpu_check,
    faults_check,
    lateness_check,
    links_check,
    problems_check,
    rejected,
    sockets_check,
)


def summary(client: str, p99_ms: float) -> dict[str, object]:
    lateness_ms = {"p50": 0.0, "p99": p99_ms, "max": p99_ms}
    return {"client": client, "offered": 9, "lateness_ms": lateness_ms}


def test_one_failed_check_makes_the_run_invalid_and_is_the_reason() -> None:
    verdict = Verdict((links_check([], 12), links_check(["c1-s1: loss 9 %, asked 1 %"], 12)))
    assert not verdict.valid
    assert verdict.reasons == ["links: c1-s1: loss 9 %, asked 1 %"]
    assert verdict.to_json()["valid"] is False
    assert Verdict((links_check([], 12),)).valid


def test_a_run_that_ended_early_keeps_its_reasons() -> None:
    assert rejected("links", ["a", "b"]).reasons == ["links: a; b"]


def test_the_worst_generator_decides_and_is_named() -> None:
    summaries = [summary("c1", 0.2), summary("c2", 1.2)]
    check = lateness_check(summaries, median_latency_ms=10)
    assert not check.ok
    assert "c2" in check.detail
    assert lateness_check(summaries, median_latency_ms=100).ok, "5 % of the median is 5 ms"


def test_a_generator_that_sent_nothing_is_no_evidence_of_being_on_time() -> None:
    assert not lateness_check([{"client": "c1", "offered": 3, "lateness_ms": None}], 10).ok


def test_a_generator_that_had_nothing_to_send_is_not_late() -> None:
    idle = {"client": "c2", "offered": 0, "lateness_ms": None}
    assert lateness_check([summary("c1", 0.2), idle], 10).ok
    assert not lateness_check([summary("c1", 20), idle], 10).ok
    assert lateness_check([idle], 0).ok


def test_cpu_needs_idle_time_and_no_thief() -> None:
    assert cpu_check(50, 0).ok
    assert not cpu_check(3, 0).ok
    assert not cpu_check(50, 20).ok


def test_captures_must_be_whole_and_on_one_clock() -> None:
    assert captures_check({"c1": 0, "lb": 0}, 0.0).ok
    assert not captures_check({"c1": 0, "lb": 7}, 0.0).ok
    assert not captures_check({"c1": 0}, -0.5).ok


def test_every_backend_must_have_lived_and_dropped_nothing() -> None:
    finals = {"b1": {"listen_drops": 0}, "b2": {"listen_drops": 0}}
    assert backends_check(finals, ["b1", "b2"]).ok
    assert "b3" in backends_check(finals, ["b1", "b2", "b3"]).detail
    finals["b2"]["listen_drops"] = 4
    assert not backends_check(finals, ["b1", "b2"]).ok


def test_problems_of_another_module_become_a_check() -> None:
    assert problems_check("x", [], "fine").detail == "fine"
    assert not problems_check("x", ["broken"], "fine").ok


def test_faults_must_be_applied_all_and_at_their_times() -> None:
    due = [("kill b2", 5.0), ("restore b2", 9.0)]
    assert faults_check(due, [5.01, 9.2]).ok
    assert "restore b2 at 9 s was applied +0.30 s off" in faults_check(due, [5.01, 9.3]).detail
    assert "kill b2 at 5 s was applied -0.10 s off" in faults_check(due, [4.9, 9.0]).detail
    assert "restore b2 at 9 s was not applied" in faults_check(due, [5.0]).detail
    assert not faults_check(due, []).ok


def test_datagrams_that_sockets_lost_are_no_loss_of_the_network() -> None:
    assert sockets_check({"c1": 0, "b1": 0}).ok
    assert "'b1': 3" in sockets_check({"c1": 0, "b1": 3}).detail
