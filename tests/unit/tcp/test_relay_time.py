"""A relay's turns, timeouts, rates and faults, without sockets and under a hand-set clock."""

import pytest

from nginy.engine.movers import Stop
from nginy.engine.poller import WRITABLE
from nginy.tcp.relay import MESSAGE_BYTES, Relay
from nginy.traffic.close_reason import CloseReason
from nginy.traffic.rate import Rates
from tests.unit.tcp.relay_table import FIN, LIMITS, READ, RESET, TICK_S, Table

# Back-pressure and turns.


def test_a_blocked_direction_reads_no_more_until_its_sink_is_writable():
    table = Table().start()
    table.client_says((10, Stop.BLOCKED))
    for _ in range(3):
        table.client_says(events=READ)
    assert len(table.up.asked) == 1
    table.backend_says(events=WRITABLE)
    assert len(table.up.asked) == 2
    table.backend_says(events=WRITABLE)
    assert len(table.up.asked) == 2, "nothing is blocked any more"


def test_blocking_one_direction_leaves_the_other_alone():
    table = Table().start()
    table.client_says((10, Stop.BLOCKED))
    table.backend_says((20, Stop.DRAINED))
    assert table.relay.carried() == (10, 20)


def test_one_turn_is_due_per_direction_however_many_edges_come():
    table = Table().start()
    for _ in range(5):
        table.client_says((1, Stop.UNFINISHED))
        table.backend_says((1, Stop.UNFINISHED))
    assert len(table.poller.soon) == 2
    assert table.relay.carried() == (1, 1), "a turn is waited for, whatever the edges say"
    table.up.turns = [(1, Stop.UNFINISHED), (1, Stop.DRAINED)]
    table.down.turns = []
    assert [table.take_turns() for _ in range(3)] == [2, 1, 0]
    assert table.relay.carried() == (3, 1)


def test_a_loss_does_not_add_a_turn_to_the_one_that_is_due():
    table = Table().start()
    table.backend_says((1, Stop.UNFINISHED))
    table.down.turns = [(1, Stop.UNFINISHED), (1, Stop.SOURCE_LOST)]
    table.client_says((0, Stop.SINK_LOST))
    assert [table.take_turns(), table.take_turns()] == [1, 0]
    assert (table.relay.carried(), table.ends) == ((0, 3), [CloseReason.BACKEND_RESET])


@pytest.mark.parametrize("closed", [True, False])
def test_a_turn_that_is_due_after_the_end_does_nothing(closed):
    table = Table().start()
    table.client_says((1, Stop.UNFINISHED))
    if closed:
        table.relay.close()
    else:
        table.client_says(events=RESET)
    asked = len(table.up.asked)
    assert table.take_turns() == 1
    assert len(table.up.asked) == asked


def test_a_bulk_transfer_waits_for_its_turn_until_it_runs_dry():
    table = Table().start()
    table.client_says((MESSAGE_BYTES, Stop.UNFINISHED))
    table.up.turns = [(MESSAGE_BYTES, Stop.DRAINED), (MESSAGE_BYTES, Stop.BLOCKED)]
    assert table.take_turns() == 1
    table.client_says()
    assert (table.relay.carried()[0], table.take_turns()) == (2 * MESSAGE_BYTES, 1)
    table.up.turns = [(MESSAGE_BYTES - 1, Stop.UNFINISHED), (0, Stop.DRAINED)]
    table.backend_says(events=WRITABLE)
    assert table.relay.carried()[0] == 3 * MESSAGE_BYTES, "writable: it waits, too"
    assert [table.take_turns(), table.take_turns()] == [1, 1]
    table.client_says((MESSAGE_BYTES - 1, Stop.DRAINED))
    assert table.take_turns() == 1, "what it has moved since it ran dry counts in all"
    table.client_says((2, Stop.DRAINED))
    assert table.relay.carried()[0] == 5 * MESSAGE_BYTES, "a message is moved at once"
    assert table.poller.soon == []


# Timeouts.


def test_silence_ends_it_and_any_byte_begins_it_anew():
    table = Table().start()
    table.pass_time(8.0)
    table.client_says((1, Stop.DRAINED))
    table.pass_time(9.0)
    assert table.ends == []
    table.pass_time(1.0 + 2 * TICK_S)
    assert table.ends == [CloseReason.IDLE_TIMEOUT]
    assert len(table.wheel) == 0


@pytest.mark.parametrize("who", ["client", "backend"])
def test_who_has_finished_decides_how_long_the_other_may_be_silent(who):
    table = Table().start()
    table.pass_time(5.0)
    finish = table.client_says if who == "client" else table.backend_says
    finish((0, Stop.FIN), events=FIN)
    limit_s = LIMITS.client_finished_s if who == "client" else LIMITS.backend_finished_s
    table.pass_time(limit_s - TICK_S)
    assert table.ends == []
    table.pass_time(3 * TICK_S)
    assert table.ends == [CloseReason.HALF_CLOSED_TIMEOUT]
    assert len(table.wheel) == 0


def test_half_closed_a_byte_begins_the_time_anew():
    table = Table().start()
    table.client_says((0, Stop.FIN), events=FIN)
    for _ in range(3):
        table.pass_time(LIMITS.client_finished_s - 2 * TICK_S)
        table.backend_says((1, Stop.DRAINED))
    assert table.ends == []


def test_however_short_the_limits_of_half_closed_ones_an_open_one_is_not_asked_for_it(monkeypatch):
    asked = []
    check = Relay.check
    monkeypatch.setattr(
        Relay, "check", lambda relay, now: (asked.append(now), check(relay, now))[1]
    )
    table = Table().start()
    table.pass_time(LIMITS.idle_s - TICK_S)
    assert asked == []
    table.pass_time(3 * TICK_S)
    assert (len(asked), table.ends) == (1, [CloseReason.IDLE_TIMEOUT])


def test_a_client_that_takes_nothing_of_a_lost_backends_answer_times_out():
    table = Table().start()
    table.backend_says((5, Stop.BLOCKED), events=RESET)
    table.pass_time(LIMITS.backend_finished_s - TICK_S)
    assert table.ends == []
    table.pass_time(3 * TICK_S)
    assert table.ends == [CloseReason.HALF_CLOSED_TIMEOUT]


def test_after_the_end_nobody_is_asked_again():
    table = Table().start()
    table.client_says(events=RESET)
    table.pass_time(20.0)
    assert table.ends == [CloseReason.CLIENT_RESET]
    assert len(table.wheel) == 0


# Rates.


def test_an_empty_bucket_pauses_one_direction_and_a_timer_resumes_it():
    table = Table(Rates(100.0, 0.0)).start()
    table.client_says((150, Stop.FIN))
    timers = len(table.wheel)
    assert (table.relay.carried(), table.poller.soon) == ((100, 0), [])
    for _ in range(3):
        table.client_says()
    assert len(table.wheel) == timers, "one pause, however many edges come"
    table.backend_says((500, Stop.DRAINED))
    assert table.relay.carried() == (100, 500)
    table.pass_time(0.5 + 2 * TICK_S)
    assert table.relay.carried() == (150, 500)
    assert table.fins == (False, True)


def test_a_pause_is_no_silence():
    table = Table(Rates(0.1, 0.0)).start()
    table.up.turns = [(2, Stop.UNFINISHED)] * 4
    table.client_says()
    table.pass_time(15.0)
    assert table.ends == []


def test_closing_ends_the_pause():
    table = Table(Rates(10.0, 10.0)).start()
    table.client_says((100, Stop.UNFINISHED))
    table.backend_says((100, Stop.UNFINISHED))
    table.relay.close()
    assert (table.up.closed, table.down.closed) == (True, True)
    table.pass_time(20.0)
    assert len(table.wheel) == 0
    assert table.relay.carried() == (10, 10)


# The first byte, the last one, and faults.


def test_the_last_byte_is_the_backends_whatever_comes_after_it():
    table = Table().start()
    assert table.relay.last_byte_at is None
    for second, size in (1.0, 5), (2.0, 5), (3.0, 0):
        table.poller.now = second
        table.backend_says((size, Stop.DRAINED))
    table.poller.now = 4.0
    table.client_says((7, Stop.DRAINED))
    table.backend_says((0, Stop.FIN), events=FIN)
    table.poller.now = 5.0
    table.client_says((0, Stop.FIN), events=FIN)
    assert (table.relay.last_byte_at, table.ends) == (2.0, [CloseReason.COMPLETED])


def test_the_first_byte_is_told_once_when_it_was_passed_on():
    table = Table().start()
    table.poller.now = 1.0
    table.client_says((10, Stop.DRAINED))
    table.backend_says((0, Stop.DRAINED))
    assert table.first_bytes == []
    table.poller.now = 2.0
    table.backend_says((1, Stop.DRAINED))
    table.poller.now = 3.0
    table.backend_says((1, Stop.DRAINED))
    assert table.first_bytes == [2.0]


def faulty(now: float) -> None:
    raise RuntimeError("a bug")


@pytest.mark.parametrize("when", ["at the start", "by an event", "in a turn"])
def test_a_fault_ends_the_connection_instead_of_leaving_it_waiting(when, caplog):
    """What was told by the edge that met the fault would not be told again."""
    table = Table(on_first_byte=faulty)
    table.down.turns = [(5, Stop.FIN)]
    if when == "at the start":
        table.start(0, READ)
    elif when == "by an event":
        table.start().backend_says()
    else:
        table.down.turns.insert(0, (0, Stop.UNFINISHED))
        table.start().backend_says()
        table.take_turns()
    assert table.ends == [CloseReason.INTERNAL_ERROR]
    assert "a bug" in caplog.text


def test_silence_counts_from_the_end_of_a_standstill():
    table = Table().start()
    table.pass_time(6.0)
    table.client_says((1, Stop.DRAINED))  # later than the timer knows
    table.stand_still(20.0)
    table.pass_time(LIMITS.idle_s - TICK_S)
    assert table.ends == []
    table.pass_time(3 * TICK_S)
    assert table.ends == [CloseReason.IDLE_TIMEOUT]
