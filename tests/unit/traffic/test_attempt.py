"""An attempt's life in virtual time: what it takes, what it gives back, what is written of it."""

import pytest

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.pool import Outcome
from nginy.backend.wishes import Admin, Origin
from nginy.errors import BackendError
from nginy.traffic.attempt import Attempt, BackendWithdrawn
from nginy.traffic.close_reason import CloseReason, ConnectionEnd
from tests.rules import CLIENT, LISTENER, TICK_S, Carrier, World, one_rule

THREE = ({}, {}, {})
ONE_EACH = ({"max_connections": 1}, {"max_connections": 1})
SILENT = BackendError("no answer", "timeout")


class Listening:
    """A rule's algorithm, and what it is told besides."""

    def __init__(self, world: World, *, wants_progress: bool) -> None:
        self.told: list[tuple[object, ...]] = []
        self.outcomes: list[Outcome] = []
        balancer = world.rule.balancer
        balancer.wants_progress = wants_progress
        balancer.first_byte = self._first_byte
        balancer.moved = self._moved
        balancer.closed = self._closed

    def _first_byte(self, backend: Backend, seconds: float, now: float) -> None:
        self.told.append(("first byte", backend.id, seconds))

    def _moved(self, backend: Backend, byte_count: int, now: float) -> None:
        self.told.append(("moved", backend.id, byte_count))

    def _closed(self, backend: Backend, outcome: Outcome, now: float) -> None:
        self.outcomes.append(outcome)


@pytest.fixture
def began():
    """`began(world)`: an attempt there; at the end nothing may be left of any."""
    worlds: list[World] = []
    carriers: list[Carrier] = []

    def begin(world: World, client: Address = CLIENT) -> Carrier:
        worlds.append(world)
        carriers.append(Carrier(world, client))
        return carriers[-1]

    yield begin
    for carrier in carriers:
        carrier.close(CloseReason.SHUTDOWN)
    for world in worlds:
        world.settle()
        world.assert_nothing_left()
        ids = [record["id"] for record in world.records]
        assert len(set(ids)) == len(ids), "two records of one attempt"


# Tries.


def test_served_by_the_first(began):
    world = one_rule(*THREE)
    served = began(world)
    assert served.choose() == "b1"
    assert (world.backend(1).active, world.pool.open_leases, len(world.rule.live)) == (1, 1, 1)
    world.now = 0.25
    served.reach()
    world.now = 1.0
    served.carry(3, 4)
    world.now = 2.0
    served.close()
    (record,) = world.records
    assert record["connect_ms"] == 250.0
    assert record["first_byte_ms"] == 1000.0
    assert record["duration_ms"] == 2000.0
    assert (record["bytes_up"], record["bytes_down"]) == (3, 4)
    assert (record["backend"], record["close_reason"], record["fault"]) == (
        "b1", "completed", "nobody"
    )  # fmt: skip
    tally = world.rule.live.tally(world.backend(1))
    assert (tally.picked, tally.reached, tally.connect_s) == (1, 1, 0.25)
    assert (tally.bytes_up, tally.bytes_down, dict(tally.failed)) == (3, 4, {})


@pytest.mark.parametrize("max_tries", [1, 2, 3])
def test_each_backend_is_tried_once_up_to_max_tries(began, max_tries):
    world = one_rule(*THREE, {}, retries={"max_tries": max_tries})
    unlucky = began(world)
    tried = []
    while (backend := unlucky.choose()) is not None:
        tried.append(backend)
        unlucky.fail()
    assert tried == ["b1", "b2", "b3"][:max_tries]
    assert unlucky.reason is CloseReason.CONNECT_FAILED
    (record,) = world.records
    assert record["backends_tried"] == tried
    assert (record["backend"], record["connect_ms"]) == (None, None)
    assert [dict(world.rule.live.tally(world.backend(n)).failed) for n in (1, 4)] == [
        {"ECONNREFUSED": 1}, {}
    ]  # fmt: skip


def test_no_backend_left_to_try_is_a_failure_to_connect(began):
    world = one_rule({}, {}, retries={"max_tries": 9})
    unlucky = began(world)
    for _ in range(2):
        unlucky.choose()
        unlucky.fail()
    unlucky.choose()
    assert unlucky.reason is CloseReason.CONNECT_FAILED


def test_nobody_up_at_all_is_no_backend(began):
    world = one_rule({"down": True})
    unlucky = began(world)
    assert unlucky.choose() is None
    assert unlucky.reason is CloseReason.NO_BACKEND
    assert world.records[0]["backends_tried"] == []


def test_no_try_begins_after_the_total_timeout(began):
    world = one_rule(*THREE, retries={"total_timeout_ms": 1000})
    slow = began(world)
    slow.choose()
    assert slow.attempt.time_left_s == 1.0
    world.now = 0.75
    slow.fail(SILENT)
    assert slow.choose() == "b2"
    assert slow.attempt.time_left_s == 0.25
    world.now = 1.0
    slow.fail(SILENT)
    assert slow.choose() is None
    assert slow.reason is CloseReason.CONNECT_TIMEOUT


def test_a_failure_counts_against_the_backend_and_a_withdrawal_does_not(began):
    world = one_rule({"max_fails": 1}, {"max_fails": 1}, {})
    seen = Listening(world, wants_progress=False)
    mover = began(world)
    mover.choose()
    mover.fail(BackendWithdrawn("given up while connecting", "withdrawn"))
    assert mover.choose() == "b2"
    mover.fail()
    mover.choose()
    b1, b2 = world.backend(1), world.backend(2)
    assert (b1.penalty.fails, b2.penalty.fails) == (0, 1)
    assert [outcome.failed for outcome in seen.outcomes] == [False, True]
    assert world.rule.live.tally(b1).failed == {"withdrawn": 1}
    assert (b1.available(0.0), b2.available(0.0)) == (True, False)


# The queue.


def queueing(*backends: dict[str, object], **rule: object) -> World:
    queue = {"max_waiting": 1, "timeout_ms": 5000}
    return one_rule(*(backends or ONE_EACH[:1]), queue=queue, **rule)


def test_who_waits_is_placed_once_there_is_room(began):
    world = queueing()
    first, second = began(world), began(world)
    first.choose()
    assert second.choose() is None
    assert (second.reason, len(world.rule.queue)) == (None, 1)
    world.advance(1.5)
    first.close()
    assert second.backend is None, "not within the release"
    world.settle()
    assert second.backend == "b1"
    assert (len(world.rule.queue), world.backend(1).active) == (0, 1)
    second.close()
    assert world.records[-1]["queued_ms"] == pytest.approx(1500)
    assert world.records[-1]["backends_tried"] == ["b1"]


def test_waiting_ends_with_the_queues_timeout(began):
    world = queueing()
    first, second = began(world), began(world)
    first.choose()
    second.choose()
    world.advance(4.9)
    assert second.reason is None
    world.advance(0.1 + 2 * TICK_S)
    assert second.reason is CloseReason.QUEUE_TIMEOUT
    assert world.records[0]["queued_ms"] >= 5000.0


def test_who_finds_the_queue_full_is_refused(began):
    world = queueing()
    first, second, third = (began(world) for _ in range(3))
    first.choose()
    second.choose()
    third.choose()
    assert third.reason is CloseReason.QUEUE_FULL
    assert (second.reason, len(world.rule.queue)) == (None, 1)
    assert world.rule.admission.open == 2


def test_time_in_the_queue_is_no_time_of_the_trial(began):
    world = queueing({"max_connections": 1}, {"down": True}, retries={"total_timeout_ms": 1000})
    first, second = began(world), began(world)
    first.choose()
    second.choose()
    world.advance(3.0)
    first.close()
    world.settle()
    assert second.backend == "b1"
    assert second.attempt.time_left_s == pytest.approx(1.0)
    world.now += 0.5
    world.backend(2).set_admin(Admin.READY, world.now, Origin.FILE)
    second.fail()
    assert second.choose() == "b2"
    assert second.attempt.time_left_s == pytest.approx(0.5)


def test_who_waits_and_is_closed_leaves_the_queue(began):
    world = queueing()
    first, second = began(world), began(world)
    first.choose()
    second.choose()
    second.close(CloseReason.CLIENT_RESET)
    assert len(world.rule.queue) == 0
    first.close()
    world.settle()
    assert world.backend(1).active == 0


def test_without_a_sleeper_nobody_waits(began):
    """A datagram does not."""
    world = queueing()
    first, second = began(world), began(world)
    first.choose()
    second.choose(waits=False)
    assert second.reason is CloseReason.NO_BACKEND


# Departures.


def test_what_is_carried_is_closed_when_its_backend_goes_and_the_policy_says_so(began):
    world = one_rule(*THREE, live_connections={"on_drain": "close"})
    carried = began(world)
    carried.choose()
    carried.reach()
    world.backend(1).set_admin(Admin.DRAIN, 1.0, Origin.FILE)
    world.settle()
    assert carried.reason is CloseReason.BACKEND_DRAINED
    assert world.records[0]["fault"] == "balancer"


def test_what_is_only_being_reached_goes_to_another_backend(began):
    world = one_rule(*THREE, live_connections={"on_down": "close"})
    mover = began(world)
    mover.choose()
    world.backend(1).set_healthy(False, 1.0)
    world.settle()
    assert (mover.reason, mover.backend) == (None, "b2")


def test_keeping_is_the_policy_unless_another_one_is_set(began):
    world = one_rule(*THREE)
    carried = began(world)
    carried.choose()
    carried.reach()
    world.backend(1).set_admin(Admin.DRAIN, 1.0, Origin.FILE)
    world.backend(1).remove(2.0)
    assert (carried.reason, carried.backend) == (None, "b1")


@pytest.mark.parametrize("proved", [True, False])
def test_rebinding_begins_a_trial_of_its_own(began, proved):
    """Two backends were tried before; the third one leaves: both are free to be tried again."""
    world = one_rule(
        *THREE,
        protocol="udp",
        retries={"max_tries": 3, "total_timeout_ms": 1000},
        live_connections={"on_down": "rebind"},
    )
    rebound = began(world)
    for _ in range(2):
        rebound.choose(waits=False)
        rebound.fail()
    rebound.choose(waits=False)
    rebound.reach()
    if proved:
        rebound.attempt.prove()
    world.now = 60.0
    world.backend(3).set_healthy(False, world.now)
    world.settle()
    assert (rebound.reason, rebound.backend) == (None, None)
    assert rebound.attempt.on_trial
    for _ in range(2):
        assert rebound.choose(waits=False) in ("b1", "b2")
        rebound.fail()
    rebound.choose(waits=False)
    assert rebound.reason is CloseReason.CONNECT_FAILED
    assert len(world.records[0]["backends_tried"]) == 5


def test_who_left_because_of_a_refusal_does_not_come_back_in_that_trial(began):
    world = one_rule({}, {}, protocol="udp")
    refused = began(world)
    refused.choose(waits=False)
    refused.reach()
    refused.attempt.prove()
    refused.fail()
    refused.attempt.begin_trial(world.backend(1))
    assert refused.choose(waits=False) == "b2"
    refused.fail()
    refused.choose(waits=False)
    assert refused.reason is CloseReason.CONNECT_FAILED


# Bytes, tallies and outcomes, by backend.


def test_bytes_are_of_the_backend_that_carried_them(began):
    world = one_rule({}, {}, protocol="udp", live_connections={"on_down": "rebind"})
    seen = Listening(world, wants_progress=False)
    rebound = began(world)
    rebound.choose(waits=False)
    rebound.reach()
    world.now = 1.0
    rebound.carry(10, 20)
    b1, b2 = world.backend(1), world.backend(2)
    alive = world.rule.live.tally(b1)
    assert (alive.bytes_up, alive.bytes_down) == (10, 20)
    world.now = 2.0
    b1.set_healthy(False, world.now)
    world.settle()
    rebound.choose(waits=False)
    world.now = 5.0
    rebound.carry(1, 2)
    rebound.close()
    tallies = [world.rule.live.tally(backend) for backend in (b1, b2)]
    assert [(tally.bytes_up, tally.bytes_down) for tally in tallies] == [(10, 20), (1, 2)]
    assert seen.outcomes == [
        Outcome(False, 10, 20, duration_s=2.0, connect_s=0.0, first_byte_s=1.0),
        Outcome(False, 1, 2, duration_s=3.0, connect_s=None, first_byte_s=3.0),
    ]
    (record,) = world.records
    assert (record["bytes_up"], record["bytes_down"]) == (11, 22)


def test_the_tally_of_a_backend_that_is_gone_stays_in_the_sum(began):
    world = one_rule(*THREE)
    carried = began(world)
    carried.choose()
    carried.reach()
    carried.carry(5, 6)
    world.backend(1).remove(1.0)
    world.settle()
    carried.close()
    live = world.rule.live
    assert world.backend(1) not in live.backends
    assert (live.gone.picked, live.gone.bytes_up, live.gone.bytes_down) == (1, 5, 6)


def test_an_algorithm_that_wants_it_hears_of_bytes_and_none_twice(began):
    world = one_rule(*THREE)
    seen = Listening(world, wants_progress=True)
    carried = began(world)
    carried.choose()
    carried.reach()
    world.now = 0.5
    carried.carry(1, 1)
    carried.report()
    carried.report()
    carried.carry(0, 5)
    carried.report()
    carried.carry(7, 0)
    carried.close()
    assert seen.told == [
        ("first byte", "b1", 0.5), ("moved", "b1", 2), ("moved", "b1", 5), ("moved", "b1", 7)
    ]  # fmt: skip


def test_an_algorithm_that_does_not_want_it_hears_of_the_end_alone(began):
    world = one_rule(*THREE)
    seen = Listening(world, wants_progress=False)
    carried = began(world)
    carried.choose()
    carried.reach()
    carried.carry(1, 1)
    carried.close()
    assert seen.told == []
    assert [(outcome.bytes_up, outcome.bytes_down) for outcome in seen.outcomes] == [(1, 1)]


# The end.


def test_only_the_first_close_counts(began):
    world = one_rule(*THREE)
    ended = began(world)
    ended.choose()
    ended.reach()
    ended.close(CloseReason.BACKEND_RESET)
    ended.close(CloseReason.COMPLETED)
    assert [record["close_reason"] for record in world.records] == ["backend_reset"]
    assert world.rule.closed == {CloseReason.BACKEND_RESET: 1}
    assert world.ledger.closed["tcp"] == {CloseReason.BACKEND_RESET: 1}


REFUSALS = {
    CloseReason.DENIED: {"access": [{"deny": "10.9.0.1"}]},
    CloseReason.RULE_FULL: {"limits": {"max_connections": 1}},
    CloseReason.SOURCE_FULL: {"limits": {"max_connections_per_source": 1}},
    CloseReason.SOURCE_RATE: {"limits": {"new_per_s_per_source": 0.001, "burst_per_source": 1}},
    CloseReason.TOO_MANY_CONNECTIONS: {"top": {"limits": {"max_connections": 1}}},
}


@pytest.mark.parametrize("reason", REFUSALS, ids=lambda reason: reason.value)
def test_a_refusal_counts_nothing_and_is_recorded(began, reason):
    world = one_rule(*THREE, **REFUSALS[reason])
    inside = [] if reason is CloseReason.DENIED else [began(world)]
    with pytest.raises(ConnectionEnd) as refused:
        Attempt.begin(world.rule, LISTENER, CLIENT, 3.0)
    assert refused.value.reason is reason
    assert world.census.open == world.rule.admission.open == len(inside)
    assert world.pool.open_leases == 0
    (record,) = world.records
    assert (record["close_reason"], record["fault"]) == (reason.value, reason.fault.value)
    assert (record["opened_s"], record["duration_ms"]) == (3.0, 0.0)
    assert world.rule.closed == {reason: 1}
    for carrier in inside:
        carrier.close()
    assert world.census.open == 0
