"""`make bench-simulation`: the simulation beside the same model in SimPy, with the same balancing
objects, in turns of one process: ratios, since machines are noisy."""

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from experiments.bench.simpy_model import run as run_in_simpy
from experiments.plan.scenario import Scenario, parse_scenario
from experiments.simulation.loop import run

ALGORITHMS = ("round_robin", "random_two", "least_conn", "join_idle_queue")
SIZES = (4, 100, 10_000)
REQUESTS = 20_000
LOAD = 0.9


@click.command()
@click.option("--requests", type=click.IntRange(1000), default=REQUESTS, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
def main(requests: int, rounds: int) -> None:
    """Requests per second of both, medians, and their ratio with its spread."""
    table = Table("algorithm", "backends", "SimPy, req/s", "simulation, req/s", "ratio (spread)")
    console = Console()
    for count in SIZES:
        for algorithm in ALGORITHMS:
            asked = _scenario(algorithm, count, requests)
            pairs = [(_rate(run_in_simpy, asked), _rate(_ours, asked)) for _ in range(rounds)]
            ratios = [ours / theirs for theirs, ours in pairs]
            theirs, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
            spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
            ratio = f"{statistics.median(ratios):.2f} ({spread})"
            table.add_row(algorithm, f"{count:,}", f"{theirs:,.0f}", f"{ours:,.0f}", ratio)
            console.print(f"{algorithm}, {count:,} backends: {ratio}", highlight=False)
    console.print(table)


def _scenario(algorithm: str, backends: int, requests: int) -> Scenario:
    """That offers so many, in a second at least."""
    mean_ms = max(20.0, backends / 5)
    return parse_scenario(
        {
            "algorithm": algorithm,
            "network": {"clients": 4, "backends": backends, "client_link": {"delay_ms": 1}},
            "workload": {"load": LOAD, "mean_demand_ms": mean_ms, "response_bytes": 200},
            "duration_s": max(1.0, requests / (LOAD * backends * 1000 / mean_ms)),
            "warmup_s": 0,
        },
        "bench",
    )


def _ours(scenario: Scenario) -> list[Any]:
    return run(scenario).records


def _rate(simulate: Callable[[Scenario], list[Any]], scenario: Scenario) -> float:
    """Requests per second of this machine's time."""
    gc.collect()
    began_s = time.perf_counter()
    done = len(simulate(scenario))
    return done / (time.perf_counter() - began_s)


if __name__ == "__main__":
    main()
