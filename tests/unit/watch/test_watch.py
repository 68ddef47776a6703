"""Watchers that act by time or tell: slow starts, penalties, schedules."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.penalty import Penalty
from nginy.backend.slow_start import SlowStart
from nginy.backend.wishes import Admin, Origin
from nginy.watch.health_monitor import Schedule
from nginy.watch.watch import RAMP_STEP_S, RAMPS_AT_ONCE, PenaltyLog, Ramps


def backend(**settings: object) -> Backend:
    return Backend("b1", Address("192.0.2.1", 80), **settings)  # type: ignore[arg-type]


def ramping(duration_s: float = 10.0) -> tuple[Ramps, Backend]:
    ramps, slow = Ramps(), backend(slow_start=SlowStart(duration_s), weight=10)
    ramps.watch(slow, 0.0)
    return ramps, slow


def test_one_that_recovers_gets_its_share_step_by_step() -> None:
    ramps, slow = ramping()
    slow.set_healthy(False, 0.0)
    slow.set_healthy(True, 100.0)
    assert slow.share == 100
    ramps.tick(105.0)
    assert slow.share == 550
    ramps.tick(110.0)
    assert slow.share == 1000


def test_one_that_was_down_for_maintenance_likewise() -> None:
    ramps, slow = ramping()
    slow.set_admin(Admin.DOWN, 0.0, Origin.FILE)
    slow.set_admin(Admin.READY, 100.0, Origin.FILE)
    ramps.tick(105.0)
    assert slow.share == 550


def test_nobody_starts_slowly_with_the_process() -> None:
    ramps, slow = ramping()
    ramps.tick(0.1)
    assert slow.share == 1000
    first = backend(slow_start=SlowStart(10.0), weight=10, healthy=False)
    ramps.watch(first, 0.0)
    first.set_healthy(True, 1.0, recovered=False)
    assert first.share == 1000


def test_shares_change_no_more_often_than_the_step() -> None:
    ramps, slow = ramping()
    slow.warm_up(100.0)
    ramps.state_changed(slow, 100.0)
    shares = set()
    for tick in range(1001):
        ramps.tick(100.0 + tick / 100)
        shares.add(slow.share)
    assert len(shares) <= 10.0 / RAMP_STEP_S + 1
    assert slow.share == 1000


def test_many_at_once_are_spread_over_ticks_and_none_is_forgotten() -> None:
    ramps = Ramps()
    every = [backend(slow_start=SlowStart(10.0), weight=10) for _ in range(2 * RAMPS_AT_ONCE + 1)]
    for each in every:
        ramps.watch(each, 0.0)
        each.set_healthy(False, 0.0)
        each.set_healthy(True, 100.0)
    ramped = []
    for tick in range(4):
        ramps.tick(105.0 + tick / 1000)
        ramped.append(sum(each.share > 100 for each in every))
    assert ramped == [RAMPS_AT_ONCE, 2 * RAMPS_AT_ONCE, len(every), len(every)]


def test_one_that_is_removed_ramps_no_more() -> None:
    ramps, slow = ramping()
    slow.set_healthy(False, 0.0)
    slow.set_healthy(True, 100.0)
    slow.remove(101.0)
    ramps.tick(102.0)
    share = slow.share
    ramps.tick(105.0)
    assert slow.share == share


def test_a_penalty_is_told_when_it_begins_and_when_it_ends(caplog) -> None:
    caplog.set_level("INFO")
    failing = backend(penalty=Penalty(2, 10.0, 40.0))
    PenaltyLog().watch(failing)
    for now in (0.0, 1.0, 1.1, 1.2):
        failing.failed(now)
    failing.set_weight(2, 2.0, Origin.FILE)
    failing.opened(12.0)
    failing.failed(12.1)
    failing.opened(40.0)
    failing.succeeded(40.1)
    assert [record.getMessage() for record in caplog.records] == [
        "backend b1: left alone for 10 s after 2 failed attempts",
        "backend b1: left alone for 20 s after 5 failed attempts",
        "backend b1: answers again after its penalty",
    ]


def test_without_max_fails_nothing_is_told(caplog) -> None:
    caplog.set_level("INFO")
    failing = backend()
    PenaltyLog().watch(failing)
    for now in range(9):
        failing.failed(float(now))
    failing.succeeded(9.0)
    assert not caplog.records


@given(
    seed=st.integers(),
    interval_s=st.floats(0.001, 1000.0),
    jitter_pct=st.floats(0.0, 100.0),
)
def test_intervals_are_only_lengthened_and_only_by_the_jitter(
    seed: int, interval_s: float, jitter_pct: float
) -> None:
    schedule = Schedule(interval_s, jitter_pct, random.Random(seed))
    assert 0 <= schedule.first_s() < interval_s
    assert interval_s <= schedule.next_s() <= interval_s * (1 + jitter_pct / 100)


def test_first_checks_are_spread_over_the_interval() -> None:
    schedule = Schedule(10.0, 0.0, random.Random(1))
    by_second = [0] * 10
    for _ in range(1000):
        by_second[int(schedule.first_s())] += 1
    # 100 expected in each, standard deviation 9.5.
    assert min(by_second) > 60
    assert max(by_second) < 140


@pytest.mark.parametrize("jitter_pct", [0.0, 10.0])
def test_jitter_takes_checks_out_of_step(jitter_pct: float) -> None:
    schedule = Schedule(1.0, jitter_pct, random.Random(1))
    totals = [sum(schedule.next_s() for _ in range(100)) for _ in range(20)]
    assert (max(totals) - min(totals) > 0.3) is (jitter_pct > 0)
