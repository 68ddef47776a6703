"""The command line: `nginy run | check | explain | status | top | web | algorithms`.

Exit codes: 0 done, 1 it could not run (a port in use, for example), 2 the configuration or the
command line is wrong.
"""

import click

from nginy.cli.algorithms import algorithms
from nginy.cli.explain import explain
from nginy.cli.serve import check, run
from nginy.cli.status import status
from nginy.cli.top import top
from nginy.cli.web import web


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(None, "-V", "--version", package_name="nginy", prog_name="nginy")
def main() -> None:
    """A layer-4 load balancer.

    \b
    nginy check -c nginy.yaml                         is this file right?
    nginy explain -c nginy.yaml --client 192.0.2.7    where would this client be sent, and why?
    nginy run -c nginy.yaml                           serve
    nginy status -c nginy.yaml                        what does its process do just now?
    nginy top -c nginy.yaml                           and watch that
    nginy web -c nginy.yaml                           on a page
    nginy algorithms                                  what there is to choose from
    """


for command in (run, check, explain, status, top, web, algorithms):
    main.add_command(command)
