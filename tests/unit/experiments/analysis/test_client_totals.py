"""Totals of clients that keep no record of each request, and who must agree with them."""

import pandas as pd
import pytest

from experiments.analysis.client_totals import ERRORS, answered, client_totals
from experiments.analysis.where_time_goes import UNTOLD, parts_ms, stack
from experiments.judge.laws import totals_agree


def _samples(**by_client):
    quantities = {"requests": 100.0, "timeouts": 0.0, "latency_p50_ms": 5.0}
    quantities |= dict.fromkeys(ERRORS, 0.0)
    rows = [
        (8.0, client, f"wrk_{name}", value)
        for client, changed in by_client.items()
        for name, value in (quantities | changed).items()
    ]
    rows += [(8.0, "b1", "completed", 7.0), (1.0, "c1", "cpu_s", 0.5)]
    return pd.DataFrame(rows, columns=["t_s", "source", "quantity", "value"])


def test_each_client_has_its_totals_and_answers_with_an_error_are_none():
    totals = client_totals(_samples(c1={}, c2={"requests": 50.0, "errors_status": 10.0}))
    assert list(totals.index) == ["c1", "c2"]
    assert totals.loc["c2", "requests"] == 50
    assert answered(totals) == 140
    assert client_totals(_samples()).empty
    assert answered(client_totals(_samples())) == 0


@pytest.mark.parametrize(("served", "agree"), [(99, False), (100, True), (108, True), (109, False)])
def test_servers_have_served_what_was_answered_and_what_was_under_way(served, agree):
    finals = {"b1": {"completed": 60}, "b2": {"completed": served - 60}}
    assert (totals_agree(100, 8, finals) == []) is agree


def _requests(service_ms):
    return pd.DataFrame(
        {
            "status": ["ok"],
            "intended_s": [1.0],
            "connected_s": [1.01],
            "first_byte_s": [1.05],
            "ended_s": [1.06],
            "wait_ms": [service_ms],
            "service_ms": [service_ms],
        }
    )


def test_what_a_server_does_not_tell_is_no_service_of_0_ms():
    silent = parts_ms(_requests(float("nan")))
    assert silent.to_dict() == pytest.approx({"connecting": 10, UNTOLD: 40, "transfer": 10})
    both = stack({"silent": _requests(float("nan")), "telling": _requests(5.0)})
    assert list(both.sum(axis="columns")) == pytest.approx([60, 60])
    assert both.loc["telling", UNTOLD] == 0
