"""`python -m experiments.bench`: nginy beside nginx's stream module, one worker each.

All systems run at once in one lab and are measured in turn, in another order each round, so that
what disturbs the machine disturbs all alike. Exit codes: 0 floors reached, 1 not reached, 2 the
benchmark could not run.
"""

import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

import click

from experiments.bench.lab import TOOLS, Lab, LabError
from experiments.bench.report import Sample, ratios, table, verdict
from experiments.bench.systems import TARGETS, start_all, write_bulk
from experiments.bench.workloads import WORKLOADS, verify

FLOOR_MISSED = 1
CANNOT_RUN = 2


@click.command(help=__doc__)
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option(
    "--seconds", default=3, show_default=True, type=click.IntRange(1), help="Per wrk run."
)
@click.option("--bulk-mib", default=1024, show_default=True, type=click.IntRange(1))
@click.option("--only", type=click.Choice(list(WORKLOADS)), help="One workload, no verdict.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write samples here.")
def main(
    rounds: int, seconds: int, bulk_mib: int, only: str | None, json_path: Path | None
) -> None:
    """Run, print, judge."""
    signal.signal(signal.SIGTERM, _exit_on_signal)
    workloads = [only] if only else list(WORKLOADS)
    try:
        _check_machine()
        samples, facts = _measure(rounds, seconds, bulk_mib, workloads)
    except LabError as error:
        click.echo(f"bench: {error}", err=True)
        sys.exit(CANNOT_RUN)
    if json_path is not None:
        document = {"facts": facts, "samples": [sample._asdict() for sample in samples]}
        json_path.write_text(json.dumps(document, indent=1))
    if only:
        click.echo(f"{only}: nginy / nginx " + " ".join(f"{r:.2f}" for r in ratios(samples, only)))
        return
    click.echo(table(samples, TARGETS))
    if not all(verdict(samples).values()):
        sys.exit(FLOOR_MISSED)


def _check_machine() -> None:
    missing = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    if missing:
        raise LabError(f"missing Debian packages: {', '.join(missing)}")
    if os.geteuid():
        raise LabError("network namespaces need root: try sudo")


def _measure(
    rounds: int, seconds: int, bulk_mib: int, workloads: list[str]
) -> tuple[list[Sample], dict[str, str | int]]:
    samples = []
    with tempfile.TemporaryDirectory(prefix="nginy-bench-") as name, Lab(Path(name)) as lab:
        directory = Path(name)
        directory.chmod(0o755)  # nginx's worker is nobody, and reads the payload
        write_bulk(directory, bulk_mib)
        start_all(lab, directory)
        _verify_payloads(lab)
        for number in range(rounds):
            for workload in workloads:
                for system in _rotated(list(TARGETS), number):
                    rate = WORKLOADS[workload](lab, system, seconds)
                    samples.append(Sample(number, workload, system, rate))
                    click.echo(f"round {number + 1}: {workload} {system} {rate:.2f}", err=True)
        facts: dict[str, str | int] = {
            "kernel": platform.release(),
            "python": platform.python_version(),
            "cpus": os.cpu_count() or 0,
            "congestion_control": lab.congestion_control(),
            "bulk_mib": bulk_mib,
            "seconds": seconds,
        }
    return samples, facts


def _verify_payloads(lab: Lab) -> None:
    digests = {system: verify(lab, system) for system in TARGETS}
    if len(set(digests.values())) != 1:
        raise LabError(f"payloads differ: {digests}")


def _rotated(systems: list[str], number: int) -> list[str]:
    shift = number % len(systems)
    return systems[shift:] + systems[:shift]


def _exit_on_signal(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
