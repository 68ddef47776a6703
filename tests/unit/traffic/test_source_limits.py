"""Limits per source under a hand-set clock: bounds, counts, what is remembered."""

from collections import Counter, defaultdict

from hypothesis import given
from hypothesis import strategies as st

from nginy.address import numeric_address
from nginy.config.guard_settings import LimitSettings
from nginy.traffic.admission import SourceLimits
from nginy.traffic.close_reason import CloseReason

FULL, RATE = CloseReason.SOURCE_FULL, CloseReason.SOURCE_RATE


def sources(**limits: object) -> SourceLimits:
    return SourceLimits(LimitSettings(**limits))


def at(host: str):
    return numeric_address(host)


def test_concurrency():
    limited = sources(max_connections_per_source=2)
    client, other = at("10.0.0.1"), at("10.0.0.2")
    assert [limited.enter(client, 0.0) for _ in range(3)] == [None, None, FULL]
    assert limited.enter(other, 0.0) is None
    limited.leave(client, 1.0)
    assert [limited.enter(client, 1.0) for _ in range(2)] == [None, FULL]


def test_rate_with_burst():
    limited = sources(new_per_s_per_source=2.0, burst_per_source=3)
    client = at("10.0.0.1")
    assert [limited.enter(client, 0.0) for _ in range(4)] == [None, None, None, RATE]
    assert [limited.enter(client, 0.5) for _ in range(2)] == [None, RATE]
    assert limited.enter(at("10.0.0.2"), 0.5) is None


def test_refusal_for_concurrency_takes_nothing_of_the_rate():
    limited = sources(max_connections_per_source=1, new_per_s_per_source=0.001, burst_per_source=2)
    client = at("10.0.0.1")
    assert [limited.enter(client, 0.0) for _ in range(3)] == [None, FULL, FULL]
    limited.leave(client, 0.0)
    assert limited.enter(client, 0.0) is None


def test_prefixes_make_one_source():
    limited = sources(max_connections_per_source=1, source_prefix_v4=24, source_prefix_v6=64)
    assert limited.enter(at("10.0.0.1"), 0.0) is None
    assert limited.enter(at("10.0.0.200"), 0.0) is FULL
    assert limited.enter(at("::ffff:10.0.0.7"), 0.0) is FULL
    assert limited.enter(at("10.0.1.1"), 0.0) is None
    assert limited.enter(at("2001:db8::1"), 0.0) is None
    assert limited.enter(at("2001:db8::ffff:1"), 0.0) is FULL
    assert limited.enter(at("2001:db8:0:1::1"), 0.0) is None


def test_families_are_never_one_source():
    limited = sources(max_connections_per_source=1, source_prefix_v4=0, source_prefix_v6=0)
    assert limited.enter(at("10.0.0.1"), 0.0) is None
    assert limited.enter(at("2001:db8::1"), 0.0) is None


def test_the_one_longest_silent_is_forgotten_first():
    limited = sources(new_per_s_per_source=0.001, burst_per_source=1, max_sources=2)
    first, second, third = (at(f"10.0.0.{number}") for number in (1, 2, 3))
    for now, client in enumerate((first, second)):
        assert limited.enter(client, now) is None
        limited.leave(client, now)
    assert limited.enter(third, 2) is None
    assert limited.enter(second, 3) is RATE
    assert limited.enter(first, 3) is None  # forgotten, so it starts anew


def test_a_source_with_something_open_is_not_forgotten():
    limited = sources(max_connections_per_source=1, new_per_s_per_source=1000.0, max_sources=1)
    clients = [at(f"10.0.0.{number}") for number in range(5)]
    assert [limited.enter(client, 0.0) for client in clients] == [None] * 5
    assert [limited.enter(client, 0.0) for client in clients] == [FULL] * 5
    assert len(limited) == 5


def test_who_is_as_good_as_new_takes_no_room():
    limited = sources(new_per_s_per_source=1.0, burst_per_source=1)
    for number in range(10):
        limited.enter(at(f"10.0.0.{number}"), 0.0)
        limited.leave(at(f"10.0.0.{number}"), 0.0)
    assert len(limited) == 10
    limited.enter(at("10.0.1.1"), 2.0)
    assert len(limited) == 1


steps = st.lists(
    st.tuples(st.floats(0, 2), st.integers(0, 5), st.sampled_from(["enter", "leave"])),
    max_size=200,
)


@given(
    steps=steps,
    most=st.integers(0, 3),
    rate=st.one_of(st.just(0.0), st.floats(0.1, 20)),
    burst=st.integers(1, 5),
    max_sources=st.integers(1, 4),
)
def test_invariants(steps, most, rate, burst, max_sources):
    limited = sources(
        max_connections_per_source=most,
        new_per_s_per_source=rate,
        burst_per_source=burst,
        max_sources=max_sources,
    )
    opened: Counter[int] = Counter()
    now = 0.0
    for pause, number, verb in steps:
        now += pause
        client = at(f"10.0.0.{number}")
        if verb == "enter":
            refusal = limited.enter(client, now)
            assert (refusal is FULL) == (0 < most <= opened[number])
            opened[number] += refusal is None
        elif opened[number]:
            limited.leave(client, now)
            opened[number] -= 1
        busy = sum(1 for count in opened.values() if count)
        assert len(limited) <= max(max_sources, busy)
    for number, count in opened.items():
        for _ in range(count):
            limited.leave(at(f"10.0.0.{number}"), now)
    if not rate:
        assert len(limited) == 0


@given(
    attempts=st.lists(st.tuples(st.floats(0, 2), st.integers(0, 3)), max_size=200),
    rate=st.floats(0.1, 20),
    burst=st.integers(1, 5),
)
def test_no_source_gets_more_than_burst_and_rate(attempts, rate, burst):
    """While nobody is forgotten for want of room."""
    limited = sources(new_per_s_per_source=rate, burst_per_source=burst)
    admitted: dict[int, int] = defaultdict(int)
    now = 0.0
    for pause, number in attempts:
        now += pause
        client = at(f"10.0.0.{number}")
        if limited.enter(client, now) is None:
            admitted[number] += 1
            limited.leave(client, now)
    assert all(count <= burst + rate * now + 1e-6 for count in admitted.values())


def test_who_comes_back_is_not_the_one_longest_silent_any_more():
    limited = sources(new_per_s_per_source=0.001, burst_per_source=2, max_sources=3)
    first, second, third, fourth = (at(f"10.0.0.{number}") for number in range(4))
    for now, client in enumerate((first, second, first, third)):
        assert limited.enter(client, now) is None
        assert len(limited) == (1, 2, 2, 3)[now]
        limited.leave(client, now)
    assert limited.enter(fourth, 4) is None
    assert limited.enter(first, 5) is RATE
