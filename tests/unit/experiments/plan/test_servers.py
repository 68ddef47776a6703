"""What real servers can be asked, and what is refused with its place, value and remedy."""

import numpy as np
import pytest

from experiments.plan.scenario import ScenarioError, parse_scenario
from experiments.plan.sweep import Sweep, cells

NGINX = {"server": "nginx"}


def _parsed(**settings):
    return parse_scenario(settings, "test")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"workload": {"kind": "http"}}, "kind http: asks over HTTP.*backends.server: nginx"),
        ({"workload": {"kind": "wrk"}}, "kind wrk: asks over HTTP"),
        ({"backends": NGINX}, "kind requests: plans service demands.*http"),
        ({"backends": NGINX, "protocol": "udp"}, "protocol udp: .*protocol: tcp"),
        (
            {"backends": NGINX | {"speeds": [1, 1, 1, 2]}},
            r"backends.speeds \(1.0, 1.0, 1.0, 2.0\): .*leave it out",
        ),
        ({"backends": NGINX | {"queue_limit": 5}}, "backends.queue_limit 5: "),
        ({"backends": NGINX, "algorithm": "prequal"}, "algorithm prequal: .*another algorithm"),
        ({"backends": NGINX, "balancer": {"load_reports": True}}, "balancer.load_reports"),
        (
            {"backends": NGINX, "faults": [{"at": "5 s", "slow": "b1 x0.5"}]},
            "slow b1 x0.5: .* kill, pause",
        ),
        ({"backends": {"server": "command"}}, "expected with server: command"),
        ({"backends": NGINX | {"argv": ["x"]}}, "expected with server: command"),
        ({"backends": {"server": "command", "argv": ["x", "{prt}"]}}, "'prt' is no place"),
        (
            {"backends": NGINX, "workload": {"kind": "http", "mean_demand_ms": 3}},
            "workload.mean_demand_ms",
        ),
        (
            {"backends": NGINX, "workload": {"kind": "wrk"}, "duration_s": 9.5},
            "duration_s: 9.5 s: wrk takes whole seconds",
        ),
        (
            {"backends": NGINX, "workload": {"kind": "wrk"}, "system": "direct"},
            "wrk connects to one address",
        ),
        (
            {"backends": NGINX, "workload": {"kind": "wrk", "threads": 9}},
            "threads 9: expected at most",
        ),
    ],
)
def test_what_cannot_be_had_together_is_refused(settings, said):
    if "backends" in settings and "workload" not in settings and "requests:" not in said:
        settings = settings | {"workload": {"kind": "http"}}
    with pytest.raises(ScenarioError, match=said):
        _parsed(**settings)


def test_requests_over_http_come_at_the_rate_asked_and_plan_no_demand():
    workload = {"kind": "http", "rate_rps": 200, "response_bytes": 700}
    asked = _parsed(backends=NGINX, workload=workload, duration_s=100)
    plans = asked.plans()
    assert abs(sum(map(len, plans)) - 20_000) < 5 * 20_000**0.5
    assert not any(plan.demands_us.any() for plan in plans)
    assert all(np.unique(plan.response_bytes).tolist() == [700] for plan in plans)


def test_signals_can_be_sent_to_a_real_server():
    faults = [{"at": "5 s", "kill": "b1"}, {"at": "9 s", "restore": "b1"}]
    assert len(_parsed(backends=NGINX, workload={"kind": "http"}, faults=faults).faults) == 2


def test_a_sweep_compares_no_totals():
    settings = {"backends": NGINX, "workload": {"kind": "wrk"}}
    sweep = Sweep(name="x", algorithms=("random",), scenario=settings)
    with pytest.raises(ScenarioError, match="kind wrk: gives totals alone"):
        cells(sweep, "test")
