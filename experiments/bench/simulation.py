"""`make bench-simulation`: the simulation beside the same model in SimPy, with the same balancing
objects, in turns of one process: ratios, since machines are noisy."""

import gc
import statistics
import time
from collections.abc import Callable

import click
from rich.console import Console
from rich.table import Table

from experiments.bench.simpy_model import run as run_in_simpy
from experiments.plan.scenario import Scenario, parse_scenario
from experiments.simulation import loop
from experiments.simulation.simulate import run

ALGORITHMS = ("round_robin", "random_two", "least_conn", "join_idle_queue")
SIZES = (4, 100, 10_000)
REQUESTS = 20_000
LOAD = 0.9


@click.command()
@click.option("--requests", type=click.IntRange(1000), default=REQUESTS, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
def main(requests: int, rounds: int) -> None:
    """Requests per second of the model, and the loops' ratios to it: medians and their spread."""
    table = Table("algorithm", "backends", "SimPy, req/s", "general loop", "the fastest", "loop")
    console = Console()
    for count in SIZES:
        for algorithm in ALGORITHMS:
            asked = _scenario(algorithm, count, requests)
            programs = (_theirs, _in_general, _ours)
            rates = [[_rate(program, asked) for program in programs] for _ in range(rounds)]
            general, ours = (_ratio([row[at] / row[0] for row in rates]) for at in (1, 2))
            theirs = statistics.median(row[0] for row in rates)
            _, by = run(asked)
            table.add_row(
                algorithm, f"{count:,}", f"{theirs:,.0f}", general, ours, by.partition(":")[0]
            )
            console.print(f"{algorithm}, {count:,}: {general}, {ours}", highlight=False)
    console.print(table)


def _ratio(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def _scenario(algorithm: str, backends: int, requests: int) -> Scenario:
    """That offers so many, in a second at least."""
    mean_ms = max(20.0, backends / 5)
    return parse_scenario(
        {
            "algorithm": algorithm,
            "network": {"clients": 4, "backends": backends, "client_link": {"delay_ms": 1}},
            "workload": {
                "load": LOAD,
                "mean_demand_ms": mean_ms,
                "response_bytes": 200,
                "timeout_ms": 600_000,
            },
            "backends": {"queue_limit": 1_000_000},
            "duration_s": max(1.0, requests / (LOAD * backends * 1000 / mean_ms)),
            "warmup_s": 0,
        },
        "bench",
    )


def _theirs(scenario: Scenario) -> int:
    return len(run_in_simpy(scenario))


def _ours(scenario: Scenario) -> int:
    return run(scenario)[0].requests


def _in_general(scenario: Scenario) -> int:
    return loop.run(scenario).requests


def _rate(simulate: Callable[[Scenario], int], scenario: Scenario) -> float:
    """Requests per second of this machine's time."""
    gc.collect()
    began_s = time.perf_counter()
    done = simulate(scenario)
    return done / (time.perf_counter() - began_s)


if __name__ == "__main__":
    main()
