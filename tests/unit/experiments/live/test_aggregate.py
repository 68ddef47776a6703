import math

import pytest

from experiments.analysis.conditions import Conditions
from experiments.analysis.fairness import load_per_backend
from experiments.analysis.summary import summarise
from experiments.live.aggregate import Tables, film_of
from experiments.live.frame import MOST_FRAMES, Reading, told
from experiments.tables.dataset import Run
from tests.unit.experiments.live.reels import GOLDEN, golden, recorded

RUNS = [golden(path.name) for path in sorted(GOLDEN.iterdir())][::5]
SHIPPED = [recorded("least_conn"), recorded("round_robin")]


def ms(reading: Reading) -> float:
    assert reading.ms is not None
    return math.inf if reading.censored else reading.ms


@pytest.mark.parametrize("run", RUNS + SHIPPED, ids=lambda run: run.run_id)
def test_the_last_frame_has_the_numbers_of_the_runs_table(run: Run) -> None:
    tables = Tables(run)
    last = tables.frame(tables.end_s)
    table, found = summarise(run), last.totals
    assert found.requests == table["requests"]
    assert found.unanswered == round(float(table["unanswered_share"]) * found.requests)
    assert found.completed_rps == table["completed_rps"]
    for name in ("p50", "p95", "p99"):
        assert ms(getattr(found, name)) == table[f"{name}_ms"]
    assert found.fairness.jain == table["jain"]
    assert found.fairness.mean == table["jain_random_mean"]
    assert found.fairness.evenness == table["evenness"]


@pytest.mark.parametrize("run", SHIPPED, ids=lambda run: run.run_id)
def test_what_backends_answer_in_all_windows_is_what_they_answered(run: Run) -> None:
    """Windows of 5 s beside each other leave nothing out and count nothing twice."""
    where, tables = Conditions.of_manifest(run.manifest), Tables(run)
    ends_s = [5.0 * number for number in range(1, 9)] + [45.0]
    frames = [tables.frame(t_s) for t_s in ends_s]
    counted = {
        name: sum(each.requests for frame in frames for each in frame.backends if each.name == name)
        for name in where.backends
    }
    all_of_it = load_per_backend(run.requests, run.connections, where.backends, (0, math.inf))
    assert counted == all_of_it["requests"].to_dict()
    assert sum(frame.latency.unanswered for frame in frames) == frames[-1].unanswered_so_far


def test_a_request_is_known_when_it_has_ended_and_under_way_until_then() -> None:
    tables = Tables(golden())
    requests = golden().requests
    first = requests.sort_values("ended_s").iloc[0]
    before, after = tables.frame(first["ended_s"] - 1e-6), tables.frame(first["ended_s"])
    assert (before.latency.requests, after.latency.requests) == (0, 1)
    assert before.latency.p50 == Reading()
    assert before.in_flight == (requests["sent_s"] <= first["ended_s"] - 1e-6).sum()
    assert tables.frame(tables.end_s).in_flight == 0


def test_a_percentile_that_was_never_answered_says_so() -> None:
    tables = Tables(recorded("round_robin"))
    last = tables.frame(tables.end_s)
    assert last.totals.p99 == Reading(ms=2000, censored=True)
    assert told(last.totals.p99) == "≥ 2000 ms"


@pytest.mark.parametrize(
    ("t_s", "name", "state", "up"),
    [
        (4.9, "b2", "up", True),
        (5.1, "b2", "killed", False),
        (12.1, "b2", "up", True),
        (18.1, "b1", "slow x0.25", True),
        (28.1, "b3", "draining", False),
        (28.1, "b1", "up", True),
    ],
)
def test_state_is_what_was_done_to_a_backend_and_not_undone(
    t_s: float, name: str, state: str, up: bool
) -> None:
    frame = Tables(recorded("least_conn")).frame(t_s)
    (own,) = [each for each in frame.backends if each.name == name]
    assert (own.state, own.up) == (state, up)


def test_a_killed_backend_is_silent_and_a_live_one_is_not() -> None:
    frame = Tables(recorded("least_conn")).frame(8.0)
    b1, b2, *_ = frame.backends
    assert (b2.open, b2.queue, b2.busy) == (None, None, None)
    assert b1.open is not None
    assert b1.queue is not None


def test_fairness_leaves_the_dead_out_and_looks_back_to_the_last_fault_only() -> None:
    tables = Tables(recorded("round_robin"))
    settled = tables.frame(11.0).fairness
    assert settled.jain is not None
    assert settled.jain > 0.999  # three of four, each a third
    assert tables.frame(12.1).fairness.jain is None  # nearly nothing since the restore


def test_a_slow_backend_that_is_given_as_much_as_the_others_is_no_fairness() -> None:
    fairness = Tables(recorded("round_robin")).frame(22.0).fairness
    assert fairness.evenness == "less even than chance"


def test_the_frames_of_a_run_end_with_that_one() -> None:
    run = golden()
    tables = Tables(run)
    assert list(film_of(run)[1])[-1] == tables.frame(tables.end_s)


def test_a_run_has_at_most_so_many_frames_however_long_it_is() -> None:
    run = golden()
    long = run.requests.assign(ended_s=run.requests["ended_s"] * 1000)
    stretched = Run(run.path)
    stretched.__dict__["requests"] = long
    scene, frames = film_of(stretched)
    assert len(list(frames)) <= MOST_FRAMES + 1
    assert scene.step_s > 1


def test_the_scene_says_what_links_were_asked_and_measured_to_be() -> None:
    scene, _ = film_of(recorded("least_conn"))
    (link,) = [link for link in scene.links if link.name == "c1-s1"]
    assert link.asked == "5 ms · 100 Mbit/s"
    delays = [each for each in link.measured if each.quantity == "delay"]
    assert [each.direction for each in delays] == ["c1->s1", "s1->c1"]
    assert all(each.asked == "5 ms" and each.ok for each in delays)
    assert scene.valid is True
    assert {check.name for check in scene.checks} > {"links", "conservation"}
