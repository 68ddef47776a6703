"""The queue in virtual time, against a brute-force simulation and against theory."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.hosts.backend.fifo_server import FifoServer, Service

# Integer times and speeds of a power of two: the two computations then agree to the last bit.
JOBS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=30)


@dataclass
class Job:
    arrival: int
    demand: int
    start: float | None = None
    finish: float | None = None


def brute_force(
    jobs: list[tuple[int, int]], servers: int, speed: float, limit: int
) -> list[Job | None]:
    """Event by event, with explicit servers and an explicit queue. None: rejected."""
    waiting: list[Job] = []
    running: list[Job] = []
    outcome: list[Job | None] = []
    now = 0.0

    def run_until(time: float) -> None:
        while running and min(job.finish or 0 for job in running) <= time:
            first = min(running, key=lambda job: job.finish or 0)
            running.remove(first)
            if waiting:
                begin(waiting.pop(0), first.finish or 0)

    def begin(job: Job, time: float) -> None:
        job.start, job.finish = time, time + job.demand / speed
        running.append(job)

    for gap, demand in jobs:
        now += gap
        run_until(now)
        job = Job(int(now), demand)
        if len(running) < servers:
            begin(job, now)
        elif len(waiting) < limit:
            waiting.append(job)
        else:
            outcome.append(None)
            continue
        outcome.append(job)
    run_until(float("inf"))
    return outcome


@given(JOBS, st.integers(1, 4), st.sampled_from([0.5, 1.0, 2.0]), st.integers(0, 5))
def test_agrees_with_brute_force(
    jobs: list[tuple[int, int]], servers: int, speed: float, limit: int
) -> None:
    queue = FifoServer(servers, speed, limit)
    expected = brute_force(jobs, servers, speed, limit)
    now = 0
    for (gap, demand), job in zip(jobs, expected, strict=True):
        now += gap
        service = queue.admit(now, demand)
        assert service == (Service(job.start or 0, job.finish or 0) if job else None)

    served = [job for job in expected if job]
    state = queue.state(1000)
    assert (state.arrived, state.completed) == (len(jobs), len(served))
    assert state.rejected == len(jobs) - len(served)
    assert (state.busy, state.queue_length) == (0, 0)
    assert state.busy_time_s == sum(job.demand / speed for job in served)


@given(JOBS, st.integers(1, 4), st.integers(0, 5), st.integers(0, 200))
def test_state_at_any_time_agrees_with_brute_force(
    jobs: list[tuple[int, int]], servers: int, limit: int, later: int
) -> None:
    queue = FifoServer(servers, 1.0, limit)
    now = 0
    for gap, demand in jobs:
        now += gap
        queue.admit(now, demand)
    at = now + later
    served = [(j.start or 0, j.finish or 0) for j in brute_force(jobs, servers, 1.0, limit) if j]
    state = queue.state(at)
    assert state.completed == sum(finish <= at for _, finish in served)
    assert state.busy == sum(start <= at < finish for start, finish in served)
    assert state.queue_length == sum(start > at for start, _ in served)
    assert state.busy_time_s == sum(max(0, min(at, finish) - start) for start, finish in served)


def test_no_waiting_room_is_a_loss_system() -> None:
    queue = FifoServer(servers=1, speed=1.0, queue_limit=0)
    assert queue.admit(0, 1) == Service(0, 1)
    assert queue.admit(0.5, 1) is None
    assert queue.admit(1, 1) == Service(1, 2)


def test_speed_divides_the_demand() -> None:
    assert FifoServer(1, 4.0, 0).admit(1, 2) == Service(1, 1.5)


def test_time_must_not_run_backwards() -> None:
    queue = FifoServer(1, 1.0, 0)
    queue.admit(5, 1)
    with pytest.raises(ValueError, match="backwards"):
        queue.admit(4, 1)
    with pytest.raises(ValueError, match="negative demand"):
        queue.admit(6, -1)


@pytest.mark.parametrize(("servers", "speed", "limit"), [(0, 1, 1), (1, 0, 1), (1, 1, -1)])
def test_impossible_servers_are_refused(servers: int, speed: float, limit: int) -> None:
    with pytest.raises(ValueError, match="no such server"):
        FifoServer(servers, speed, limit)


@pytest.mark.parametrize(
    ("servers", "mean"),
    # E[T] in units of the mean service time at utilisation 0.5: M/M/1 is 1/(1 - rho) = 2; M/M/c
    # from Erlang C (c = 2: 4/3 by hand, c = 4: 1 + C/(c - a) with C = 0.17391, a = 2).
    [(1, 2.0), (2, 4 / 3), (4, 1.086957)],
)
def test_mean_response_time_is_that_of_theory(servers: int, mean: float) -> None:
    rng = np.random.default_rng(20)
    count = 200_000
    arrivals = np.cumsum(rng.exponential(1 / (0.5 * servers), count))
    demands = rng.exponential(1.0, count)
    queue = FifoServer(servers, 1.0, count)
    times = []
    for now, demand in zip(arrivals.tolist(), demands.tolist(), strict=True):
        service = queue.admit(now, demand)
        assert service is not None
        times.append(service.finish_s - now)
    batches = np.array(times[count // 20 :]).reshape(50, -1).mean(axis=1)
    standard_error = batches.std(ddof=1) / np.sqrt(50)
    assert standard_error < 0.02 * mean
    assert abs(batches.mean() - mean) < 4 * standard_error
