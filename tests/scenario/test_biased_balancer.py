"""A balancer that prefers one backend is caught by the fairness figures; an even one is not.

The traffic is real, through the real proxy. The bias is a weight of 2 that the evaluation is not
told of: it expects equal shares.
"""

from collections import Counter
from pathlib import Path

import pytest

from experiments.analysis.fairness import fairness_verdict
from tests.scenario.loopback_testbed import LoopbackTestbed

BACKENDS = 4

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("algorithm", "weights", "biased"),
    [
        ("round_robin", (1, 1, 1, 1), False),
        ("random", (1, 1, 1, 1), False),
        ("round_robin", (2, 1, 1, 1), True),
        ("random", (2, 1, 1, 1), True),
    ],
)
def test_bias_is_caught(
    tmp_path: Path, algorithm: str, weights: tuple[int, ...], biased: bool
) -> None:
    with LoopbackTestbed(tmp_path) as testbed:
        backends = [testbed.backend(f"b{i}") for i in range(BACKENDS)]
        target = testbed.nginy("lb", backends, algorithm, seed=1, weights=weights)
        traffic = testbed.send(target, rate=400, duration_s=2.0, mean_demand_ms=1)
    served = Counter(request["backend"] for request in traffic.requests)
    verdict = fairness_verdict([served[f"b{i}"] for i in range(BACKENDS)])
    assert verdict.biased is biased, (served, verdict)
