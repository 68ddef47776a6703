"""What becomes of a name's addresses as answers come, fail and grow old."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nginy.watch.names import Resolution
from nginy.watch.resolver import DnsAnswer, by_version


def v4(*hosts: str, ttl_s: float = 60.0) -> dict[int, DnsAnswer | None]:
    return {4: DnsAnswer(hosts, ttl_s), 6: DnsAnswer((), 0.0)}


def test_at_first_it_is_due_and_has_nobody() -> None:
    resolution = Resolution(1.0, 300.0, 30.0)
    assert (resolution.hosts, resolution.due_at < 0.0) == ((), True)


@pytest.mark.parametrize(("ttl_s", "due_at"), [(60.0, 160.0), (0.0, 101.0), (86_400.0, 400.0)])
def test_it_is_due_when_the_time_to_live_has_passed_within_bounds(
    ttl_s: float, due_at: float
) -> None:
    resolution = Resolution(1.0, 300.0, 30.0)
    assert resolution.answered(v4("10.0.0.1", ttl_s=ttl_s), 100.0)
    assert resolution.due_at == due_at


def test_the_shortest_time_to_live_counts_and_that_of_an_empty_answer_does_not() -> None:
    resolution = Resolution(1.0, 300.0, 30.0)
    resolution.answered({4: DnsAnswer(("10.0.0.1",), 60.0), 6: DnsAnswer(("::1",), 20.0)}, 0.0)
    assert resolution.due_at == 20.0
    resolution.answered({4: DnsAnswer(("10.0.0.1",), 60.0), 6: DnsAnswer((), 5.0)}, 0.0)
    assert resolution.due_at == 60.0


def test_the_order_of_answers_does_not_matter() -> None:
    resolution = Resolution(1.0, 300.0, 30.0)
    hosts = ("10.0.0.10", "10.0.0.9")
    resolution.answered({4: DnsAnswer(hosts, 1.0), 6: DnsAnswer(("2001:db8::1",), 1.0)}, 0.0)
    first = resolution.hosts
    resolution.answered({4: DnsAnswer(hosts[::-1], 1.0), 6: DnsAnswer(("2001:db8::1",), 1.0)}, 0.0)
    assert resolution.hosts == first == ("10.0.0.9", "10.0.0.10", "2001:db8::1")


@pytest.mark.parametrize(
    "nothing",
    [
        {},
        {4: None, 6: None},
        {4: DnsAnswer((), 9.0), 6: DnsAnswer((), 9.0)},
        {4: None, 6: DnsAnswer((), 9.0)},
    ],
)
def test_without_an_answer_the_old_addresses_stay_and_it_is_soon_asked_again(nothing) -> None:
    resolution = Resolution(2.0, 300.0, 30.0)
    resolution.answered(v4("10.0.0.1"), 0.0)
    assert not resolution.answered(nothing, 100.0)
    assert (resolution.hosts, resolution.due_at) == (("10.0.0.1",), 102.0)


def test_addresses_of_a_name_that_has_none_any_more_go_after_a_while() -> None:
    resolution = Resolution(2.0, 300.0, 30.0)
    resolution.answered(v4("10.0.0.1"), 0.0)
    for now in (100.0, 110.0, 129.9):
        resolution.gone(now)
        assert (resolution.hosts, resolution.due_at) == (("10.0.0.1",), now + 2.0)
    resolution.answered({}, 131.0)
    assert resolution.hosts == ("10.0.0.1",)
    resolution.gone(133.0)
    assert (resolution.hosts, resolution.due_at) == ((), 135.0)
    resolution.answered(v4("10.0.0.2"), 140.0)
    assert resolution.hosts == ("10.0.0.2",)


def test_an_address_in_between_ends_the_while() -> None:
    resolution = Resolution(2.0, 300.0, 30.0)
    resolution.answered(v4("10.0.0.1"), 0.0)
    resolution.gone(100.0)
    resolution.answered(v4("10.0.0.1"), 120.0)
    resolution.gone(140.0)
    assert resolution.hosts == ("10.0.0.1",)


def test_a_family_that_fails_keeps_its_addresses_and_one_that_is_empty_loses_them() -> None:
    resolution = Resolution(2.0, 300.0, 30.0)
    resolution.answered({4: DnsAnswer(("10.0.0.1",), 60.0), 6: DnsAnswer(("::1",), 60.0)}, 0.0)
    assert resolution.answered({4: DnsAnswer(("10.0.0.2",), 60.0), 6: None}, 10.0)
    assert (resolution.hosts, resolution.due_at) == (("10.0.0.2", "::1"), 12.0)
    assert resolution.answered({4: DnsAnswer(("10.0.0.2",), 60.0), 6: DnsAnswer((), 60.0)}, 20.0)
    assert (resolution.hosts, resolution.due_at) == (("10.0.0.2",), 80.0)


def test_a_list_of_addresses_by_version() -> None:
    assert by_version(["10.0.0.1", "::1", "10.0.0.1"], 7.0) == {
        4: DnsAnswer(("10.0.0.1",), 7.0),
        6: DnsAnswer(("::1",), 7.0),
    }


hosts = st.lists(st.integers(1, 9).map(lambda n: f"10.0.0.{n}"), max_size=4).map(tuple)
answers = st.one_of(st.none(), st.builds(DnsAnswer, hosts, st.floats(0, 1e6)))


@given(rounds=st.lists(st.tuples(answers, answers), max_size=10))
def test_who_was_known_once_is_never_without_addresses(rounds) -> None:
    resolution = Resolution(1.0, 300.0, 30.0)
    for number, (first, second) in enumerate(rounds):
        before, now = resolution.hosts, 1000.0 * number
        useful = resolution.answered({4: first, 6: second}, now)
        assert now + 1.0 <= resolution.due_at <= now + 300.0
        assert len(set(resolution.hosts)) == len(resolution.hosts)
        if useful:
            given = {host for answer in (first, second) if answer for host in answer.hosts}
            assert given <= set(resolution.hosts)
        else:
            assert resolution.hosts == before
        assert resolution.hosts or not before
