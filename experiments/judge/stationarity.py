"""Whether a queue had the time to settle. Pure.

The relaxation time of an M/M/1 queue, in which its memory of the beginning fades by a factor e, is
1 / (mu (1 - sqrt(rho))^2) (Morse, "Stochastic properties of waiting lines", J. ORSA 3, 1955): 3
services at load 0.2, 37 at 0.7, 1 560 at 0.95. Demands that vary more take longer, by
(1 + cv^2) / 2 as in the mean wait of an M/G/1 queue: a rule of thumb.
"""

import math

from experiments.plan.scenario import Scenario

TIMES = 3.0
"""Warm-up in relaxation times: what is left of the beginning is e^-3, 5 %."""


def relaxation_s(scenario: Scenario) -> float:
    """Of one backend that gets its share; infinite from load 1 on, 0 where no load is asked for."""
    load, demand = scenario.workload.offered_load, scenario.workload.demand
    if load is None:
        return 0.0
    if load >= 1:
        return math.inf
    cv2 = {"constant": 0.0, "exponential": 1.0}.get(demand.distribution, demand.cv2)
    slowest = min(scenario.speed(index) for index in range(len(scenario.backend_ids())))
    service_s = demand.mean_ms / 1e3 / slowest / scenario.backends.servers
    return service_s * (1 + cv2) / 2 / (1 - math.sqrt(load)) ** 2


def settling_label(scenario: Scenario) -> str:
    """What has to be said of a run that its time cannot settle; empty if it can."""
    load = scenario.workload.offered_load
    if load is None:
        closed = "closed loop: who waits asks less, latencies are not those of an open loop"
        return closed if scenario.workload.closed_loop else ""
    if load >= 1:
        return f"overloaded (load {load:g}: queues grow for as long as it lasts)"
    needed_s = TIMES * relaxation_s(scenario)
    if needed_s <= scenario.warmup_s:
        return ""
    return (
        f"not settled (at load {load:g} a queue needs some {needed_s:.0f} s, the warm-up is "
        f"{scenario.warmup_s:g} s: WARMUP and DURATION make it longer)"
    )
