"""FIN and lost ends: the states of a relay, as its module's table has them."""

import pytest

from nginy.engine.movers import Stop
from nginy.engine.poller import WRITABLE
from nginy.traffic.close_reason import CloseReason
from tests.unit.tcp.relay_table import FIN, HUNG_UP, READ, RESET, Table

# FIN.


def test_fin_of_the_client_goes_to_the_backend_and_answers_go_on():
    table = Table().start()
    table.client_says((10, Stop.FIN), events=FIN)
    assert (table.fins, table.ends) == ((False, True), [])
    table.backend_says((20, Stop.DRAINED))
    assert table.relay.carried() == (10, 20)
    table.backend_says((5, Stop.FIN), events=FIN)
    assert table.ends == [CloseReason.COMPLETED]
    assert table.relay.carried() == (10, 25)


def test_fin_of_the_backend_goes_to_the_client_who_may_go_on():
    table = Table().start()
    table.backend_says((20, Stop.FIN), events=FIN)
    assert (table.fins, table.ends) == ((True, False), [])
    table.client_says((3, Stop.DRAINED))
    table.client_says((0, Stop.FIN), events=FIN)
    assert table.ends == [CloseReason.COMPLETED]


def test_fin_waits_until_all_before_it_is_delivered():
    table = Table().start()
    table.client_says((10, Stop.BLOCKED), events=FIN)
    assert (table.fins, table.poller.to_be_written) == ((False, False), [table.backend])
    table.backend_says(events=WRITABLE)
    assert table.up.asked == [True, True], "read on to the end, of which no edge tells again"
    table.up.turns = [(5, Stop.FIN)]
    table.relay.up.blocked = True
    table.backend_says(events=WRITABLE)
    assert table.fins == (False, True)


def test_both_fins_before_the_start_are_the_end_at_once():
    table = Table()
    table.up.turns, table.down.turns = [(1, Stop.FIN)], [(2, Stop.FIN)]
    table.start(FIN, FIN | WRITABLE)
    assert table.ends == [CloseReason.COMPLETED]
    assert table.poller.handlers == {}


# An end is lost.


def test_a_client_that_resets_has_what_it_sent_offered_once_more():
    table = Table().start()
    table.client_says((7, Stop.DRAINED), events=RESET)
    assert table.relay.carried() == (7, 0)
    assert table.ends == [CloseReason.CLIENT_RESET]
    assert (table.client.reset, table.backend.reset) == (False, True)


def test_so_has_one_in_the_middle_of_a_bulk_transfer():
    table = Table().start()
    table.client_says((50_000, Stop.UNFINISHED), (50_000, Stop.DRAINED))
    table.take_turns()
    table.client_says((7, Stop.DRAINED), events=RESET)
    assert table.relay.carried() == (100_007, 0)
    assert table.ends == [CloseReason.CLIENT_RESET]


@pytest.mark.parametrize("stop", [Stop.SOURCE_LOST, Stop.SINK_LOST])
def test_a_reset_met_by_a_call_is_the_side_that_it_is_of(stop):
    table = Table().start()
    if stop is Stop.SOURCE_LOST:
        table.client_says((0, stop))
    else:
        table.backend_says((0, stop))
    assert table.ends == [CloseReason.CLIENT_RESET]


def test_a_reset_of_the_backend_with_nothing_to_read_is_the_end():
    table = Table().start()
    table.backend_says((0, Stop.SOURCE_LOST), events=RESET)
    assert table.ends == [CloseReason.BACKEND_RESET]


def test_a_last_answer_before_a_reset_is_delivered_however_slow_the_client():
    """A backend says 413 and resets because of what it has not read."""
    table = Table().start()
    table.client_says((100, Stop.BLOCKED))
    table.backend_says((50, Stop.BLOCKED), events=RESET)
    assert table.ends == []
    assert table.poller.to_be_written == [table.backend, table.client]
    table.client_says(events=READ)
    assert len(table.up.asked) == 1, "what the client says has no reader any more"
    table.down.turns = [(30, Stop.SOURCE_LOST)]
    table.client_says(events=WRITABLE)
    assert table.relay.carried() == (100, 80)
    assert table.down.asked[-1] is True
    assert table.ends == [CloseReason.BACKEND_RESET]
    assert (table.client.reset, table.backend.reset) == (False, False)


def test_a_backend_lost_while_it_is_written_to_may_have_answered_before():
    table = Table().start()
    table.down.turns = [(5, Stop.DRAINED)]
    table.client_says((0, Stop.SINK_LOST))
    assert (table.relay.carried(), table.ends) == ((0, 5), [])
    assert table.down.asked == [True], "to the end, of which the call has told and no edge will"
    table.backend_says((0, Stop.FIN), events=FIN)
    assert table.ends == [CloseReason.BACKEND_RESET]


def test_a_backend_lost_while_the_client_is_slow_is_not_read_meanwhile():
    table = Table().start()
    table.backend_says((5, Stop.BLOCKED))
    table.client_says((0, Stop.SINK_LOST))
    assert (len(table.down.asked), table.ends) == (1, [])
    table.down.turns = [(5, Stop.SOURCE_LOST)]
    table.client_says(events=WRITABLE)
    assert (table.relay.carried(), table.ends) == ((0, 10), [CloseReason.BACKEND_RESET])


def test_a_backend_lost_after_its_fin_has_nothing_more_to_say():
    table = Table().start()
    table.backend_says((5, Stop.FIN), events=FIN)
    table.client_says((0, Stop.SINK_LOST))
    assert table.ends == [CloseReason.BACKEND_RESET]


def test_a_hang_up_without_an_error_is_no_reset():
    """A Unix socket says so where TCP says FIN."""
    table = Table().start()
    table.backend_says((5, Stop.FIN), events=HUNG_UP)
    assert table.relay.carried() == (0, 5)
    assert table.ends == [CloseReason.COMPLETED]
