"""wrk in the place of the load generator: the same files, as far as it can fill them.

    python -m experiments.hosts.client.wrk --client c1 --target IP:PORT --start-at SECONDS ...

It starts wrk at `--start-at` (CLOCK_MONOTONIC seconds) and waits for its end. wrk keeps no record
of each request, so the requests file is empty; its totals are rows of table `samples`, each named
`wrk_<quantity>` (`wrk_report.lua`), at the time of its end. Exit status 1: it was not ready at the
start, or wrk failed, whose words are then on stderr.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from experiments.hosts.process import address
from experiments.wire.http import CLIENT_HEADER

SCHEMA_VERSION = 1
PREFIX = "wrk_"
_MARK = "report "
_SCRIPT = Path(__file__).with_name("wrk_report.lua")


def main(argv: Sequence[str] | None = None) -> int:
    """Run it and write what it says; the exit status."""
    options = _parser().parse_args(argv)
    late_s = time.monotonic() - options.start_at
    if late_s > 0:
        print(f"{options.client}: not ready until {late_s:.3f} s after --start-at", file=sys.stderr)
        return 1
    time.sleep(-late_s)
    began_s = time.monotonic()
    done = subprocess.run(_words(options), capture_output=True, text=True)
    ended_s = time.monotonic()
    print(done.stdout, flush=True)
    if done.returncode or not (found := report(done.stdout)):
        print(f"{options.client}: wrk: exit code {done.returncode} {done.stderr}", file=sys.stderr)
        return 1
    _write(options, found, (began_s, ended_s))
    return 0


def _words(options: argparse.Namespace) -> list[str]:
    return [
        *("wrk", "-t", str(options.threads), "-c", str(options.connections)),
        *("-d", f"{options.duration_s}s", "--timeout", f"{options.timeout_s}s"),
        *("-H", f"{CLIENT_HEADER}: {options.client}", "-s", str(_SCRIPT)),
        f"http://{options.target}/{options.response_bytes}",
    ]


def report(said: str) -> dict[str, float]:
    """The script's line among all that wrk says; empty if it is not there."""
    lines = [line for line in said.splitlines() if line.startswith(_MARK)]
    found: dict[str, float] = json.loads(lines[-1].removeprefix(_MARK)) if lines else {}
    return found


def _write(
    options: argparse.Namespace, found: dict[str, float], window_s: tuple[float, float]
) -> None:
    rows = [
        {"t_s": window_s[1], "source": options.client, "quantity": f"{PREFIX}{name}", "value": each}
        for name, each in found.items()
    ]
    options.samples.write_bytes(
        b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
    )
    options.requests.touch()
    summary: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "client": options.client,
        "start_s": window_s[0],
        "end_s": window_s[1],
        "offered": 0,  # nothing was planned: it asks again when it is answered
        "lateness_ms": None,
        "wrk": found,
    }
    options.summary.write_bytes(orjson.dumps(summary, option=orjson.OPT_INDENT_2))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="experiments.hosts.client.wrk")
    parser.add_argument("--client", required=True, help="name in the records, like c1")
    parser.add_argument("--target", required=True, type=address, metavar="ADDRESS:PORT")
    parser.add_argument("--start-at", required=True, type=float, help="CLOCK_MONOTONIC seconds")
    parser.add_argument("--duration-s", required=True, type=int)
    parser.add_argument("--timeout-s", required=True, type=int)
    parser.add_argument("--threads", required=True, type=int)
    parser.add_argument("--connections", required=True, type=int)
    parser.add_argument("--response-bytes", required=True, type=int)
    parser.add_argument("--requests", required=True, type=Path, metavar="FILE.jsonl")
    parser.add_argument("--samples", required=True, type=Path, metavar="FILE.jsonl")
    parser.add_argument("--summary", required=True, type=Path, metavar="FILE.json")
    return parser


if __name__ == "__main__":
    sys.exit(main())
