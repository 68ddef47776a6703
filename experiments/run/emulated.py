"""One scenario becomes one run folder: the experiment's way, top to bottom.

Network up, every link calibrated, backends up, balancer up, captures on, load, all down, links
checked again, tables, verdict. Whatever happens on the way, what was started is stopped and what
was made is removed.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from experiments.judge.verdict import BUSY, Verdict, no_evidence, rejected
from experiments.lab.backends import Backends
from experiments.lab.background import NOT_BACKGROUND, Background
from experiments.lab.balancers import Balancers
from experiments.lab.by_hand import CLICKED, ByHand
from experiments.lab.capture import Capture, capture
from experiments.lab.cpu_sampler import CpuSampler
from experiments.lab.faults import Faults
from experiments.lab.generators import check_generators, start_generators
from experiments.lab.host_load import HostLoad, HostMeter
from experiments.lab.kernel_counters import CounterReadings, host_counters
from experiments.lab.metadata import manifest
from experiments.lab.processes import HostProcess, ProcessFailed, ProcessGroup
from experiments.lab.servers import make_backends, server_facts
from experiments.lab.systems import SYSTEMS
from experiments.plan.scenario import Scenario, ScenarioError, write_scenario
from experiments.plan.workload.plan import plan_frame
from experiments.present.progress import RunProgress
from experiments.run.conclude import conclude
from experiments.run.evidence import Evidence
from experiments.tables.dataset import RunWriter
from topologies.build.network import Network
from topologies.errors import LinkDead
from topologies.verify.calibrate import calibrate, finish

_LEAD_S = 2.0
"""From starting the generators to the first arrival: Python and numpy must be loaded by then."""
_LEAD_PER_CLIENT_S = 0.5
_POLL_S = 0.1
MOST_HOSTS = 50
"""Clients, and as many backends: each is a process."""
_GRACE_S = 15.0
"""Beyond the last possible timeout, generators get this long to write their records."""


def run_experiment(
    scenario: Scenario, folder: Path, progress: RunProgress, by_hand: ByHand | None = None
) -> Verdict:
    """Run `scenario` into `folder` and say whether the result is valid.

    With `by_hand` it can be looked at meanwhile, and done things to; it is then no evidence,
    whatever was done. Its manifest has the scenario with what was done, and so has `clicked.yaml`.

    Raises:
        DatasetError: the folder is already that of a run.
        ScenarioError: the balancer refuses what the scenario wants of it.
        NetworkError, ProcessFailed, CaptureError: something did not start or died; the folder
            has no verdict and counts as unfinished.
    """
    check_size(scenario)
    kind = SYSTEMS[scenario.system]
    kind.check(scenario)
    check_generators(scenario)
    facts = {"system": kind.facts(), **server_facts(scenario)}
    progress.stage("building the network")
    plan = plan_frame(scenario.clients(), scenario.plans())
    shape = scenario.changing_topology()
    with Network(
        shape if by_hand is None else by_hand.prepared(scenario, shape),
        seed=scenario.seed,
        congestion_control=scenario.network.algorithms(),
    ) as network:
        writer = RunWriter(folder)
        raw = folder / "raw"
        raw.mkdir()
        asked = scenario.model_dump(mode="json")
        about = manifest(asked, network.facts()) | facts
        if by_hand is not None:
            about["by_hand"] = True
        writer.write_manifest(about)
        writer.write_table("plan", plan)
        progress.stage("calibrating every link")
        meter = HostMeter()
        calibration = calibrate(network)
        writer.write_calibration(calibration.to_json())
        if not calibration.valid:
            cause = BUSY if calibration.disturbed else ""
            early = rejected("links", calibration.reasons, cause=cause, load=meter.read())
            return _end(writer, early)
        try:
            evidence = _carry(scenario, network, folder, progress, by_hand)
        except LinkDead as dead:
            return _end(writer, rejected("links", [str(dead)]))
        calibration = finish(calibration, network, strict=scenario.strict)
        writer.write_calibration(calibration.to_json())
    progress.stage("reading captures, writing tables")
    if by_hand is None:
        return _end(writer, conclude(scenario, evidence, calibration, writer))
    done = by_hand.scenario(scenario)
    write_scenario(done, folder / CLICKED)
    writer.write_manifest(about | {"scenario": done.model_dump(mode="json")})
    count = len(done.faults) - len(scenario.faults)
    return _end(writer, no_evidence(conclude(done, evidence, calibration, writer), count))


def check_size(scenario: Scenario) -> None:
    """Raise ScenarioError for more hosts than one machine carries in real time."""
    for what, names in (("clients", scenario.clients()), ("backends", scenario.backend_ids())):
        if len(names) > MOST_HOSTS:
            raise ScenarioError(
                f"network.{what}: {len(names)}: a machine carries up to {MOST_HOSTS} in real time; "
                "make simulate has no such limit"
            )


def _end(writer: RunWriter, verdict: Verdict) -> Verdict:
    """The verdict is written last: it is what makes a run finished."""
    writer.write_verdict(verdict.to_json())
    return verdict


def _carry(
    scenario: Scenario,
    network: Network,
    folder: Path,
    progress: RunProgress,
    by_hand: ByHand | None,
) -> Evidence:
    """Everything between a calibrated network and an idle one: the traffic itself."""
    raw = folder / "raw"
    addresses = {host.name: network.address(host.name) for host in network.shape.hosts}
    progress.stage("starting backends and balancer")
    with ProcessGroup(network.popen, raw) as group:
        balancers = Balancers(group, scenario, addresses, raw)
        backends = make_backends(group, scenario, network.address, raw)
        backends.start()
        balancers.start()
        faults = Faults(scenario.faults, backends, network, balancers.restart)
        points = _capture_points(scenario)
        interfaces = {host: network.interface(host) for host in points}
        with ExitStack() as stack:
            captures = [
                stack.enter_context(_capture_at(host, network, scenario.protocol, raw))
                for host in points
            ]
            counters = [host_counters(network, interfaces)]
            t0_s = time.monotonic() + _LEAD_S + _LEAD_PER_CLIENT_S * len(scenario.clients())
            network.restart_draws()
            background = Background(
                group, scenario.background, network.address, network.hosts.__getitem__
            )
            background.start(t0_s + scenario.duration_s)
            generators = start_generators(
                *(group, scenario, folder / "plan.parquet", balancers.targets(), t0_s, raw),
                live=by_hand is not None,
            )
            servers = _Servers(network, backends, balancers, faults)
            if by_hand is not None:
                by_hand.start(raw, t0_s)
                servers.by_hand = partial(by_hand.obey, scenario, faults, raw, t0_s)
            cpu = CpuSampler(lambda: _pids(servers, generators))
            load = _watch(scenario, servers, generators, cpu, t0_s, progress)
            background.finish()
            counters.append(host_counters(network, interfaces))
            dropped = network.link_counters()
        counters.append(host_counters(network, interfaces))
        dropped_after = network.link_counters()
        balancers.stop()
        backends.stop()
        balancers.stopped()
    return Evidence(
        raw=raw,
        t0_s=t0_s,
        clients=scenario.clients(),
        balancers=scenario.balancers(),
        addresses=addresses,
        balancer_records=balancers.records,
        records_exact=balancers.records_exact,
        captures=captures,
        counters=CounterReadings(*counters),
        load=load,
        cpu_samples=cpu.samples,
        background_samples=list(background.samples()),
        backend_samples=list(backends.samples()),
        dead=backends.killed(),
        paused=backends.paused,
        faults=faults.applied,
        links=(dropped, dropped_after),
    )


def _capture_points(scenario: Scenario) -> list[str]:
    points = scenario.clients() if "client" in scenario.capture else ()
    balancers = scenario.balancers() if "balancer" in scenario.capture else ()
    return [*points, *balancers]


def _capture_at(
    host: str, network: Network, protocol: str, folder: Path
) -> AbstractContextManager[Capture]:
    """Capture what `host` sends and receives; not what a switch that still learns floods to it, nor
    background flows.

    With UDP also ICMP, so that all packets of the links are accounted for.
    """
    wanted = {"tcp": "tcp", "udp": "(udp or icmp)"}[protocol]
    own = f"{wanted} and host {network.address(host)} and {NOT_BACKGROUND}"
    path = folder / f"{host}.pcap"
    return capture(network.popen, host, network.interface(host), path, filter_expression=own)


@dataclass
class _Servers:
    """What must stay alive while load is on, but for what a fault kills."""

    network: Network
    backends: Backends
    balancers: Balancers
    faults: Faults
    by_hand: Callable[[], None] = lambda: None
    """Does what was asked for meanwhile."""

    def check_alive(self) -> None:
        """Raise LinkDead or ProcessFailed."""
        self.network.check_alive()
        if not (self.backends.all_running() and self.balancers.all_running()):
            raise ProcessFailed("a backend or the balancer ended while load was on")


def _pids(servers: _Servers, generators: list[HostProcess]) -> dict[str, int]:
    """Of all that is measured or measures, by host; `links`: the emulator."""
    links = servers.network.link_pids
    return {
        **{f"links{number or ''}": pid for number, pid in enumerate(links)},
        **servers.balancers.pids,
        **servers.backends.pids,
        **{generator.host: generator.pid for generator in generators},
    }


def _watch(
    scenario: Scenario,
    servers: _Servers,
    generators: list[HostProcess],
    cpu: CpuSampler,
    t0_s: float,
    progress: RunProgress,
) -> HostLoad:
    """Wait for the generators to finish, all servers staying alive, and apply the faults.

    Returns the machine's load meanwhile.
    """
    progress.stage("load")
    end_s = t0_s + scenario.duration_s
    # Over UDP late answers are waited for, too: as long again.
    patience_s = scenario.workload.timeout_ms / 1000 * (2 if scenario.protocol == "udp" else 1)
    deadline_s = end_s + patience_s + _GRACE_S

    def wait_while(condition: Callable[[], bool]) -> None:
        while condition():
            next_s = servers.faults.apply_due(t0_s)
            servers.by_hand()
            servers.check_alive()
            cpu.sample()
            progress.load(time.monotonic() - t0_s, scenario.duration_s)
            time.sleep(max(0.0, min(_POLL_S, next_s)))

    def sending() -> bool:
        if time.monotonic() > deadline_s:
            raise ProcessFailed("the load generators did not finish in time")
        states = [generator.running() for generator in generators]  # all: each may have failed
        return any(states)

    wait_while(lambda: time.monotonic() < t0_s)
    meter = HostMeter(next(iter(servers.balancers.pids.values()), None))
    wait_while(lambda: time.monotonic() < end_s and sending())
    load = meter.read()
    progress.stage("waiting for the last answers")
    wait_while(sending)
    return load
