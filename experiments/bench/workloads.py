"""The three measurements, each made from the client's namespace."""

import re
import sys
from collections.abc import Callable

from experiments.bench.lab import Lab, LabError
from experiments.bench.systems import TARGETS

CONNECTIONS = 64


def requests_per_s(lab: Lab, system: str, seconds: int) -> float:
    """Requests per second over kept-alive connections."""
    return _wrk(lab, system, seconds, [])


def connections_per_s(lab: Lab, system: str, seconds: int) -> float:
    """Requests per second, each over a new connection."""
    return _wrk(lab, system, seconds, ["-H", "Connection: close"])


def bulk_gb_per_s(lab: Lab, system: str, seconds: int) -> float:
    """10^9 bytes per second of one download, its length checked; `seconds` has no meaning here."""
    return float(_client(lab, "download", system))


def verify(lab: Lab, system: str) -> str:
    """Untimed: wait until it answers, compare small responses, hash the bulk payload."""
    return _client(lab, "verify", system)


WORKLOADS: dict[str, Callable[[Lab, str, int], float]] = {
    "requests/s": requests_per_s,
    "connections/s": connections_per_s,
    "bulk GB/s": bulk_gb_per_s,
}


def parse_wrk(output: str) -> float:
    """Requests per second from wrk's report. Raises LabError if any request failed."""
    if failure := re.search(r"(Socket errors|Non-2xx).*", output):
        raise LabError(f"wrk: {failure[0]}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if rate is None:
        raise LabError(f"wrk printed no rate: {output}")
    return float(rate[1])


def _wrk(lab: Lab, system: str, seconds: int, options: list[str]) -> float:
    host, port = TARGETS[system]
    url = f"http://{host}:{port}/small"
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", *options, url]
    try:
        return parse_wrk(lab.run("client", command, seconds + 30.0))
    except LabError as error:
        raise LabError(f"{system}: {error}") from error


def _client(lab: Lab, action: str, system: str) -> str:
    host, port = TARGETS[system]
    command = [sys.executable, "-m", "experiments.bench.client", action, host, str(port)]
    return lab.run("client", command, 120.0).strip()
