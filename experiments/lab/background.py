"""Background flows at work: iperf3 in the hosts' namespaces, one server for each."""

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from experiments.lab.processes import HostProcess, ProcessFailed, ProcessGroup
from experiments.plan.background import BackgroundFlow
from topologies.machine.tuning import RESERVED_PORTS

NOT_BACKGROUND = f"not portrange {RESERVED_PORTS[0]}-{RESERVED_PORTS[-1]}"
"""For captures: bulk traffic would fill them."""
_READY_TIMEOUT_S = 15.0
_END_TIMEOUT_S = 20.0
_POLL_S = 0.02


class _Running(NamedTuple):
    flow: BackgroundFlow
    server: HostProcess
    client: HostProcess
    began_s: float


class Background:
    """The flows of one run."""

    def __init__(
        self,
        group: ProcessGroup,
        flows: Sequence[BackgroundFlow],
        address: Callable[[str], str],
        congestion_control: Callable[[str], str],
    ) -> None:
        """Nothing is sent yet; both functions take a host's name."""
        self._group = group
        self._flows = flows
        self._address = address
        self._control = congestion_control
        self._running: list[_Running] = []

    def start(self, until_s: float) -> None:
        """Begin all of them; they end at `until_s` (monotonic). Raises ProcessFailed."""
        for number, flow in enumerate(self._flows):
            port = RESERVED_PORTS[number]
            words = ["iperf3", "-s", "-1", "-J", "-i", "1", "-p", str(port)]
            server = self._group.start(flow.destination, f"background-{number}-server", words)
            server.wait_listening(port, time.monotonic() + _READY_TIMEOUT_S)
            lasts_s = math.ceil(until_s - time.monotonic())
            client = self._group.start(
                flow.source, f"background-{number}-client", self._client(flow, port, lasts_s)
            )
            self._running.append(_Running(flow, server, client, time.monotonic()))

    def _client(self, flow: BackgroundFlow, port: int, lasts_s: int) -> list[str]:
        words = ["iperf3", "-c", self._address(flow.destination), "-p", str(port), "-J"]
        words += ["-i", "1", "-t", str(lasts_s), "-P", str(flow.flows)]
        if flow.protocol == "udp":
            words.append("-u")
        else:
            words += ["-C", self._control(flow.source)]
        return words if flow.rate_mbps is None else [*words, "-b", f"{flow.rate_mbps * 1e6:.0f}"]

    def finish(self) -> None:
        """Wait for their end, which is near. Raises ProcessFailed where one did not end well."""
        deadline_s = time.monotonic() + _END_TIMEOUT_S
        for process in [each for run in self._running for each in (run.client, run.server)]:
            while process.running():
                if time.monotonic() > deadline_s:
                    raise ProcessFailed(f"{process} did not end in time")
                time.sleep(_POLL_S)

    def samples(self) -> Iterator[dict[str, Any]]:
        """Rows of table `samples`, a second each, at CLOCK_MONOTONIC seconds."""
        for running in self._running:
            yield from rows(str(running.flow), running.began_s, running.server.text(), "received")
            yield from rows(str(running.flow), running.began_s, running.client.text(), "sent")


def rows(source: str, began_s: float, report: str, end: str) -> Iterator[dict[str, Any]]:
    """What one end of iperf3 (`--json`) counted, second by second: `background_received_mbps` and
    so on, at the middle of each interval. iperf3 says no finer when it began than the second: the
    times are late by its start, some 10 ms."""
    for interval in json.loads(report)["intervals"]:
        total = interval["sum"]
        if total["seconds"] < 0.5:  # what is left at the end says little
            continue
        yield {
            "t_s": began_s + (total["start"] + total["end"]) / 2,
            "source": source,
            "quantity": f"background_{end}_mbps",
            "value": total["bits_per_second"] / 1e6,
        }
