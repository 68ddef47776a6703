"""Warnings at a bounded rate."""

import logging

from nginy.complaints import Complaints


def test_one_per_interval_and_kind_with_the_number_left_out(caplog):
    complaints = Complaints(logging.getLogger("test"), interval_s=1.0)
    for now in (0.0, 0.1, 0.9):
        complaints.say("a", now, "a at %g", now)
    complaints.say("b", 0.5, "b")
    complaints.say("a", 1.0, "a at %g", 1.0)
    complaints.say("a", 2.0, "a at %g", 2.0)
    assert caplog.messages == ["a at 0", "b", "a at 1 (2 more like this before)", "a at 2"]
