import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topologies.emulate.method import DirectionCounters
from topologies.emulate.nfqueue_schedule import COPY, EARLY_S, Fate, Lateness, Schedule, arrival_s
from topologies.shapes.shape import LinkSpec
from topologies.verify.checks import fate_checks, twice_check


def _fates(schedule, packets, spacing_s=1.0):
    return [schedule.admit(number, number * spacing_s) for number in range(packets)]


def test_a_packet_is_held_for_its_delay_and_no_longer():
    schedule = Schedule(LinkSpec(delay_ms=10), 1, "c1->s1")
    assert schedule.release(5.0) is None
    assert schedule.admit(7, 5.0) is Fate.HELD
    assert schedule.held[0] == (pytest.approx(5.010), 7)
    assert schedule.release(5.0099) is None
    assert schedule.release(5.01) == 7
    assert schedule.release(6.0) is None


def test_what_is_due_in_an_instant_does_not_wait_for_it():
    schedule = Schedule(LinkSpec(delay_ms=10), 1, "c1->s1")
    schedule.admit(1, 0.0)
    assert schedule.release(0.010 - 1.1 * EARLY_S) is None
    assert schedule.release(0.010 - 0.9 * EARLY_S) == 1
    assert schedule.lateness.quantile_s(1.0) == pytest.approx(0.0001)


def test_one_release_covers_all_that_are_due():
    schedule = Schedule(LinkSpec(delay_ms=10), 1, "c1->s1")
    for number, now in ((1, 0.0), (2, 0.001), (3, 0.005)):
        schedule.admit(number, now)
    assert schedule.release(0.0112) == 2
    assert schedule.release(0.0117) is None
    assert schedule.release(0.015) == 3


def test_a_release_is_limited_so_that_arrivals_are_not_kept_waiting():
    schedule = Schedule(LinkSpec(delay_ms=1), 1, "c1->s1")
    for number in range(100):
        schedule.admit(number, 0.0)
    released = []
    while (last := schedule.release(1.0)) is not None:
        released.append(last)
    assert released == [63, 99]


@given(seed=st.integers(0, 2**63), loss=st.floats(1, 99))
def test_the_same_seed_loses_the_same_packets(seed, loss):
    spec = LinkSpec(loss_pct=loss)
    first = _fates(Schedule(spec, seed, "c1->s1"), 200)
    again = Schedule(spec, seed, "c1->s1")
    assert _fates(again, 200, spacing_s=0.5) == first
    again.restart_draws()
    assert _fates(again, 200) == first


def test_seeds_and_directions_have_streams_of_their_own():
    spec = LinkSpec(loss_pct=50)
    fates = {
        (seed, direction): tuple(_fates(Schedule(spec, seed, direction), 100))
        for seed in (1, 2)
        for direction in ("c1->s1", "s1->c1", "c2->s1")
    }
    assert len(set(fates.values())) == 6


def test_jitter_does_not_change_which_packets_are_lost():
    plain = Schedule(LinkSpec(delay_ms=5, loss_pct=20), 3, "c1->s1")
    shaken = Schedule(LinkSpec(delay_ms=5, jitter_ms=5, loss_pct=20), 3, "c1->s1")
    assert _fates(plain, 500) == _fates(shaken, 500)


@pytest.mark.parametrize(("loss_pct", "kept"), [(0, 50), (100, 0)])
def test_no_loss_keeps_and_full_loss_drops_everything(loss_pct, kept):
    schedule = Schedule(LinkSpec(loss_pct=loss_pct), 1, "c1->s1")
    assert _fates(schedule, 50).count(Fate.HELD) == kept
    assert (schedule.seen, schedule.dropped) == (50, 50 - kept)


@given(seed=st.integers(0, 2**32), loss_pct=st.floats(1, 40), length=st.floats(1.5, 20))
def test_bursts_are_counted_and_packets_between_them_get_through(seed, loss_pct, length):
    schedule = Schedule(LinkSpec(loss_pct=loss_pct, loss_burst_packets=length), seed, "c1->s1")
    lost = [fate is Fate.LOST for fate in _fates(schedule, 500)]
    assert schedule.dropped == sum(lost)
    assert schedule.bursts == lost[0] + sum(b and not a for a, b in itertools.pairwise(lost))


def test_bursts_have_the_length_and_take_up_the_share_asked():
    spec = LinkSpec(loss_pct=5, loss_burst_packets=8)
    schedule = Schedule(spec, 1, "c1->s1")
    _fates(schedule, 200_000)
    counted = DirectionCounters(
        seen=schedule.seen, dropped=schedule.dropped, bursts=schedule.bursts
    )
    assert all(check.ok for check in fate_checks("c1->s1", spec, counted, 1e-3))
    single = Schedule(LinkSpec(loss_pct=5), 1, "c1->s1")
    _fates(single, 200_000)
    counted = DirectionCounters(seen=single.seen, dropped=single.dropped, bursts=single.bursts)
    assert [check.ok for check in fate_checks("c1->s1", spec, counted, 1e-3)] == [True, False]


def test_who_overtakes_is_not_held_and_does_not_change_who_is_lost():
    spec = LinkSpec(delay_ms=5, loss_pct=20)
    plain, mixed = Schedule(spec, 3, "c1->s1"), Schedule(replace(spec, reorder_pct=30), 3, "c1->s1")
    before, after = _fates(plain, 2000), _fates(mixed, 2000)
    assert [fate is Fate.LOST for fate in before] == [fate is Fate.LOST for fate in after]
    ahead = after.count(Fate.AHEAD)
    assert ahead == mixed.reordered
    assert len(mixed.held) == after.count(Fate.HELD)
    assert 0.25 < ahead / (2000 - after.count(Fate.LOST)) < 0.35


def _released(schedule, until_s):
    """What is let go up to then, in order: packet ids, and `c` and the id of a copy."""
    found, before = [], 0
    while True:
        last = schedule.release(until_s)
        copy = schedule.release_copy(until_s)
        if last is None and copy is None:
            return found
        found += [] if last is None else [str(each) for each in range(before, last + 1)]
        before = before if last is None else last + 1
        found += [] if copy is None else [copy.decode()]


def test_a_copy_follows_its_packet_and_all_packets_keep_their_order():
    schedule = Schedule(LinkSpec(delay_ms=5, duplicate_pct=40), 3, "c1->s1")
    for number in range(50):
        assert schedule.admit(number, number * 0.001, f"c{number}".encode()) is Fate.HELD
    assert _released(schedule, 0.004) == []
    gone = _released(schedule, 1.0)
    assert [each for each in gone if each[0] != "c"] == [str(number) for number in range(50)]
    copies = [place for place, each in enumerate(gone) if each[0] == "c"]
    assert len(copies) == schedule.duplicated > 10
    assert all(gone[place] == f"c{gone[place - 1]}" for place in copies)


def test_the_same_seed_doubles_the_same_packets():
    spec = LinkSpec(delay_ms=5, loss_pct=10, duplicate_pct=20)

    def gone(seed):
        schedule = Schedule(spec, seed, "c1->s1")
        for number in range(300):
            schedule.admit(number, 0.0, str(number).encode())
        return list(schedule.copies), [each for _, each in schedule.held]

    assert gone(1) == gone(1) != gone(2)


@given(st.floats(0, 60), st.floats(1, 100), st.sampled_from([0, 30]))
def test_packets_and_copies_are_all_accounted_for(loss_pct, duplicate_pct, reorder_pct):
    spec = LinkSpec(
        delay_ms=5, loss_pct=loss_pct, duplicate_pct=duplicate_pct, reorder_pct=reorder_pct
    )
    schedule = Schedule(spec, 9, "c1->s1")
    fates = [schedule.admit(number, number * 1e-4, b"x") for number in range(500)]
    assert schedule.seen == 500 + schedule.duplicated
    went = fates.count(Fate.AHEAD) + len(schedule.held)
    assert schedule.seen - schedule.dropped == went
    assert len(schedule.copies) == sum(each == COPY for _, each in schedule.held)


def test_loss_takes_one_of_two_and_the_share_of_both_is_as_asked():
    spec = LinkSpec(loss_pct=30, duplicate_pct=25)
    schedule = Schedule(spec, 1, "c1->s1")
    came = []
    for number in range(100_000):
        before = len(schedule.copies)
        fate = schedule.admit(number, 0.0, b"x")
        came.append((fate is Fate.HELD) + len(schedule.copies) - before)
    counted = DirectionCounters(
        seen=schedule.seen, dropped=schedule.dropped, duplicated=schedule.duplicated
    )
    assert all(check.ok for check in fate_checks("c1->s1", spec, counted, 1e-3))
    assert twice_check("c1->s1", spec, sum(map(bool, came)), sum(came)).ok
    half = replace(spec, duplicate_pct=20)
    assert not twice_check("c1->s1", half, sum(map(bool, came)), sum(came)).ok
    assert not all(check.ok for check in fate_checks("c1->s1", half, counted, 1e-3))


def test_a_change_leaves_what_waits_and_goes_on_with_the_draws():
    changed, other = (Schedule(LinkSpec(delay_ms=50, loss_pct=10), 5, "c1->s1") for _ in range(2))
    first = _fates(changed, 100, spacing_s=0)
    assert first == _fates(other, 100, spacing_s=0)
    changed.change(LinkSpec(delay_ms=1, loss_pct=10))
    assert changed.hold_s == 0.001
    assert [changed.admit(number, 0.0) for number in range(100)] == _fates(other, 100, spacing_s=0)
    assert min(due for due, _ in changed.held) == 0.05, "in order: none overtakes those before"
    changed.change(LinkSpec(loss_pct=100))
    assert set(_fates(changed, 10)) == {Fate.LOST}


@given(st.lists(st.floats(0, 0.01), min_size=1, max_size=60), st.integers(0, 1000))
def test_no_packet_overtakes_and_none_leaves_outside_its_jitter(gaps, seed):
    schedule = Schedule(LinkSpec(delay_ms=10, jitter_ms=8), seed, "c1->s1")
    now, latest = 0.0, 0.0
    for number, gap in enumerate(gaps):
        now += gap
        schedule.admit(number, now)
        latest = max(latest, now + 0.018)
    left = []
    while schedule.held:
        due = schedule.held[0][0]
        assert due <= latest
        assert schedule.release(due - 1.1 * EARLY_S) is None
        left.append((due, schedule.release(due)))
    assert left == sorted(left)
    assert left[-1][1] == len(gaps) - 1
    assert left[0][0] >= gaps[0] + 0.002


def test_jitter_is_spread_evenly_around_the_delay():
    schedule = Schedule(LinkSpec(delay_ms=10, jitter_ms=4), 5, "c1->s1")
    delays = []
    for number in range(4000):
        schedule.admit(number, float(number))
        due = schedule.held[0][0]
        delays.append(due - number)
        schedule.release(due)
    assert min(delays) >= 0.006 - 1e-9
    assert max(delays) <= 0.014 + 1e-9
    # The standard error of the mean is 4 ms / sqrt(3) / sqrt(4000) = 0.037 ms.
    assert sum(delays) / len(delays) == pytest.approx(0.010, abs=0.00018)


def test_lateness_counts_what_left_a_millisecond_after_its_time():
    lateness = Lateness()
    assert lateness.quantile_s(0.99) == 0
    for seconds in [0.00005] * 98 + [0.00125, 0.5]:
        lateness.add(seconds)
    assert lateness.late == 2
    assert lateness.max_s == 0.5
    assert lateness.quantile_s(0.5) == pytest.approx(0.0001)
    assert lateness.quantile_s(0.99) == pytest.approx(0.0013)
    assert lateness.quantile_s(1.0) == 0.5


def test_lateness_is_told_by_median_tail_and_maximum():
    lateness = Lateness()
    for seconds in [0.00005] * 900 + [0.00055] * 97 + [0.0023] * 3:
        lateness.add(seconds)
    told = DirectionCounters(**lateness.to_json())
    assert told.lateness_p50_ms == pytest.approx(0.1)
    assert told.lateness_p99_ms == pytest.approx(0.6)
    assert told.lateness_p999_ms == pytest.approx(2.4)
    assert told.lateness_max_ms == pytest.approx(2.3)


def test_how_long_every_packet_is_held_at_least():
    assert Schedule(LinkSpec(delay_ms=10, jitter_ms=4), 1, "c1->s1").hold_s == pytest.approx(0.006)
    assert Schedule(LinkSpec(loss_pct=1), 1, "c1->s1").hold_s == 0


@pytest.mark.parametrize(
    ("stamp_s", "came_s"),
    [
        (5.0004, 5.0004),  # it waited to be read
        (5.002, 5.001),  # the wall clock was set meanwhile
        (4.980, 5.0007),  # of when it came to a queue that held it before
    ],
)
def test_a_packet_came_when_the_kernel_says_if_that_can_be(stamp_s, came_s):
    assert arrival_s(stamp_s, empty_s=5.0, released_s=5.0007, read_s=5.001) == came_s


def test_counts_begin_again_without_disturbing_the_packets_held():
    schedule = Schedule(LinkSpec(delay_ms=10), 1, "c1->s1")
    schedule.admit(1, 0.0)
    schedule.restart_counts()
    assert (schedule.seen, schedule.dropped, schedule.lateness.late) == (0, 0, 0)
    assert schedule.release(0.02) == 1
    assert schedule.lateness.late == 1


def test_a_packet_that_the_kernel_queued_late_is_not_let_go_early():
    stamped, queued_after_empty = 5.0005, 5.0008
    came_s = arrival_s(stamped, empty_s=queued_after_empty, released_s=5.0001, read_s=5.001)
    assert came_s == stamped
