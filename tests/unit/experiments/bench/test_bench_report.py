"""The benchmark's numbers: ratios by round, spread, verdict, wrk's report."""

import pytest

from experiments.bench.lab import LabError
from experiments.bench.report import FLOORS, Sample, Spread, ratios, spread, table, verdict
from experiments.bench.workloads import parse_wrk


def samples_with(nginy: dict[str, list[float]]) -> list[Sample]:
    peers = [Sample(n, work, "nginx", 100.0) for work in FLOORS for n in range(3)]
    ours = [Sample(n, work, "nginy", rate) for work in FLOORS for n, rate in enumerate(nginy[work])]
    return peers + ours


GOOD = {"requests/s": [70, 71, 10], "connections/s": [50, 60, 70], "bulk GB/s": [100, 150, 90]}


def test_ratio_pairs_the_systems_of_one_round():
    samples = [
        Sample(0, "requests/s", "nginx", 100.0),
        Sample(0, "requests/s", "nginy", 50.0),
        Sample(1, "requests/s", "nginx", 10.0),
        Sample(1, "requests/s", "nginy", 20.0),
    ]
    assert ratios(samples, "requests/s") == [0.5, 2.0]


def test_spread_is_median_and_extremes():
    assert spread([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert str(spread([0.5])) == "0.50 (0.50-0.50)"
    assert str(spread([5123.4, 4980.2, 5300.0])) == "5123 (4980-5300)"


def test_the_median_ratio_is_judged():
    assert verdict(samples_with(GOOD)) == dict.fromkeys(FLOORS, True)
    slow = GOOD | {"connections/s": [49, 49, 500]}
    assert verdict(samples_with(slow)) == {
        "requests/s": True,
        "connections/s": False,
        "bulk GB/s": True,
    }


def test_table_shows_rates_ratio_floor_and_verdict():
    lines = table(samples_with(GOOD), ["nginx", "nginy"]).splitlines()
    assert lines[0].split() == [
        "median", "(min-max)", "nginx", "nginy", "nginy", "/", "nginx", "floor"
    ]  # fmt: skip
    assert lines[1].split() == [
        "requests/s", "100", "(100-100)", "70.00", "(10.00-71.00)", "0.70", "(0.10-0.71)", "0.7",
        "PASS",
    ]  # fmt: skip


def test_rate_is_read_from_wrk():
    assert parse_wrk("...\nRequests/sec:  12345.67\nTransfer/sec: 1MB") == 12345.67


@pytest.mark.parametrize(
    "failure",
    [
        "Socket errors: connect 0, read 3, write 0, timeout 0",
        "Socket errors: connect 0, read 0, write 0, timeout 1",
        "Non-2xx or 3xx responses: 7",
    ],
)
def test_failed_requests_make_no_rate(failure):
    with pytest.raises(LabError, match=failure[:8]):
        parse_wrk(f"{failure}\nRequests/sec: 10.0")
