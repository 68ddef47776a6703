"""Prequal: the paper's formulas, the pool's life, and what the paper leaves to its readers."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.load import LoadReport
from nginy.backend.pool import Outcome
from nginy.backend.wishes import Admin, Origin
from nginy.balancer.prequal import SUSPECT_S, Prequal
from nginy.balancer.probe_pool import (
    REMEMBERED,
    PooledAnswer,
    ProbePool,
    RecentInFlight,
    hot_and_cold,
    reuse_budget,
    rounded,
)
from nginy.config.strategies import PrequalSettings

DERIVED = json.loads((Path(__file__).parents[2] / "data/vectors/derived_examples.json").read_text())
CLIENT = Address("192.0.2.1", 40000)


def cases(key: str) -> list[str]:
    names = [name for name in DERIVED["input"] if name.startswith("prequal")]
    return [name for name in names if key in DERIVED["input"][name]]


@pytest.mark.parametrize("case", cases("cases_m_n_rprobe_rremove_delta"))
def test_reuse_budget(case: str) -> None:
    given_ = DERIVED["input"][case]["cases_m_n_rprobe_rremove_delta"]
    budgets = [
        reuse_budget(m, n, probes, removed, delta) for m, n, probes, removed, delta in given_
    ]
    assert budgets == pytest.approx(DERIVED["expected"][case]["b"], abs=1e-6)


@pytest.mark.parametrize("case", cases("cases"))
def test_hot_cold_lexicographic(case: str) -> None:
    chosen = []
    for each in DERIVED["input"][case]["cases"]:
        answers = [
            PooledAnswer(Backend(name, Address("192.0.2.9", 1)), in_flight, latency, 0.0, 1)
            for name, in_flight, latency in each["pool_name_rif_latency"]
        ]
        answer = hot_and_cold(answers, each["theta"])
        assert answer is not None
        chosen.append(answer.backend.id)
    assert chosen == DERIVED["expected"][case]["chosen"]


@given(values=st.lists(st.integers(0, 50), min_size=1, max_size=300), fraction=st.floats(0, 1))
def test_quantile_of_the_last_answers(values: list[int], fraction: float) -> None:
    recent = RecentInFlight()
    for value in values:
        recent.add(value)
    last = values[-REMEMBERED:]
    quantile = recent.quantile(fraction)
    if 0 < fraction < 1:
        assert sum(value <= quantile for value in last) >= fraction * len(last) * (1 - 1e-12)
        assert sum(value < quantile for value in last) < fraction * len(last)
    else:
        assert all(value > quantile for value in last) == (fraction == 0)


def test_rounding_by_chance_is_right_on_average() -> None:
    rng = random.Random(5)
    values = [rounded(1.3, rng) for _ in range(4000)]
    assert set(values) == {1, 2}
    assert abs(sum(values) / 4000 - 1.3) < 5 * 0.0073


def pool_of(*answers: tuple[str, int, float], at: float = 0.0) -> ProbePool:
    pool = ProbePool(hot_quantile=0.84, max_age_s=1.0)
    for name, in_flight, latency_s in answers:
        backend = Backend(name, Address("192.0.2.9", 1))
        pool.add(PooledAnswer(backend, in_flight, latency_s, at, 1), 16)
    return pool


def names(pool: ProbePool) -> str:
    return "".join(answer.backend.id for answer in pool.answers)


def test_removal_alternates_between_the_oldest_and_the_worst() -> None:
    # Quantile 0.84 of 0 0 0 0 0 9 is 9: nobody is hot, so the worst has the highest latency.
    pool = pool_of(
        ("a", 0, 1.0), ("b", 0, 2.0), ("c", 0, 5.0), ("d", 0, 1.0), ("e", 0, 3.0), ("f", 9, 0.1)
    )
    pool.remove(1)
    assert names(pool) == "bcdef"
    pool.remove(1)
    assert names(pool) == "bdef"
    pool.remove(2)
    assert names(pool) == "df"


def test_the_worst_is_the_one_most_in_flight_if_somebody_is_hot() -> None:
    pool = pool_of(*[(name, 0, 1.0) for name in "abcdefg"], ("h", 9, 0.1), ("i", 3, 9.0))
    pool.answers[-1].in_flight = 30  # its own queries since
    pool.remove(2)
    assert names(pool) == "bcdefgh"


def test_answers_grow_old() -> None:
    pool = pool_of(("a", 0, 1.0))
    pool.add(PooledAnswer(Backend("b", Address("192.0.2.9", 1)), 0, 1.0, 0.5, 1), 16)
    pool.expire(1.0)
    assert names(pool) == "ab"
    pool.expire(1.1)
    assert names(pool) == "b"


class Scene:
    def __init__(self, count: int, **settings: Any) -> None:
        self.backends = [Backend(str(i), Address("192.0.2.9", i + 1)) for i in range(count)]
        self.balancer = Prequal(PrequalSettings(**settings), random.Random(11))
        self.balancer.rebuild(self.backends, 0.0)

    def answer(self, place: int, in_flight: int, latency_s: float, now: float = 0.0) -> None:
        self.balancer.probed(self.backends[place], in_flight, latency_s, now)

    def pick(self, now: float = 0.0, avoid: tuple[Backend, ...] = ()) -> Backend:
        backend = self.balancer.pick(CLIENT, now, avoid)
        assert backend is not None
        return backend


def test_the_fastest_cold_one_is_chosen() -> None:
    scene = Scene(3)
    for place, (in_flight, latency_s) in enumerate([(1, 0.009), (2, 0.004), (9, 0.001)]):
        scene.answer(place, in_flight, latency_s)
    # The 0.84 quantile of 1 2 9 is 9: nobody is hot.
    assert scene.pick().id == "2"


def test_a_hot_one_is_not_chosen_for_its_latency() -> None:
    scene = Scene(8, removed_per_pick=0.0)
    for place in range(7):
        scene.answer(place, 1, 0.010 - place / 1000)
    scene.answer(7, 50, 0.0001)
    assert scene.pick().id == "6"
    assert "not hot" in scene.balancer.reason(CLIENT, scene.backends[6], 0.0)


@pytest.mark.parametrize("answers", [0, 1])
def test_with_fewer_than_two_answers_chance_decides(answers: int) -> None:
    scene = Scene(4, removed_per_pick=0.0)
    picked = Counter[str]()
    for _ in range(400):
        for place in range(answers):
            scene.answer(place, 0, 0.001)
        scene.balancer.probes_due(0.0)
        scene.balancer.left(scene.backends[0], 0.0)
        scene.balancer.joined(scene.backends[0], 0.0)
        picked[scene.pick().id] += 1
    assert min(picked.values()) > 60


def test_old_answers_are_not_followed() -> None:
    scene = Scene(4, removed_per_pick=0.0)
    for place in range(4):
        scene.answer(place, 0, 0.001 + place)
    picks = {scene.pick(now=1.5).id for _ in range(100)}
    assert picks == {"0", "1", "2", "3"}


def test_a_pick_adds_one_to_every_answer_of_its_backend() -> None:
    scene = Scene(40, pool_size=8, removed_per_pick=0.0, hot_quantile=0.0)
    # m = 8 of n = 40 with 3 probes and nothing removed: each answer may be used once or twice.
    scene.answer(0, 0, 0.001)
    scene.answer(0, 0, 0.001)
    scene.answer(1, 1, 0.001)
    scene.answer(2, 5, 0.001)
    first = scene.pick()
    assert first is scene.backends[0]
    assert "1 in flight" in scene.balancer.scores(CLIENT, 0.0)[scene.backends[0]]


def test_the_pool_holds_one_answer_per_backend_at_most_in_a_small_group() -> None:
    scene = Scene(3, removed_per_pick=0.0)
    for now in range(10):
        scene.answer(now % 3, 0, 0.001, 0.0)
    used = Counter(scene.pick().id for _ in range(2))
    # Each answer is used once: three answers, and two picks went to two backends.
    assert len(used) == 2


def test_what_a_pick_owes_is_probed_without_replacement() -> None:
    scene = Scene(10, probes_per_pick=3.0)
    scene.balancer.probes_due(0.0)
    scene.pick()
    due = scene.balancer.probes_due(0.0)
    assert len(due) == len(set(due)) == 3
    assert scene.balancer.probes_due(0.0) == ()


def test_fractions_of_probes_add_up() -> None:
    scene = Scene(10, probes_per_pick=0.25)
    scene.balancer.probes_due(0.0)
    sent = 0
    for _ in range(2000):
        scene.pick()
        sent += len(scene.balancer.probes_due(0.0))
    assert abs(sent - 500) < 5 * 20


def test_probes_go_on_without_connections_and_only_to_usable_backends() -> None:
    scene = Scene(3, idle_probe_s=0.5)
    scene.backends[1].set_admin(Admin.DOWN, 0.0, Origin.FILE)
    assert set(scene.balancer.probes_due(0.0)) == {scene.backends[0], scene.backends[2]}
    assert scene.balancer.probes_due(0.4) == ()
    assert set(scene.balancer.probes_due(0.5)) == {scene.backends[0], scene.backends[2]}


def test_answers_of_who_left_are_dropped() -> None:
    scene = Scene(3, removed_per_pick=0.0)
    for place in range(3):
        scene.answer(place, 0, 0.001 * (place + 1))
    scene.backends[0].set_admin(Admin.DOWN, 0.0, Origin.FILE)
    scene.answer(0, 0, 0.0)
    assert scene.pick().id == "1"


def test_a_load_report_that_says_as_much_is_an_answer() -> None:
    scene = Scene(2, removed_per_pick=0.0)
    report = LoadReport(in_flight=4, latency_s=0.25)
    scene.balancer.reported(scene.backends[0], report, 0.0)
    scene.balancer.reported(scene.backends[1], LoadReport(cpu_pct=50.0, in_flight=1), 0.0)
    scores = scene.balancer.scores(CLIENT, 0.0)
    assert "4 in flight, 250 ms" in scores[scene.backends[0]]
    assert scores[scene.backends[1]] == "no fresh answer"


def test_a_backend_that_fails_fast_is_no_sinkhole() -> None:
    scene = Scene(3, removed_per_pick=0.0)
    picked = Counter[str]()
    for number in range(300):
        now = number / 100
        for place in range(3):
            scene.answer(place, 0, 0.0001 if place == 0 else 0.010, now)
        backend = scene.pick(now)
        picked[backend.id] += 1
        scene.balancer.closed(backend, Outcome(failed=backend.id == "0"), now)
    assert picked["0"] <= 4
    for place in range(3):
        scene.answer(place, 0, 0.0001 if place == 0 else 0.010, 3.0 + SUSPECT_S)
    assert scene.pick(3.0 + SUSPECT_S).id == "0"


def test_suspects_are_better_than_nobody() -> None:
    scene = Scene(2, removed_per_pick=0.0)
    for backend in scene.backends:
        for _ in range(3):
            scene.balancer.closed(backend, Outcome(failed=True), 0.0)
    scene.answer(0, 0, 0.001)
    scene.answer(1, 0, 0.002)
    assert scene.pick().id == "0"
