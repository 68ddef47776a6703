"""Warnings at a bounded rate."""

import logging

from nginy.complaints import MOST_KINDS, Complaints


def test_one_per_interval_and_kind_with_the_number_left_out(caplog):
    complaints = Complaints(logging.getLogger("test"), interval_s=1.0)
    for now in (0.0, 0.1, 0.9):
        complaints.say("a", now, "a at %g", now)
    complaints.say("b", 0.5, "b")
    complaints.say("a", 1.0, "a at %g", 1.0)
    complaints.say("a", 2.0, "a at %g", 2.0)
    assert caplog.messages == ["a at 0", "b", "a at 1 (2 more like this before)", "a at 2"]


def test_kinds_that_change_for_ever_are_told_as_one_and_forgotten_again(caplog):
    complaints = Complaints(logging.getLogger("test"), interval_s=1.0)
    for number in range(3 * MOST_KINDS):
        complaints.say(f"host {number}", 0.0, "%d", number)
    assert len(caplog.messages) == MOST_KINDS + 1
    caplog.clear()
    for number in range(MOST_KINDS):
        complaints.say(f"new {number}", 1.0, "%d", number)
    assert len(caplog.messages) == MOST_KINDS
    complaints.say("host 0", 1.5, "first")
    complaints.say("host 1", 1.5, "second")
    assert caplog.messages[MOST_KINDS:] == [f"first ({2 * MOST_KINDS - 1} more like this before)"]
    held = [len(each) for each in vars(complaints).values() if isinstance(each, dict)]
    assert max(held) <= MOST_KINDS + 1
