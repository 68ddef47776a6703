"""The generator's own arithmetic."""

from typing import Any

import pytest

from experiments.hosts.client.summary import conservation


def summary(offered: int, completed: int, failed: dict[str, int], in_flight: int) -> dict[str, Any]:
    return {
        "client": "c1",
        "offered": offered,
        "completed": completed,
        "failed": failed,
        "in_flight": in_flight,
    }


def test_requests_that_are_all_accounted_for_are_no_problem() -> None:
    assert conservation([summary(10, 6, {"timeout": 2, "reset": 1}, 1)]) == []
    assert conservation([summary(0, 0, {}, 0)]) == []


@pytest.mark.parametrize("completed", [5, 7])
def test_a_lost_or_invented_request_is_named(completed: int) -> None:
    problems = conservation(
        [summary(6, 6, {}, 0), summary(10, completed, {"timeout": 2, "reset": 1}, 1)]
    )
    assert len(problems) == 1
    assert problems[0].startswith("c1: offered 10")
