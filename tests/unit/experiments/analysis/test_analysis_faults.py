"""The table of faults, from records made by hand."""

import numpy as np
import pandas as pd
import pytest

from experiments.analysis.faults import fault_table
from experiments.tables.schema import connections_frame, empty_frame, faults_frame

BACKENDS = ("b1", "b2", "b3")


def every(step_s: float, begin_s: float, end_s: float) -> list[float]:
    return list(np.arange(begin_s, end_s, step_s))


def shares(begin_s: float, end_s: float, *weights: float) -> pd.DataFrame:
    """200 answered requests per second at random, by chance in proportion to weights."""
    rng = np.random.default_rng([int(begin_s * 10), int(end_s * 10)])
    n = int(200 * (end_s - begin_s))
    share = np.array(weights) / sum(weights)
    return pd.DataFrame(
        {
            "sent_s": np.sort(rng.uniform(begin_s, end_s, n)),
            "backend": rng.choice(BACKENDS, n, p=share),
            "received_s": float("nan"),
            "status": "ok",
        }
    )


def connection(opened_s: float, *tried: str) -> dict[str, object]:
    return {"id": 1, "opened_s": opened_s, "closed_s": opened_s, "backends_tried": list(tried)}


def fault(at_s: float, action: str, backend: str, late_s: float = 0.0) -> dict[str, object]:
    return {"at_s": at_s, "applied_s": at_s + late_s, "action": action, "subject": backend}


def test_a_table_of_faults() -> None:
    faults = faults_frame(
        [
            {"at_s": 5, "applied_s": 105.0, "action": "kill", "subject": "b2"},
            {"at_s": 12, "applied_s": 112.0, "action": "restore", "subject": "b2"},
            {"at_s": 14, "applied_s": 114.0, "action": "slow", "subject": "b1", "value": 0.5},
        ],
        100.0,
    )
    killed = [connection(t_s, "b2", "b1") for t_s in every(0.05, 0, 6)]
    back = [connection(t_s, "b2") for t_s in every(0.05, 13, 20)]
    parts = (shares(0, 5, 1, 1, 1), shares(5, 12, 1, 0, 1), shares(12, 20, 1, 1, 1))
    requests = pd.concat(parts)
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
    faults = faults_frame([{"at_s": 5, "applied_s": 5.0, "action": "kill", "subject": "b2"}], 0.0)
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
    kill = {"at_s": 5, "applied_s": 5.0, "action": "kill", "subject": "b2"}
    back = {"at_s": 9, "applied_s": 9.0, "action": "restore", "subject": "b2"}
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


def test_requests_that_get_no_answer_count_by_whoever_they_were_sent_to() -> None:
    lost = shares(5, 5.8, 0, 1, 0).assign(status="timeout")
    table = fault_table(
        faults_frame([fault(5, "kill", "b2")], 0.0),
        connections_frame([connection(t_s, "b2") for t_s in every(0.05, 0, 5)], 0.0),
        pd.concat([shares(0, 5, 1, 1, 1), shares(5, 5.8, 1, 0, 1), lost, shares(5.8, 20, 1, 0, 1)]),
        empty_frame("flows"),
        BACKENDS,
        20.0,
    )
    assert table["rebalance_s"][0] == pytest.approx(0.8, abs=0.05)


def test_faults_of_one_moment_do_not_end_each_other() -> None:
    together = [fault(5, "slow", "b2", 0.01), fault(5, "drain", "b2", 0.02)]
    records = [connection(t_s, "b2") for t_s in every(0.05, 0, 6)]
    table = fault_table(
        faults_frame(together, 0.0),
        connections_frame(records, 0.0),
        pd.concat([shares(0, 6, 1, 1, 1), shares(6, 20, 1, 0, 1)]),
        empty_frame("flows"),
        BACKENDS,
        20.0,
    )
    assert table["rebalance_s"].to_list() == pytest.approx([1.0, 1.0], abs=0.1)
    assert table["detect_s"][1] == pytest.approx(0.93)


@pytest.mark.parametrize(
    ("before", "left"), [(["slow"], False), (["drain"], True), (["slow", "drain"], True)]
)
def test_a_backend_that_was_only_slow_was_not_left_and_does_not_come_back(
    before: list[str], left: bool
) -> None:
    faults = [fault(5 + i, action, "b2") for i, action in enumerate(before)]
    table = fault_table(
        faults_frame(
            [
                fault(1, "drain", "b2"),
                fault(2, "restore", "b2"),
                *faults,
                fault(9, "restore", "b2"),
            ],
            0.0,
        ),
        connections_frame([connection(t_s, "b2") for t_s in every(0.05, 0, 20)], 0.0),
        shares(0, 20, 1, 1, 1),
        empty_frame("flows"),
        BACKENDS,
        20.0,
    )
    assert pd.notna(table["detect_s"].iloc[-1]) == left


def test_a_few_lost_at_the_dead_backend_show_where_links_lose_some_all_the_time() -> None:
    links = shares(0, 20, 1, 0, 1).iloc[::50].assign(status="timeout", backend=None)
    lost = shares(5, 5.5, 0, 1, 0).iloc[::12].assign(status="timeout")
    table = fault_table(
        faults_frame([fault(5, "kill", "b2")], 0.0),
        connections_frame([connection(t_s, "b2") for t_s in every(0.05, 0, 5)], 0.0),
        pd.concat([shares(0, 5, 1, 1, 1), shares(5, 20, 1, 0, 1), links, lost]),
        empty_frame("flows"),
        BACKENDS,
        20.0,
    )
    assert len(lost) < 10
    assert table["rebalance_s"][0] == pytest.approx(lost["sent_s"].max() - 5)
