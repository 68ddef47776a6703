"""Time to detect and time to re-balance, from records made by hand."""

import numpy as np
import pandas as pd
import pytest

from experiments.analysis.faults import (
    Interval,
    choices,
    fault_table,
    time_to_leave,
    time_to_rebalance,
    time_to_return,
)
from experiments.tables import connections_frame, empty_frame, faults_frame

BACKENDS = ("b1", "b2", "b3")


def every(step_s: float, begin_s: float, end_s: float) -> list[float]:
    return list(np.arange(begin_s, end_s, step_s))


def test_left_when_it_was_chosen_for_the_last_time() -> None:
    measured = time_to_leave(every(0.1, 0, 6.05), fault_s=5, end_s=20)
    assert measured.seconds == pytest.approx(1.0)


def test_left_at_once_if_nobody_chose_it_again() -> None:
    assert time_to_leave(every(0.1, 0, 5), fault_s=5, end_s=20).seconds == 0


@pytest.mark.parametrize(
    ("times_s", "end_s", "reason"),
    [
        (every(0.1, 0, 20), 20.0, "still chosen at the end"),
        (every(0.1, 0, 5), 5.5, "too rarely to tell"),  # 5.5 more were to be expected
        ([1.0, 3.0, 5.5], 10.0, "too rarely to tell"),
        (every(0.1, 6, 7), 20.0, "not chosen before"),
        ([], 20.0, "not chosen before"),
    ],
)
def test_silence_that_chance_may_explain_is_no_detection(
    times_s: list[float], end_s: float, reason: str
) -> None:
    measured = time_to_leave(times_s, fault_s=5, end_s=end_s)
    assert measured.seconds is None
    assert reason in measured.reason


def test_the_rate_is_that_since_the_fault_before() -> None:
    # Dead from 1 s to 4 s: 10 choices a second since then, not 3 on average.
    times_s = [*every(0.1, 0, 1), *every(0.1, 4, 5)]
    assert time_to_leave(times_s, 5, 5.8, begin_s=4).seconds == 0
    assert time_to_leave(times_s, 5, 5.8, begin_s=0).seconds is None


def test_back_when_it_is_chosen_again() -> None:
    assert time_to_return([1.0, 12.5, 13.0], 12, 20).seconds == pytest.approx(0.5)
    assert time_to_return([1.0, 25.0], 12, 20).seconds is None


def shares(begin_s: float, end_s: float, *weights: float, rate: float = 200) -> pd.DataFrame:
    """Requests at random, by chance in proportion to weights."""
    rng = np.random.default_rng([int(begin_s * 10), int(end_s * 10)])
    n = int(rate * (end_s - begin_s))
    share = np.array(weights) / sum(weights)
    return pd.DataFrame(
        {
            "sent_s": np.sort(rng.uniform(begin_s, end_s, n)),
            "backend": rng.choice(BACKENDS, n, p=share),
            "received_s": float("nan"),
        }
    )


def rebalance(frame: pd.DataFrame, begin_s: float, end_s: float) -> tuple[float | None, str]:
    measured = time_to_rebalance(
        frame["sent_s"].to_list(), frame["backend"].to_list(), BACKENDS, Interval(begin_s, end_s)
    )
    return measured.seconds, measured.reason


def test_rebalanced_when_the_last_deviation_ends() -> None:
    frame = pd.concat([shares(5, 7, 1, 1, 1), shares(7, 15, 1, 0, 1)])
    seconds, _ = rebalance(frame, 5, 15)
    assert seconds == pytest.approx(2.0, abs=0.16)


def test_rebalanced_at_once_where_the_shares_are_the_new_ones_from_the_start() -> None:
    assert rebalance(shares(5, 15, 3, 0, 1), 5, 15)[0] == 0


def test_shares_that_still_move_have_no_target() -> None:
    frame = pd.concat([shares(5, 12, 1, 1, 1), shares(12, 15, 1, 0, 1)])
    seconds, reason = rebalance(frame, 5, 15)
    assert seconds is None
    assert "not settled" in reason


def test_a_handful_of_requests_says_nothing() -> None:
    seconds, reason = rebalance(shares(5, 6, 1, 1, 1, rate=60), 5, 6)
    assert seconds is None
    assert "too few" in reason


@pytest.mark.parametrize("seed", range(30))
def test_shares_that_do_not_change_are_hardly_ever_called_unbalanced(seed: int) -> None:
    frame = shares(5 + 20 * seed, 15 + 20 * seed, 2, 1, 1)
    assert rebalance(frame, 5 + 20 * seed, 15 + 20 * seed)[0] == 0


def connection(opened_s: float, *tried: str) -> dict[str, object]:
    return {"id": 1, "opened_s": opened_s, "closed_s": opened_s, "backends_tried": list(tried)}


def test_failed_attempts_are_choices_too_and_connections_without_any_are_none() -> None:
    records = [connection(2.0, "b2", "b1"), connection(1.0), connection(0.5, "b3")]
    found = choices(connections_frame(records, 0.0))
    assert found["backend"].to_list() == ["b3", "b2", "b1"]
    assert found["t_s"].to_list() == [0.5, 2.0, 2.0]


def test_a_table_of_faults() -> None:
    faults = faults_frame(
        [
            {"at_s": 5, "applied_s": 105.0, "action": "kill", "backend": "b2"},
            {"at_s": 12, "applied_s": 112.0, "action": "restore", "backend": "b2"},
            {"at_s": 14, "applied_s": 114.0, "action": "slow", "backend": "b1", "factor": 0.5},
        ],
        100.0,
    )
    killed = [connection(t_s, "b2", "b1") for t_s in every(0.05, 0, 6)]
    back = [connection(t_s, "b2") for t_s in every(0.05, 13, 20)]
    requests = pd.concat([shares(0, 12, 1, 0, 1), shares(12, 20, 1, 1, 1)])
    table = fault_table(
        faults,
        connections_frame([*killed, *back], 0.0),
        requests,
        empty_frame("flows"),
        BACKENDS,
        20.0,
    )
    assert table["detect_s"].to_list()[:2] == pytest.approx([0.95, 1.0])
    assert "not to be left" in table["detect_reason"][2]
    assert table["rebalance_s"][0] == 0


def test_after_a_kill_the_last_datagram_counts() -> None:
    faults = faults_frame([{"at_s": 5, "applied_s": 5.0, "action": "kill", "backend": "b2"}], 0.0)
    sessions = [connection(t_s, "b2") for t_s in every(0.05, 0, 5)]
    ends = {"server_address": "10.0.0.4", "client_address": "10.0.0.3", "backend": "b2"}
    towards = {"server_address": "10.0.0.3", "client_address": "10.0.0.1", "backend": "b2"}
    flows = pd.concat(
        [
            empty_frame("flows"),
            pd.DataFrame([{**ends, "protocol": "udp", "last_up_s": 5.7}]),
            pd.DataFrame([{**towards, "protocol": "udp", "last_up_s": 19.0}]),
        ]
    )
    table = fault_table(
        faults,
        connections_frame(sessions, 0.0),
        shares(0, 20, 1, 0, 1),
        flows,
        BACKENDS,
        20.0,
    )
    assert table["detect_s"][0] == pytest.approx(0.7)


def test_of_udp_the_requests_that_were_answered_tell_when_a_backend_is_back() -> None:
    kill = {"at_s": 5, "applied_s": 5.0, "action": "kill", "backend": "b2"}
    back = {"at_s": 9, "applied_s": 9.0, "action": "restore", "backend": "b2"}
    requests = shares(0, 20, 1, 0, 1)
    answered = [*every(0.05, 0, 5), *every(0.05, 9.6, 20)]
    own = pd.DataFrame({"sent_s": answered, "received_s": answered, "backend": "b2"})
    table = fault_table(
        faults_frame([kill, back], 0.0),
        connections_frame([connection(0.0, "b2")], 0.0),
        pd.concat([requests, own]),
        empty_frame("flows"),
        BACKENDS,
        20.0,
    )
    assert table["detect_s"].to_list() == pytest.approx([0.0, 0.6])
