"""`python -m experiments.bench.udp`: UDP through nginy beside nginx's stream module.

Two workloads: round trips of sessions that live on, and new sessions (of one request and one
response, so every datagram begins one). All on loopback: one process is the clients and the backend
(an echo), on one core; the two balancers, one worker each and no access log, on another, idle but
for the one being measured. Both are measured in every round, in alternating order. The clients
keep a fixed number of datagrams under way, so the balancer is what is waited for. Exit codes:
0 all floors reached, 1 one not reached, 2 could not run.
"""

import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

import click

from experiments.bench.udp_balancers import NGINX_MODULE, Balancer, start_balancers
from experiments.bench.udp_load import BenchError, Load

FLOORS = {"round trips": 0.5, "new sessions": 0.4}
"""By workload: nginy's rate over nginx's, median of the rounds."""
FLOOR_MISSED = 1
CANNOT_RUN = 2


class Sample(NamedTuple):
    """What one balancer did of one workload in one round."""

    per_s: float
    cpu_us: float
    """Its processor time for each."""


Samples = dict[str, list[Sample]]
"""By balancer, round after round."""


@click.command(help=__doc__)
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=1.5, show_default=True, type=click.FloatRange(0.1))
@click.option(
    "--clients", default=16, show_default=True, type=click.IntRange(1), help="Of round trips."
)
@click.option(
    "--window", default=64, show_default=True, type=click.IntRange(1), help="Datagrams under way."
)
@click.option(
    "--size", default=64, show_default=True, type=click.IntRange(1, 65_000), help="Bytes."
)
def main(rounds: int, seconds: float, clients: int, window: int, size: int) -> None:
    """Run, print, judge."""
    if shutil.which("nginx") is None or not NGINX_MODULE.exists():
        click.echo("bench: missing Debian packages: nginx and libnginx-mod-stream", err=True)
        sys.exit(CANNOT_RUN)
    try:
        with ExitStack() as own:
            directory = Path(own.enter_context(tempfile.TemporaryDirectory(prefix="nginy-bench-")))
            load = Load(own, window, size)
            balancers = start_balancers(own, directory, load)
            clients_of = {"round trips": clients, "new sessions": window}
            measured = {
                workload: _rounds(load, balancers, workload, rounds, seconds, clients_of[workload])
                for workload in FLOORS
            }
    except BenchError as error:
        click.echo(f"bench: {error}", err=True)
        sys.exit(CANNOT_RUN)
    reached = [_report(workload, samples) for workload, samples in measured.items()]
    sys.exit(0 if all(reached) else FLOOR_MISSED)


def _rounds(
    load: Load,
    balancers: dict[str, Balancer],
    workload: str,
    rounds: int,
    seconds: float,
    clients: int,
) -> Samples:
    samples: Samples = {name: [] for name in balancers}
    for number in range(rounds):
        for name in sorted(balancers, reverse=number % 2 == 1):
            balancer = balancers[name]
            cpu_s = balancer.cpu_s()
            count = load.run(balancer.ports[workload], seconds, clients)
            cpu_us = (balancer.cpu_s() - cpu_s) / count * 1e6
            samples[name].append(Sample(count / seconds, cpu_us))
    return samples


def _report(workload: str, samples: Samples) -> bool:
    """Print a table; gives whether the floor was reached."""
    click.echo(f"system  {workload}/s  balancer's CPU us for each")
    for name, its in samples.items():
        rate = median(sample.per_s for sample in its)
        cpu_us = median(sample.cpu_us for sample in its)
        click.echo(f"{name}   {rate:{len(workload) + 2}.0f}  {cpu_us:.1f}")
    pairs = zip(samples["nginy"], samples["nginx"], strict=True)
    ratios = [nginy.per_s / nginx.per_s for nginy, nginx in pairs]
    floor, ratio = FLOORS[workload], median(ratios)
    click.echo("nginy / nginx per round: " + " ".join(f"{each:.2f}" for each in ratios))
    click.echo(f"median {ratio:.2f}, floor {floor}: {'reached' if ratio >= floor else 'missed'}\n")
    return ratio >= floor


if __name__ == "__main__":
    main()
