"""Another version of a rule while it is at work: what is open stays, what comes follows the new."""

from dataclasses import replace
from typing import Any

import pytest

from nginy.address import Address
from nginy.backend.wishes import Origin
from nginy.config.guard_settings import (
    AccessSettings,
    LimitSettings,
    LiveSettings,
    QueueSettings,
    UdpSettings,
)
from nginy.config.schema import ConnectionTimeouts, Retries
from nginy.config.strategies import LeastBytesSettings, LeastConnSettings
from nginy.errors import BackendError
from nginy.traffic.attempt import Attempt
from nginy.traffic.close_reason import CloseReason, ConnectionEnd
from nginy.traffic.rate import Rates
from tests.rules import CLIENT, LISTENER, TICK_S, Carrier, World, one_rule

THREE = ({}, {}, {})


def update(world: World, **settings: Any) -> None:
    world.rule.update(replace(world.rule.settings, **settings), world.now)


def served(world: World, client: Address = CLIENT) -> Carrier:
    carrier = Carrier(world, client)
    assert carrier.choose() is not None
    carrier.reach()
    return carrier


def refused(world: World, client: Address = CLIENT) -> CloseReason:
    with pytest.raises(ConnectionEnd) as end:
        Attempt.begin(world.rule, LISTENER, client, world.now)
    return end.value.reason


def close_all(world: World, *carriers: Carrier) -> None:
    for carrier in carriers:
        carrier.close()
    world.settle()
    world.assert_consistent()
    world.assert_nothing_left()


def test_what_is_open_stays_open_and_counted():
    world = one_rule(*THREE)
    carriers = [served(world) for _ in range(6)]
    update(
        world,
        strategy=LeastConnSettings(),
        limits=LimitSettings(max_connections=1, max_connections_per_source=1),
        access=(AccessSettings(deny="10.9.0.0/16"),),
        retries=Retries(max_tries=1),
    )
    assert [carrier.reason for carrier in carriers] == [None] * 6
    assert (world.rule.admission.open, world.pool.open_leases, len(world.rule.live)) == (6, 6, 6)
    close_all(world, *carriers)
    assert world.rule.closed == {CloseReason.COMPLETED: 6}


def test_caps_count_what_is_open_already():
    world = one_rule(*THREE)
    carriers = [served(world) for _ in range(3)]
    update(world, limits=LimitSettings(max_connections=3))
    assert refused(world) is CloseReason.RULE_FULL
    update(world, limits=LimitSettings(max_connections=4))
    carriers.append(served(world))
    assert refused(world) is CloseReason.RULE_FULL
    update(world, limits=LimitSettings())
    close_all(world, *carriers, served(world))


def test_the_access_list_is_asked_from_now_on():
    world = one_rule(*THREE)
    inside = served(world)
    update(world, access=(AccessSettings(deny=CLIENT.host),))
    assert refused(world) is CloseReason.DENIED
    update(world, access=())
    close_all(world, inside, served(world))


def test_timeouts_rates_and_tries_are_those_of_the_new_version():
    world = one_rule(*THREE)
    update(
        world,
        timeouts=ConnectionTimeouts(
            connect_timeout_ms=100,
            idle_timeout_ms=200,
            half_closed_timeout_ms=300,
            backend_finished_timeout_ms=50,
        ),
        retries=Retries(max_tries=1, total_timeout_ms=400),
        limits=LimitSettings(upload_bytes_per_s=5.0, download_bytes_per_s=6.0),
    )
    rule = world.rule
    assert (rule.connect_timeout_s, rule.limits) == (0.1, (0.2, 0.3, 0.05))
    assert rule.rates == Rates(5.0, 6.0)
    unlucky = Carrier(world)
    unlucky.choose()
    assert unlucky.attempt.time_left_s == 0.4
    unlucky.fail()
    unlucky.choose()
    assert unlucky.reason is CloseReason.CONNECT_FAILED
    close_all(world)


def test_the_live_policy_is_that_of_the_new_version():
    world = one_rule(*THREE)
    carrier = served(world)
    update(world, live_connections=LiveSettings(on_down="close", on_drain="close"))
    world.pool[carrier.backend].set_weight(0, 1.0, Origin.FILE)
    world.settle()
    assert carrier.reason is CloseReason.BACKEND_DRAINED
    close_all(world)


# The queue.


def queueing(timeout_ms: int = 5000, max_waiting: int = 9) -> World:
    settings = {"timeout_ms": timeout_ms, "max_waiting": max_waiting}
    return one_rule({"max_connections": 1}, queue=settings)


def waiting(world: World) -> Carrier:
    carrier = Carrier(world)
    carrier.choose()
    return carrier


def test_a_queue_can_come_and_its_length_change():
    world = queueing(max_waiting=0)
    first = served(world)
    assert waiting(world).reason is CloseReason.NO_BACKEND
    update(world, queue=QueueSettings(max_waiting=1))
    second = waiting(world)
    assert waiting(world).reason is CloseReason.QUEUE_FULL
    update(world, queue=QueueSettings(max_waiting=2))
    third = waiting(world)
    assert third.reason is None
    close_all(world, second, third, first)


def test_who_waits_when_the_queue_is_abolished_waits_on():
    world = queueing()
    first, second, third = served(world), waiting(world), waiting(world)
    update(world, queue=QueueSettings(max_waiting=0))
    first.close()
    world.settle()
    assert second.backend == "b1"
    world.advance(5.0 + 2 * TICK_S)
    assert third.reason is CloseReason.QUEUE_TIMEOUT
    close_all(world, second)


@pytest.mark.parametrize("timeout_ms", [500, 20_000])
def test_patience_is_that_of_the_new_version(timeout_ms):
    """A shorter one holds for all, or who came later would have to wait for those before him."""
    world = queueing(timeout_ms=5000)
    first, second = served(world), waiting(world)
    update(world, queue=QueueSettings(max_waiting=9, timeout_ms=timeout_ms))
    third = waiting(world)
    world.advance(min(timeout_ms / 1e3, 5.0) + 2 * TICK_S)
    assert second.reason is CloseReason.QUEUE_TIMEOUT
    world.advance(max(0.0, timeout_ms / 1e3 - 5.0))
    assert third.reason is CloseReason.QUEUE_TIMEOUT
    close_all(world, first)


def test_who_waits_is_placed_by_the_new_algorithm_and_on_new_backends():
    world = one_rule(
        {"max_connections": 1},
        {},
        queue={"max_waiting": 9, "timeout_ms": 5000},
    )
    update(world, backend_ids=("b1",))
    first, second = served(world), waiting(world)
    update(world, backend_ids=("b1", "b2"), strategy=LeastConnSettings())
    world.advance(2 * TICK_S)
    assert second.backend == "b2"
    close_all(world, first, second)


# The algorithm.


def watchers_of(world: World) -> list[list[object]]:
    return [[*each.watchers, *each.load_watchers] for each in world.pool.values()]


def test_the_same_algorithm_keeps_its_state():
    world = one_rule(*THREE, strategy={"type": "least_bytes"})
    before = world.rule.balancer
    carrier = served(world)
    carrier.carry(500, 500)
    carrier.close()
    said = before.scores(CLIENT, 0.0)
    watched = [len(each) for each in watchers_of(world)]
    update(world, retries=Retries(max_tries=1), strategy=LeastBytesSettings())
    assert world.rule.balancer is before
    assert before.scores(CLIENT, 0.0) == said
    assert [len(each) for each in watchers_of(world)] == watched
    close_all(world)


def test_another_algorithm_replaces_it_and_the_old_one_watches_nobody():
    world = one_rule(*THREE, strategy={"type": "least_bytes"})
    before = world.rule.balancer
    carriers = [served(world) for _ in range(3)]
    update(world, strategy=LeastConnSettings())
    assert world.rule.balancer is not before
    for watchers in watchers_of(world):
        assert before not in watchers
        assert before.roster not in watchers
        assert world.rule.balancer in watchers
    carriers[1].close()
    carriers[1] = served(world)
    assert carriers[1].backend == "b2", "the new one counts what was open before"
    close_all(world, *carriers)


def test_what_was_opened_under_the_old_algorithm_is_closed_there():
    world = one_rule(*THREE, strategy={"type": "least_bytes"})
    told: list[tuple[object, str]] = []
    carrier = served(world)
    old = world.rule.balancer
    old.closed = lambda backend, outcome, now: told.append(("old", backend.id))
    update(world, strategy=LeastConnSettings())
    new = world.rule.balancer
    new.closed = lambda backend, outcome, now: told.append(("new", backend.id))
    carrier.carry(10, 10)
    close_all(world, carrier)
    assert told == [("old", "b1")]


def test_tiers_come_and_go_with_the_backups():
    world = one_rule({}, {}, {"backup": True}, targets=["b1", "b2"])
    update(world, backend_ids=("b1", "b2", "b3"))
    carriers = [served(world) for _ in range(4)]
    assert {carrier.backend for carrier in carriers} == {"b1", "b2"}
    for number in (1, 2):
        world.backend(number).set_healthy(False, 0.0)
    carriers.append(served(world))
    assert carriers[-1].backend == "b3"
    update(world, backend_ids=("b1", "b2"))
    assert waiting(world).reason is CloseReason.NO_BACKEND
    close_all(world, *carriers)


def test_a_backend_that_is_no_target_any_more_keeps_what_it_has_and_gets_nothing_new():
    world = one_rule(*THREE)
    carrier = served(world)
    assert carrier.backend == "b1"
    update(world, backend_ids=("b2", "b3"))
    others = [served(world) for _ in range(4)]
    assert {other.backend for other in others} == {"b2", "b3"}
    assert carrier.reason is None
    close_all(world, carrier, *others)


# Limits per source.

NEIGHBOUR = Address("10.9.0.2", 1000)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"max_connections_per_source": 2}),
        ({"max_connections_per_source": 5}, {"max_connections_per_source": 2}),
        ({"max_connections_per_source": 3, "source_prefix_v4": 24},
         {"max_connections_per_source": 2, "source_prefix_v4": 32}),
        ({"new_per_s_per_source": 1000.0}, {"max_connections_per_source": 2}),
    ],
)  # fmt: skip
def test_counts_per_source_begin_again_and_are_exact_for_who_comes(before, after):
    world = one_rule(*THREE, limits=before)
    early = [served(world) for _ in range(3)]
    update(world, limits=LimitSettings(**after))
    late = [served(world) for _ in range(2)]
    assert refused(world) is CloseReason.SOURCE_FULL
    early.pop().close()
    assert refused(world) is CloseReason.SOURCE_FULL, "who left was not among those counted"
    late.pop().close()
    late.append(served(world))
    assert refused(world) is CloseReason.SOURCE_FULL
    late.append(served(world, NEIGHBOUR))
    assert world.rule.admission.open == 5
    close_all(world, *early, *late)


def test_limits_per_source_can_be_lifted_and_set_again():
    limits = {"max_connections_per_source": 1}
    world = one_rule(*THREE, limits=limits)
    early = served(world)
    update(world, limits=LimitSettings())
    free = [served(world) for _ in range(3)]
    update(world, limits=LimitSettings(**limits))
    late = served(world)
    for carrier in (early, *free):
        carrier.close()
    assert refused(world) is CloseReason.SOURCE_FULL
    close_all(world, late)


def test_the_same_limits_keep_their_counts():
    world = one_rule(*THREE, limits={"max_connections_per_source": 1})
    early = served(world)
    update(world, access=(AccessSettings(allow="0.0.0.0/0"),), retries=Retries(max_tries=1))
    assert refused(world) is CloseReason.SOURCE_FULL
    early.close()
    close_all(world, served(world))


def test_udp_settings_are_those_of_the_new_version():
    world = one_rule(*THREE, protocol="udp")
    update(world, udp=UdpSettings(max_sessions=7, idle_timeout_ms=9))
    assert (world.rule.udp.max_sessions, world.rule.udp.idle_timeout_ms) == (7, 9)


@pytest.mark.parametrize("strategy", [None, LeastConnSettings()])
@pytest.mark.parametrize("number", [1, 2])
def test_who_waits_hears_of_a_free_place_in_any_tier_and_of_any_version(strategy, number):
    world = one_rule(
        {"max_connections": 1},
        {"max_connections": 1, "backup": True},
        queue={"max_waiting": 5},
    )
    if strategy is not None:
        update(world, strategy=strategy)
    first, second, waiting = served(world), served(world), Carrier(world)
    assert waiting.choose() is None
    (first, second)[number - 1].close()
    world.settle()
    assert waiting.backend == f"b{number}"
    close_all(world, first, second, waiting)


@pytest.mark.parametrize(
    "settings",
    [
        {"strategy": LeastBytesSettings(), "backend_ids": ("b1", "nobody")},
        {"strategy": "one that nobody has made"},
    ],
)
def test_a_version_that_cannot_be_made_changes_nothing(settings: dict[str, Any]):
    world = one_rule(*THREE)
    carriers = [served(world) for _ in range(3)]
    before, balancer = world.rule.settings, world.rule.balancer
    with pytest.raises((BackendError, KeyError, AttributeError)):
        update(world, limits=LimitSettings(max_connections=1), **settings)
    assert world.rule.settings is before
    assert world.rule.balancer is balancer
    carriers += [served(world) for _ in range(3)]
    assert sorted(backend.active for backend in world.pool.values()) == [2, 2, 2]
    close_all(world, *carriers)
