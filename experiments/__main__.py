"""The testbed's command line: `python -m experiments run | sweep | study | compare | ...`.

Exit codes: 0 all well; 1 something could not be started or died; 2 wrong usage, scenario or
sweep; 3 a run is invalid (its network or its measurement was not what it claims; if it was made
again by itself, that is said of the second one); 130 Ctrl-C.
"""

import sys

import click

from experiments.commands import (
    arms,
    cluster,
    documents,
    live,
    live_run,
    report,
    runs,
    simulate,
    stored,
    studies,
    sweeps,
)
from experiments.commands.common import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from experiments.lab.processes import ProcessFailed
from experiments.plan.scenario import ScenarioError
from nginy.errors import NginyError
from topologies.errors import NetworkError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Experiments with a real balancer in a virtual network."""


for each in (
    runs.run,
    simulate.simulate_command,
    arms.arms,
    sweeps.sweep,
    studies.study,
    studies.studies,
    stored.compare,
    stored.figures,
    stored.notebook_html,
    stored.shapes,
    stored.trace_from,
    report.report,
    documents.docs_images,
    documents.demo_picture,
    stored.doctor,
    cluster.scheduler,
    cluster.worker,
    live.demo,
    live_run.live,
    live.watch,
    live.frames,
):
    cli.add_command(each)


def main() -> None:
    """Run the command line; errors made on purpose are one message, not a trace."""
    try:
        cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ScenarioError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_USAGE)
    except (NginyError, NetworkError, ProcessFailed) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_FAILED)
    except (click.Abort, KeyboardInterrupt):
        click.echo(
            "\ninterrupted: what was running is stopped and removed; finished runs stay", err=True
        )
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
