"""Closed forms and exact values of queues: what a measurement is held against. Pure.

Times are in units of the mean service time; servers are alike, arrivals Poisson, first come first
served, queues without end, unless it is said. `T` is a request's time at its server, waiting and
served. Sources: Kleinrock, "Queueing Systems", 1975; Mitzenmacher, "The power of two choices in
randomized load balancing", 1996; Adan, Wessels and Zijm, "Analysis of the symmetric shortest queue
problem", 1990, whose values for two and more servers are computed here from the bounded chain.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.sparse import coo_array, csc_array, csr_array
from scipy.sparse.linalg import spsolve

from experiments.plan.scenario import Scenario


def mm1(load: float) -> float:
    """Mean T of M/M/1: also of each of many servers that requests are split over at random."""
    return 1 / (1 - load)


def mg1(load: float, cv2: float) -> float:
    """Mean T of M/G/1 (Pollaczek and Khinchine)."""
    return 1 + load * (1 + cv2) / (2 * (1 - load))


def erlang_c(servers: int, load: float) -> float:
    """The probability that an arrival waits in M/M/c."""
    offered, blocked = servers * load, 1.0
    for number in range(1, servers + 1):
        blocked = offered * blocked / (number + offered * blocked)
    return blocked / (1 - load + load * blocked)


def mmc(servers: int, load: float) -> float:
    """Mean T of M/M/c, one queue for all: no policy that does not know sizes is better."""
    return 1 + erlang_c(servers, load) / (servers * (1 - load))


def round_robin(servers: int, load: float) -> float:
    """Mean T where requests go to `servers` in turn: each of them is E_N/M/1."""
    rate = servers * load

    def balance(sigma: float) -> float:
        return float((rate / (rate + 1 - sigma)) ** servers - sigma)

    sigma = float(brentq(balance, 0.0, 1 - 1e-9 if load < 0.999 else 1 - 1e-13))
    return 1 / (1 - sigma)


def power_of_d(load: float, choices: int = 2) -> float:
    """Mean T of the shortest of `choices` queues drawn at random, as servers become many."""
    total, term, number = 0.0, 1.0, 1
    while term > 1e-15:
        exponent = (choices**number - choices) / (choices - 1)
        term = load**exponent
        total += term
        number += 1
    return total


MOST_APART = 10
"""Queues of a chain that joins the shortest are hardly ever further apart."""


def shortest_queue(servers: int, load: float) -> float:
    """Mean T where each request joins the shortest of all queues; exponential service.

    By the stationary law of the chain of sorted queue lengths, in which a departure that would
    make queues lie more than `MOST_APART` apart does not happen, and the shortest queue is cut off
    where it is that long once in 10^8: exact to three digits and more. Raises ValueError for other
    than 2 to 4 servers.
    """
    if not 2 <= servers <= 4:
        raise ValueError(f"the shortest of {servers} queues: 2 to 4 are computed exactly")
    most = math.ceil(math.log(1e-8) / math.log(load) / servers) + 2
    states = _sorted_states(servers, most)
    places = {state: place for place, state in enumerate(states)}
    rows, columns, rates = [], [], []
    for state, place in places.items():
        for following, rate in _moves(state, servers * load):
            if following in places:
                rows.append(places[following])
                columns.append(place)
                rates.append(rate)
    flow = csr_array(coo_array((rates, (rows, columns)), shape=(len(states),) * 2))
    leaving = np.asarray(flow.sum(axis=0)).ravel()
    diagonal = coo_array((leaving, (range(len(states)), range(len(states)))))
    balance = (flow - diagonal).tolil()
    balance[0, :] = 1.0  # the law sums to 1, in the place of one balance that the others imply
    right = np.zeros(len(states))
    right[0] = 1.0
    law = spsolve(csc_array(balance), right)
    # An arrival that finds the shortest queue of m stays m + 1 services on average.
    return float(law @ [state[0] + 1 for state in states])


def _sorted_states(servers: int, most: int) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = [(length,) for length in range(most + 1)]
    for _ in range(servers - 1):
        found = [
            (*state, length)
            for state in found
            for length in range(state[-1], state[0] + MOST_APART + 1)
        ]
    return found


def _moves(state: tuple[int, ...], rate: float) -> list[tuple[tuple[int, ...], float]]:
    moves = [(tuple(sorted((state[0] + 1, *state[1:]))), rate)]
    for place, length in enumerate(state):
        if length:
            served = (*state[:place], length - 1, *state[place + 1 :])
            moves.append((tuple(sorted(served)), 1.0))
    return moves


@dataclass(frozen=True, slots=True)
class Reference:
    """What theory says of a scenario's `served_ms`."""

    value_ms: float | None
    """None: there is no closed form."""
    why: str
    """Which law it is, or why there is none."""


def reference(scenario: Scenario) -> Reference:
    """The exact mean time at the backends, where there is one."""
    load, demand = scenario.workload.offered_load, scenario.workload.demand
    count = len(scenario.backend_ids())
    if problem := _unlike_theory(scenario):
        return Reference(None, problem)
    assert load is not None
    law = {"constant": "constant", "exponential": "exponential"}.get(demand.distribution, "general")
    known = _KNOWN.get((scenario.algorithm, law))
    if known is None:
        return Reference(None, f"no closed form of {scenario.algorithm} with {law} sizes")
    name, value = known
    try:
        return Reference(
            demand.mean_ms * value(count, load, demand.cv2), f"{name} at load {load:g}"
        )
    except ValueError as error:
        return Reference(None, str(error))


_Value = Callable[[int, float, float], float]
_KNOWN: Mapping[tuple[str, str], tuple[str, _Value]] = {
    ("random", "exponential"): ("M/M/1", lambda _, load, __: mm1(load)),
    ("random", "constant"): ("M/D/1", lambda _, load, __: mg1(load, 0.0)),
    ("random", "general"): ("M/G/1", lambda _, load, cv2: mg1(load, cv2)),
    ("round_robin", "exponential"): ("E_N/M/1", lambda count, load, _: round_robin(count, load)),
    ("least_conn", "exponential"): (
        "the shortest queue",
        lambda count, load, _: shortest_queue(count, load),
    ),
}


def _unlike_theory(scenario: Scenario) -> str:
    """Why the scenario is no queue of the books; empty if it is one."""
    load = scenario.workload.offered_load
    if load is None or load >= 1:
        return "no stationary law: the load is 1 or more, or is not given"
    if scenario.backends.servers > 1 or len(set(scenario.backends.speeds)) > 1:
        return "backends differ, or have several servers"
    if len(set(scenario.backends.weights)) > 1 or len(scenario.balancers()) > 1:
        return "weights differ, or there are several balancers"
    if scenario.faults or getattr(scenario.workload, "profile", ()):
        return "what is offered or served changes during the run"
    if scenario.algorithm_options:
        return "options of the algorithm"
    if scenario.workload.kind != "requests" or not scenario.workload.alone:
        return "requests share connections"
    if scenario.algorithm == "least_conn" and _far(scenario):
        return "least_conn counts connections that wait for the network, not only at backends"
    return ""


def _far(scenario: Scenario) -> bool:
    """Whether a connection is longer than the stay at its backend."""
    return any(spec.delay_ms > 0 for spec in scenario.topology.specs.values())
