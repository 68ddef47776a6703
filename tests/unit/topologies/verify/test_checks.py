import json
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from topologies.emulate.method import DirectionCounters
from topologies.shapes.shape import LinkSpec
from topologies.verify import checks
from topologies.verify.checks import Calibration
from topologies.verify.probes import Arrival, first_of_each, overtaken


def _loss(seen, dropped, loss_pct=1.0, false_alarms=0.01):
    return checks.loss_check("c1->s1", loss_pct, seen, dropped, false_alarms=false_alarms)


def test_loss_is_judged_by_the_exact_binomial_interval():
    # 100 000 packets at 5 %: mean 5000, standard deviation 68.9, 99 % within 2.576 of them.
    assert _loss(100_000, 5000, 5).ok
    assert _loss(100_000, 5177, 5).ok
    assert _loss(100_000, 4823, 5).ok
    assert not _loss(100_000, 5190, 5).ok
    assert not _loss(100_000, 4810, 5).ok


@pytest.mark.parametrize(("dropped", "ok"), [(0, True), (1, False)])
def test_where_no_loss_is_asked_there_must_be_none(dropped, ok):
    assert _loss(100_000, dropped, 0).ok is ok


@pytest.mark.parametrize(("dropped", "ok"), [(100, True), (99, False)])
def test_where_all_is_to_be_lost_nothing_may_pass(dropped, ok):
    assert _loss(100, dropped, 100).ok is ok


def test_a_link_that_carried_nothing_is_not_accused():
    check = _loss(0, 0, 1)
    assert check.ok
    assert (check.measured, check.low, check.high) == (0, 0, 0)


def test_a_link_without_its_loss_is_caught():
    assert not _loss(2000, 0, 1, false_alarms=0.001).ok


@given(st.integers(1, 3000), st.floats(0.1, 99.9), st.integers(0, 10**6))
def test_the_interval_agrees_with_the_two_sided_tails(seen, loss_pct, seed):
    dropped = random.Random(seed).randrange(seen + 1)
    check = _loss(seen, dropped, loss_pct)
    lower = binomtest(dropped, seen, loss_pct / 100, alternative="less").pvalue
    upper = binomtest(dropped, seen, loss_pct / 100, alternative="greater").pvalue
    if min(lower, upper) > 0.00501:
        assert check.ok
    if min(lower, upper) < 0.00499:
        assert not check.ok


def test_delays_that_are_not_there_are_outside():
    assert checks.delay_bounds_ms(LinkSpec(delay_ms=10)) == (9, 11)
    assert checks.delay_bounds_ms(LinkSpec(delay_ms=1)) == (0.5, 1.5)
    assert checks.delay_bounds_ms(LinkSpec(delay_ms=0.5)) == pytest.approx((0.2, 0.8))
    assert checks.delay_bounds_ms(LinkSpec()) == (0, 0.5)
    assert checks.delay_bounds_ms(LinkSpec(delay_ms=10, jitter_ms=5)) == (4, 16)


def test_a_direction_without_its_delay_is_refused_whatever_the_other_has():
    asked = LinkSpec(delay_ms=10)
    assert checks.delay_check("c1->s1", asked, [10.1, 10.0, 10.4]).ok
    assert not checks.delay_check("s1->c1", asked, [0.1, 0.2, 0.1]).ok
    assert not checks.delay_check("s1->c1", asked, []).ok


@pytest.mark.parametrize(("share", "ok"), [(0.1, True), (0.0, False), (0.3, False)])
def test_as_many_overtake_as_asked(share, ok):
    asked = LinkSpec(delay_ms=10, reorder_pct=10)
    assert checks.reorder_check("c1->s1", asked, 400, round(400 * share)).ok is ok


@pytest.mark.parametrize(("share", "ok"), [(0.05, True), (0.0, False), (0.12, False)])
def test_as_many_come_twice_as_asked(share, ok):
    asked = LinkSpec(duplicate_pct=5)
    assert checks.twice_check("c1->s1", asked, 2000, 2000 + round(2000 * share)).ok is ok
    assert not checks.twice_check("c1->s1", asked, 0, 0).ok


def test_copies_are_told_from_loss_and_asked_only_where_they_are_counted():
    asked = LinkSpec(duplicate_pct=50, loss_pct=10)
    # Of 10 000 packets 5000 are doubled: one of 500 is lost, and 450 of the other copies; and 500
    # of those that are not.
    counted = DirectionCounters(seen=14_500, dropped=950, duplicated=4500)
    rows = checks.fate_checks("c1->s1", asked, counted, 1e-5)
    assert [row.ok for row in rows] == [True, True]
    none = replace(counted, seen=10_000, dropped=1000, duplicated=0)
    assert [row.ok for row in checks.fate_checks("c1->s1", asked, none, 1e-5)] == [False, False]
    silent = replace(counted, duplicated=None)
    assert [row.ok for row in checks.fate_checks("c1->s1", asked, silent, 1e-5)] == [True]


def test_who_arrives_before_an_earlier_one_has_overtaken_it():
    order = [0, 3, 1, 2, 5, 4, 6]
    assert overtaken([Arrival(number, 1.0) for number in order]) == 2
    assert overtaken([]) == 0


def test_a_copy_that_follows_its_packet_overtakes_nobody_and_is_not_its_delay():
    came = [Arrival(0, 5.0), Arrival(1, 5.0), Arrival(0, 6.0), Arrival(1, 5.5), Arrival(2, 5.0)]
    assert first_of_each(came) == [came[0], came[1], came[4]]
    assert overtaken([Arrival(number, 1.0) for number in (0, 0, 1, 1, 2)]) == 0


def test_a_limited_link_that_is_not_limited_is_outside():
    low, high = checks.rate_bounds_mbps(LinkSpec(rate_mbps=50))
    assert low < 50 < high
    # It is offered a quarter more than it should carry.
    assert high < 50 * 1.25


def test_what_could_not_be_measured_is_not_right():
    assert not checks.between("c1-s1", "median delay", 20, None, (18, 22), " ms").ok


def test_every_reason_names_its_link():
    wrong = checks.between("c1-s1", "median delay", 20, 0.08, (18, 22), " ms")
    right = checks.same("c1", "congestion control", "cubic", "cubic")
    calibration = Calibration("nfqueue", (wrong, right))
    assert not calibration.valid
    assert calibration.reasons == [
        "c1-s1: median delay asked 20 ms, measured 0.08 ms (18 to 22 accepted)"
    ]
    stored = json.loads(json.dumps(calibration.to_json()))
    assert stored["checks"][0]["link"] == "c1-s1"
    assert stored["valid"] is False


def test_nothing_measured_is_not_valid():
    assert not Calibration("none", ()).valid
    assert Calibration("none", (checks.same("c1", "offloads", "off", "off"),)).valid


def test_lateness_may_be_a_millisecond_or_a_twentieth_of_the_delay():
    assert checks.lateness_bound_ms(LinkSpec(delay_ms=10)) == 1
    assert checks.lateness_bound_ms(LinkSpec(delay_ms=100)) == 5


def _rate(measured, asked=100.0):
    bounds = checks.rate_bounds_mbps(LinkSpec(rate_mbps=asked))
    return checks.between("c1->s1", "rate", asked, measured, bounds, " Mbit/s")


def _delay(measured, delay_ms=10.0):
    spec = LinkSpec(delay_ms=delay_ms)
    return checks.delay_check("c1->s1", spec, [] if measured is None else [measured])


def test_a_busy_machine_makes_links_slower_and_later_only():
    assert _rate(85.0).disturbed
    assert not _rate(115.0).disturbed
    assert not _rate(99.0).disturbed, "it passed"
    assert _delay(11.5).disturbed
    assert not _delay(8.5).disturbed
    assert not _delay(None).disturbed
    assert checks.between("c1->s1", "overflow", 0, 3, (0, 0), " packets").disturbed
    for quantity in ("bypassed", "loss of 900 packets"):
        assert not checks.between("c1->s1", quantity, 0, 3, (0, 0), "").disturbed
    assert not checks.same("dead", "emulator", "alive", "dead").disturbed


def test_the_best_of_several_attempts_counts():
    slow, slower, right = _rate(88.0), _rate(40.0), _rate(99.0)
    assert checks.best([slower, slow, right]) is right
    assert checks.best([slower, slow, _rate(None)]) is slow
    assert checks.best([_rate(None)]).measured is None
    assert checks.worth_repeating([slower, slow])
    assert checks.worth_repeating([_rate(None)])
    assert not checks.worth_repeating([slow, right])


def test_what_is_too_fast_stays_refused_however_often_it_is_measured():
    fast, slowed = _rate(115.0), _rate(105.0)
    assert checks.best([slowed, fast, _rate(100.0)]) is fast
    assert not checks.worth_repeating([fast])
    assert checks.best([_delay(10.0), _delay(4.0)]).measured == 4.0


@given(st.floats(1, 89), st.lists(st.floats(0.5, 1), min_size=1, max_size=5))
def test_a_link_with_another_rate_fails_all_attempts(true_mbps, slowed_by):
    assert not checks.best([_rate(true_mbps * share) for share in slowed_by]).ok


def test_a_calibration_is_disturbed_if_that_explains_all_that_failed():
    lost = checks.loss_check("c1->s1", 1, 2000, 0, false_alarms=0.001)
    assert Calibration("nfqueue", (_rate(85.0), _delay(10.0))).disturbed
    assert not Calibration("nfqueue", (_rate(85.0), lost)).disturbed
    assert not Calibration("nfqueue", (_rate(99.0),)).disturbed


def test_all_attempts_are_stored():
    tried = {"c1->s1": {"rate": [88.85, 99.5]}}
    stored = json.loads(json.dumps(Calibration("nfqueue", (_rate(99.5),), {}, tried).to_json()))
    assert stored["attempts"] == tried


def test_what_is_only_told_never_fails():
    told = checks.told("c1->s1", "p99 lateness", 900.0, " ms")
    assert told.ok
    assert (told.low, told.high, told.measured) == (None, None, 900.0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("really_ms", "ok"), [(4.0, True), (0.0, False), (1.5, False), (10.0, False)]
)
def test_jitter_is_held_against_its_distribution(seed, really_ms, ok):
    rng = np.random.default_rng(seed)
    rtts_ms = 20.2 + rng.uniform(-really_ms, really_ms, (200, 2)).sum(axis=1)
    found = checks.jitter_check("c1-s1", LinkSpec(delay_ms=10, jitter_ms=4), rtts_ms)
    assert found.ok is ok


def test_jitter_that_was_not_measured_is_not_right():
    assert not checks.jitter_check("c1-s1", LinkSpec(delay_ms=10, jitter_ms=4), []).ok
