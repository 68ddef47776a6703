"""What a late machine did to single requests: by hand, and sabotaged."""

import numpy as np
import pandas as pd
import pytest

from experiments.judge.precision import assess, generators_ms
from experiments.judge.punctuality import EARLY_MS, added_ms, one_way_error, tail
from experiments.judge.verdict import early_check, precision_check, tail_check
from experiments.plan.scenario import Scenario


def packets(*delays_ms: float) -> pd.DataFrame:
    return pd.DataFrame({"delay_ms": delays_ms, "queue_ms": 0.0})


def test_the_error_is_what_was_not_asked() -> None:
    way = one_way_error("c1", "up", 20.0, packets(*[20.1] * 99, 36.0))
    assert (way.packets, way.max_ms) == (100, pytest.approx(16.0))
    assert way.p50_ms == way.min_ms == pytest.approx(0.1)


def test_what_a_rate_explains_is_no_lateness_but_sooner_is_still_too_early() -> None:
    queued = pd.DataFrame({"delay_ms": [20.0, 25.0], "queue_ms": [0.0, 5.0]})
    assert one_way_error("c1", "down", 20.0, queued).max_ms == pytest.approx(0.0)
    early = pd.DataFrame({"delay_ms": [20.0, 19.0], "queue_ms": [0.0, 0.0]})
    assert not early_check([one_way_error("c1", "down", 20.0, early)]).ok


@pytest.mark.parametrize(("delay_ms", "ok"), [(20.0 - EARLY_MS / 2, True), (2.0, False)])
def test_a_link_that_does_not_delay_every_packet_is_caught(delay_ms: float, ok: bool) -> None:
    way = one_way_error("c1", "up", 20.0, packets(*[20.1] * 999, delay_ms))
    assert early_check([way]).ok is ok


def test_late_packets_count_although_the_emulator_says_nothing() -> None:
    way = one_way_error("c1", "up", 20.0, packets(*[32.0] * 100))
    told = assess(Scenario(), {}, None, {"c1": 0.1}, 100.0, one_way=[way])
    assert told.links_max_ms == pytest.approx(12.0)
    assert not precision_check(told).ok
    assert precision_check(assess(Scenario(), {}, None, {"c1": 0.1}, 100.0)).ok


def test_late_backends_count() -> None:
    late = assess(Scenario(), {}, None, {"c1": 0.1}, 100.0, backends_late_ms=[0.1, 30.0])
    assert not precision_check(late).ok
    assert late.cause == "backends late"


def offered(count: int, late_by_ms: dict[int, float]) -> pd.DataFrame:
    """Requests that take 100 ms, some of them sent late."""
    intended_s = np.arange(count) * 0.01
    sent_s = intended_s + [late_by_ms.get(number, 0.0) / 1e3 for number in range(count)]
    ended_s = sent_s + 0.1
    return pd.DataFrame(
        {
            "local": [f"10.0.0.2:{5000 + number}" for number in range(count)],
            "intended_s": intended_s,
            "sent_s": sent_s,
            "ended_s": ended_s,
            "latency_ms": (ended_s - intended_s) * 1e3,
        }
    )


NO_PACKETS = pd.DataFrame(columns=["local", "arrived_s", "late_ms"])


def test_39_of_4000_requests_sent_late_pass_a_p99_and_are_caught_in_the_tail() -> None:
    requests = offered(4000, {100 * number: 900.0 for number in range(39)})
    late_ms = (requests["sent_s"] - requests["intended_s"]) * 1e3
    lateness = {"p99": float(np.percentile(late_ms, 99))}
    summary = {"client": "c1", "offered": 4000, "lateness_ms": lateness}
    assert generators_ms([summary]) == {"c1": pytest.approx(0.0)}
    found = tail(requests["latency_ms"], added_ms(requests, NO_PACKETS))
    assert found is not None
    assert not tail_check(found).ok
    assert (found.touched, found.p99_without_ms) == (39, pytest.approx(100.0))


def test_packets_that_were_late_count_for_the_request_that_waited_for_them() -> None:
    requests = offered(3, {})
    late = pd.DataFrame(
        {
            "local": ["10.0.0.2:5001", "10.0.0.2:5001", "10.0.0.2:5002", "10.0.0.3:5001"],
            "arrived_s": [0.05, 0.06, 5.0, 0.05],  # the third when that request was over
            "late_ms": [3.0, 4.0, 50.0, 60.0],
        }
    )
    assert added_ms(requests, late).tolist() == pytest.approx([0.0, 7.0, 0.0])


def test_a_request_that_never_ended_waits_for_all_later_packets() -> None:
    requests = offered(1, {}).assign(ended_s=np.nan)
    late = pd.DataFrame({"local": ["10.0.0.2:5000"], "arrived_s": [9.0], "late_ms": [3.0]})
    assert added_ms(requests, late).tolist() == [3.0]


def test_a_tail_that_was_not_touched_is_the_systems_own() -> None:
    latency_ms = pd.Series(np.arange(1.0, 1001.0))
    added = pd.Series(np.where(latency_ms < 500, 400.0, 1.0))
    found = tail(latency_ms, added)
    assert found is not None
    assert (found.requests, found.touched) == (10, 0)
    assert tail_check(found).ok


def test_without_an_answer_there_is_no_tail() -> None:
    assert tail(pd.Series(dtype=float), pd.Series(dtype=float)) is None
    assert tail_check(None).ok
