"""The benchmark's numbers: ratios by round, spread, verdict, wrk's report."""

import pytest

from experiments.bench.needs import BenchError
from experiments.bench.report import (
    WORKLOADS,
    Sample,
    Spread,
    judged,
    ratios,
    spread,
    summary,
    tables,
)
from experiments.bench.tcp import parse_wrk

GOOD = {"requests": [70.0, 71, 10], "connections": [50.0, 60, 70], "bulk": [100.0, 150, 90]}
SLOW = GOOD | {"connections": [49.0, 49, 500]}


def samples_with(nginy: dict[str, list[float]]) -> list[Sample]:
    samples = []
    for work, values in nginy.items():
        for number, value in enumerate(values):
            samples.append(Sample(number, work, "nginx", 100.0, 2.5))
            samples.append(Sample(number, work, "nginy", value, 5.0))
    return samples


def test_ratio_pairs_the_systems_of_one_round():
    samples = [
        Sample(0, "requests", "haproxy", 100.0),
        Sample(0, "requests", "nginy", 50.0),
        Sample(1, "requests", "haproxy", 10.0),
        Sample(1, "requests", "nginy", 20.0),
        Sample(1, "requests", "nginx", 1.0),
        Sample(1, "bulk", "haproxy", 1.0),
    ]
    assert ratios(samples, "requests", "haproxy") == [0.5, 2.0]


def test_no_ratio_to_a_peer_whose_memory_did_not_grow():
    samples = [Sample(0, "tcp-memory", "haproxy", 0.0), Sample(0, "tcp-memory", "nginy", 9.0)]
    assert ratios(samples, "tcp-memory", "haproxy") == []
    assert "haproxy" in tables(samples)


def test_spread_is_median_and_extremes():
    assert spread([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert str(spread([0.5])) == "0.50 (0.50-0.50)"
    assert str(spread([5123.4, 4980.2, 5300.0])) == "5123 (4980-5300)"


def test_the_median_ratio_to_nginx_is_judged():
    assert judged(samples_with(GOOD)) == dict.fromkeys(GOOD, True)
    assert judged(samples_with(SLOW)) == {"requests": True, "connections": False, "bulk": True}


def test_only_what_was_measured_beside_nginx_and_has_a_floor_is_judged():
    assert judged(samples_with({"udp-memory": [1.0, 1, 1]})) == {}
    alone = [sample for sample in samples_with(SLOW) if sample.system == "nginy"]
    assert judged(alone) == {}
    assert "floors reached: 0 of 0" in summary(alone)


def test_summary_names_every_floor_that_was_missed():
    assert summary(samples_with(GOOD)) == "floors reached: 3 of 3"
    slow = samples_with(SLOW | {"udp-sessions": [39.0, 39, 39]})
    assert summary(slow).splitlines() == [
        "floors reached: 2 of 4",
        "MISSED: TCP new connections/s: 0.49 of nginx's, floor 0.5",
        "MISSED: UDP new sessions/s: 0.39 of nginx's, floor 0.4",
    ]


def test_table_shows_values_cpu_time_ratios_and_floor():
    others = [Sample(n, "requests", "other", 140.0) for n in range(3)]
    lines = tables(samples_with({"requests": GOOD["requests"]}) + others).splitlines()
    assert lines[0] == WORKLOADS["requests"].title
    assert [" ".join(line.split()) for line in lines[2:]] == [
        "nginx 100 (100-100) 0.70 (0.10-0.71) 0.7 reached 2.50 (2.50-2.50) 2.00 (2.00-2.00)",
        "nginy 70.00 (10.00-71.00) 5.00 (5.00-5.00)",
        "other 140 (140-140) 0.50 (0.07-0.51)",
    ]


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
    with pytest.raises(BenchError, match=failure[:8]):
        parse_wrk(f"{failure}\nRequests/sec: 10.0")
