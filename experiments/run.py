"""One scenario becomes one run folder: the experiment's way, top to bottom.

Network up, every link calibrated, backends up, balancer up, captures on, load, all down, links
checked again, tables, verdict. Whatever happens on the way, what was started is stopped and what
was made is removed.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from experiments.capture import Capture, capture
from experiments.collect import Evidence, conclude
from experiments.dataset import RunWriter
from experiments.host_load import CpuMeter, CpuShares
from experiments.kernel_counters import CounterReadings, host_counters
from experiments.metadata import manifest
from experiments.processes import HostProcess, ProcessFailed, ProcessGroup
from experiments.progress import RunProgress
from experiments.scenario import Scenario
from experiments.systems.nginy import BACKEND_PORT, PORT, NginySystem
from experiments.traffic import start_backends, start_generators
from experiments.verdict import Verdict, rejected
from topologies.errors import LinkDead
from topologies.links.calibrate import calibrate, finish
from topologies.network import Network

BALANCER = "lb"
_LEAD_S = 2.0
"""From starting the generators to the first arrival: Python and numpy must be loaded by then."""
_LEAD_PER_CLIENT_S = 0.5
_POLL_S = 0.1
_GRACE_S = 15.0
"""Beyond the last possible timeout, generators get this long to write their records."""


def run_experiment(scenario: Scenario, folder: Path, progress: RunProgress) -> Verdict:
    """Run `scenario` into `folder` and say whether the result is valid.

    Raises:
        DatasetError: the folder is already that of a run.
        NetworkError, ProcessFailed, CaptureError: something did not start or died; the folder
            has no verdict and counts as unfinished.
    """
    progress.stage("building the network")
    settings = scenario.network
    with Network(
        settings.shape(), seed=scenario.seed, congestion_control=settings.congestion_control
    ) as network:
        writer = RunWriter(folder)
        raw = folder / "raw"
        raw.mkdir()
        writer.write_manifest(manifest(scenario.model_dump(mode="json"), network.facts()))
        progress.stage("calibrating every link")
        calibration = calibrate(network)
        writer.write_calibration(calibration.to_json())
        if not calibration.valid:
            return _end(writer, rejected("links", calibration.reasons))
        try:
            evidence = _carry(scenario, network, raw, progress)
        except LinkDead as dead:
            return _end(writer, rejected("links", [str(dead)]))
        calibration = finish(calibration, network)
        writer.write_calibration(calibration.to_json())
    progress.stage("reading captures, writing tables")
    return _end(writer, conclude(scenario, evidence, calibration, writer))


def _end(writer: RunWriter, verdict: Verdict) -> Verdict:
    """The verdict is written last: it is what makes a run finished."""
    writer.write_verdict(verdict.to_json())
    return verdict


def _carry(scenario: Scenario, network: Network, raw: Path, progress: RunProgress) -> Evidence:
    """Everything between a calibrated network and an idle one: the traffic itself."""
    clients = [host.name for host in network.shape.with_role("client")]
    addresses = {host.name: network.address(host.name) for host in network.shape.hosts}
    progress.stage("starting backends and balancer")
    with ProcessGroup(network.popen, raw) as group:
        backends = start_backends(group, scenario, network.address, BACKEND_PORT, raw)
        system = NginySystem(scenario, addresses, raw)
        balancer = system.start(group, BALANCER)
        points = _capture_points(scenario, clients)
        interfaces = {host: network.interface(host) for host in points}
        with ExitStack() as stack:
            captures = [stack.enter_context(_capture_at(host, network, raw)) for host in points]
            counters = [host_counters(network, interfaces)]
            t0_s = time.monotonic() + _LEAD_S + _LEAD_PER_CLIENT_S * len(clients)
            target = f"{network.address(BALANCER)}:{PORT}"
            network.restart_draws()
            generators = start_generators(group, scenario, clients, target, t0_s, raw)
            cpu = _watch(scenario, network, [*backends, balancer], generators, t0_s, progress)
            counters.append(host_counters(network, interfaces))
        counters.append(host_counters(network, interfaces))
        for process in (balancer, *backends):
            process.stop()
    return Evidence(
        raw=raw,
        t0_s=t0_s,
        clients=clients,
        addresses=addresses,
        balancer_records=system.records,
        captures=captures,
        counters=CounterReadings(*counters),
        cpu=cpu,
    )


def _capture_points(scenario: Scenario, clients: list[str]) -> list[str]:
    points = clients if "client" in scenario.capture else []
    return [*points, BALANCER] if "balancer" in scenario.capture else points


def _capture_at(host: str, network: Network, folder: Path) -> AbstractContextManager[Capture]:
    """Capture what `host` sends and receives; not what a switch that still learns floods to it."""
    own = f"tcp and host {network.address(host)}"
    path = folder / f"{host}.pcap"
    return capture(network.popen, host, network.interface(host), path, filter_expression=own)


def _watch(
    scenario: Scenario,
    network: Network,
    servers: list[HostProcess],
    generators: list[HostProcess],
    t0_s: float,
    progress: RunProgress,
) -> CpuShares:
    """Wait for the generators to finish, everything else staying alive; CPU use under load."""
    progress.stage("load")
    end_s = t0_s + scenario.duration_s
    deadline_s = end_s + scenario.workload.timeout_ms / 1000 + _GRACE_S

    def wait_while(condition: Callable[[], bool]) -> None:
        while condition():
            network.check_alive()
            if not all(server.running() for server in servers):
                raise ProcessFailed("a backend or the balancer ended while load was on")
            progress.load(time.monotonic() - t0_s, scenario.duration_s)
            time.sleep(_POLL_S)

    def sending() -> bool:
        if time.monotonic() > deadline_s:
            raise ProcessFailed("the load generators did not finish in time")
        states = [generator.running() for generator in generators]  # all: each may have failed
        return any(states)

    wait_while(lambda: time.monotonic() < t0_s)
    meter = CpuMeter()
    wait_while(lambda: time.monotonic() < end_s and sending())
    shares = meter.read()
    progress.stage("waiting for the last answers")
    wait_while(sending)
    return shares
