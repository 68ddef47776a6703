"""`python -m experiments.bench`: nginy beside nginx, HAProxy and, if wanted, another nginy.

One worker each. All parts are run, whatever comes of one, and judged at the end. With --against the
report gives nginy / other as well: `--only connections --against DIR` takes about a minute. Exit
codes: 0 all floors reached, 1 one missed, 2 something could not be measured.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import psutil

from experiments.bench import tcp, udp
from experiments.bench.needs import BenchError
from experiments.bench.plan import Plan, Record
from experiments.bench.program import prepare_process
from experiments.bench.report import WORKLOADS, Sample, judged, summary, tables
from experiments.lab.processes import ProcessFailed
from experiments.lab.systems import SYSTEMS
from experiments.lab.systems.nginy import NginyKind

PICKS = "picks"
FLOOR_MISSED = 1
CANNOT_RUN = 2
PART_FAILURES = (BenchError, ProcessFailed, OSError, subprocess.SubprocessError, psutil.Error)
"""A balancer that has ended shows as an error of its socket or of reading its CPU time, too."""
Measure = Callable[[Plan, Record], None]
PEERS = ("nginx", "haproxy")


def _checkout(_context: object, _parameter: object, path: Path | None) -> Path | None:
    if path is not None and not (path / "nginy/__main__.py").exists():
        raise click.BadParameter(f"{path} is no checkout of nginy: it has no nginy/__main__.py")
    return path


@click.command(help=__doc__)
@click.option(
    "--only", "only", multiple=True, type=click.Choice([*WORKLOADS, PICKS]), help="May be repeated."
)
@click.option(
    "--peer", "peers", multiple=True, type=click.Choice(PEERS),
    help="Beside this one only; may be repeated. Default: all.",
)  # fmt: skip
@click.option(
    "--against", callback=_checkout, help="Beside the nginy of another checkout, too.",
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
)  # fmt: skip
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(1))
@click.option(
    "--seconds", default=2, show_default=True, type=click.IntRange(1), help="Per rate measured."
)
@click.option("--bulk-mib", default=1024, show_default=True, type=click.IntRange(1))
@click.option(
    "--held", default=2000, show_default=True, type=click.IntRange(1, 3900),
    help="Idle connections or sessions, where memory is measured.",
)  # fmt: skip
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write samples here.")
def main(
    only: Sequence[str],
    peers: Sequence[str],
    against: Path | None,
    rounds: int,
    seconds: int,
    bulk_mib: int,
    held: int,
    json_path: Path | None,
) -> None:
    """Run, print, judge."""
    prepare_process()
    beside = [SYSTEMS[name] for name in peers or PEERS]
    other = [NginyKind("other", against)] if against else []
    workloads = only or (*WORKLOADS, PICKS)
    plan = Plan([*beside, *other, NginyKind()], workloads, rounds, seconds, bulk_mib, held)
    samples, troubles = _run(plan)
    facts = _facts(plan)
    head = "\n".join(f"{name}: {fact}" for name, fact in facts.items())
    click.echo("\n\n".join(filter(None, [head, tables(samples), summary(samples), *troubles])))
    if json_path is not None:
        document = {"facts": facts, "samples": [sample._asdict() for sample in samples]}
        json_path.write_text(json.dumps(document, indent=1))
    if troubles:
        sys.exit(CANNOT_RUN)
    sys.exit(0 if all(judged(samples).values()) else FLOOR_MISSED)


def _run(plan: Plan) -> tuple[list[Sample], list[str]]:
    """What was measured, and what stopped a part of it."""
    samples: list[Sample] = []
    troubles: list[str] = []

    def record(sample: Sample) -> None:
        samples.append(sample)
        number, workload, system, value, _ = sample
        line = f"round {number + 1}/{plan.rounds}: {workload} {system} {value:.2f}"
        click.echo(line, err=True)

    for name, (workloads, measure) in PARTS.items():
        if plan.chosen(*workloads):
            try:
                measure(plan, record)
            except PART_FAILURES as error:
                troubles.append(f"{name} could not be measured: {error}")
                click.echo(f"bench: {troubles[-1]}", err=True)
    return samples, troubles


def _measure_picks(_plan: Plan, _record: Record) -> None:
    """Prints its own table: it has neither peers nor floors."""
    subprocess.run([sys.executable, "-m", "experiments.bench.picks"], check=True)


PARTS: dict[str, tuple[Sequence[str], Measure]] = {
    "TCP": ((*tcp.RATES, tcp.MEMORY), tcp.measure),
    "UDP": ((udp.ROUND_TRIPS, udp.NEW_SESSIONS, udp.MEMORY), udp.measure),
    "Picks": ((PICKS,), _measure_picks),
}


def _facts(plan: Plan) -> dict[str, str]:
    """What the numbers depend on."""
    congestion_control = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    checkouts = {
        peer.name: f"{peer.checkout} at {_version(peer.checkout)}"
        for peer in plan.peers
        if isinstance(peer, NginyKind)
    }
    return {
        **checkouts,
        "machine": f"Linux {platform.release()}, {os.cpu_count()} CPUs, {congestion_control}",
        "python": platform.python_version(),
        "plan": f"{plan.rounds} rounds of {plan.seconds} s; {plan.bulk_mib} MiB of bulk;"
        f" {plan.held} idle connections or sessions",
    }


def _version(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() or "no commit"


if __name__ == "__main__":
    main()
