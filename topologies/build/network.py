"""A virtual network that exists for the length of a `with` block.

    with Network(star(3, 4, client_link=LinkSpec(delay_ms=20, loss_pct=1)), seed=7) as network:
        network.run("c1", ["ping", "-c1", network.address("lb")], timeout_s=5)

It removes exactly what it made, also after an exception, Ctrl-C, SIGTERM or the end of its
terminal; what a killed run could not remove, the next `Network` does (see `record`).
"""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import FrameType, TracebackType
from typing import Any, NamedTuple, Self, get_args

from topologies.machine import tuning
from topologies.errors import MachineLacks
from topologies.emulate.choose import make_links
from topologies.emulate.method import DirectionCounters, LinkMethod
from topologies.emulate.port import Port
from topologies.emulate.probe import scratch_namespace
from topologies.emulate.rate import change_rate, limit_host
from topologies.machine.namespaces import execute, inside
from topologies.machine.record import Record, kill, remove_leftovers
from topologies.shapes.routes import Edge
from topologies.shapes.shape import Link, LinkSpec, Role, Shape
from topologies.build.wiring import empty_mininet, meter_name, wire

_POLITE_S = 2.0


@dataclass(frozen=True)
class LinkChange:
    """What a direction does from a moment on (CLOCK_MONOTONIC seconds), and its counters then."""

    direction: Edge
    spec: LinkSpec
    changed_s: float
    counted: DirectionCounters


class Period(NamedTuple):
    """What a direction was to do between two changes, and its counts of that time."""

    spec: LinkSpec
    counted: DirectionCounters


class Network:
    """`shape`, built. Everything drawn at random on its links comes from `seed`.

    `link_method`: `"netem"` or `"nfqueue"`, or None to take the first that works here.
    Raises MachineLacks where this machine cannot do it, NetworkError where building failed.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        seed: int,
        congestion_control: str | Mapping[Role, str] = "cubic",
        link_method: str | None = None,
    ) -> None:
        """Only remember what to build; nothing exists before `__enter__`."""
        self.shape = shape
        self.seed = seed
        if isinstance(congestion_control, str):
            congestion_control = dict.fromkeys(get_args(Role), congestion_control)
        self._congestion_control = congestion_control
        self._wanted_method = link_method
        self._stack = contextlib.ExitStack()
        self._children: list[subprocess.Popen[Any]] = []
        self._lock = threading.Lock()
        self.ports: tuple[Port, ...] = ()
        self.changes: list[LinkChange] = []
        """In order of time, since the network was built."""
        self._net: Any = None
        self._record: Record
        self._links: LinkMethod

    def __enter__(self) -> Self:
        """Remove what killed runs left, then build; tears down again if building fails."""
        if os.geteuid() != 0:
            raise MachineLacks("virtual networks need root: run again with sudo")
        # Mininet waits for ever for the prompt of a shell that could not get its namespace.
        with scratch_namespace():
            remove_leftovers()
        self._exit_on_signals()
        try:
            self._build()
        except BaseException:
            self._tear_down()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Tear down; whatever ended the block goes on."""
        self._tear_down()

    def _build(self) -> None:
        self._record = Record.open()
        self._stack.callback(self._forget)
        self._net = empty_mininet()
        self._stack.callback(self._net.stop)
        self._stack.callback(self._stop_children)
        self.ports = tuple(wire(self._net, self.shape, self._record))
        for algorithm in sorted(set(self._congestion_control.values())):
            pids = [self.port(name).end_pid for name, asked in self.hosts.items() if asked == algorithm]
            tuning.set_congestion_control(pids, algorithm)
        for port in self.ports:
            limit_host(port)
        self._links = make_links(self.ports, self.seed, self._popen_in, self._wanted_method)
        self._stack.callback(self._links.stop)

    def popen(self, host: str, argv: Sequence[str], **kwargs: Any) -> "subprocess.Popen[Any]":
        """Start `argv` inside `host`; `kwargs` are those of subprocess.Popen.

        The process has a session of its own, and is ended with the network at the latest.
        """
        return self._popen_in(self._net[host].pid, f"{host}: {argv[0]}", argv, **kwargs)

    def run(
        self, host: str, argv: Sequence[str], timeout_s: float
    ) -> "subprocess.CompletedProcess[str]":
        """Run `argv` inside `host` to its end, output captured as text; the caller judges the exit
        code. Raises subprocess.TimeoutExpired after killing it."""
        pipe = subprocess.PIPE
        with self.popen(host, argv, stdout=pipe, stderr=pipe, text=True) as process:
            try:
                out, err = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess(list(argv), process.returncode, out, err)

    def _popen_in(
        self, pid: int, what: str, argv: Sequence[str], **kwargs: Any
    ) -> "subprocess.Popen[Any]":
        process = subprocess.Popen(inside(pid, argv), **kwargs)
        with self._lock:
            self._children = [child for child in self._children if child.poll() is None]
            self._children.append(process)
        self._record.add_process(process.pid, what)
        return process

    @property
    def hosts(self) -> Mapping[str, str]:
        """Which congestion control each host is to have."""
        return {host.name: self._congestion_control[host.role] for host in self.shape.hosts}

    def address(self, host: str) -> str:
        """The IPv4 address of a host or meter."""
        return str(self._net[host].IP())

    def interface(self, host: str) -> str:
        """The name of the host's interface, inside the host."""
        return self.port(host).end_interface

    def port(self, host: str) -> Port:
        """The link of `host` (or of a meter), as realised; KeyError where there is none."""
        for port in self.ports:
            if port.link.end == host and host not in self.shape.switches:
                return port
        raise KeyError(host)

    def meter(self, switch: str) -> str:
        """The measuring host on `switch`: idle except during calibration."""
        return meter_name(self.shape, switch)

    def ends(self, link: Link) -> tuple[str, str]:
        """The two hosts between which this link alone is measured: its own and the meter, or the
        meters at both ends of a trunk."""
        trunk = link.end in self.shape.switches
        return self.meter(link.end) if trunk else link.end, self.meter(link.switch)

    def periods(self, direction: Edge, total: DirectionCounters) -> list[Period]:
        """What a direction was to do since `restart_counters`, change by change, and did."""
        changes = [change for change in self.changes if change.direction == direction]
        specs = [self.shape.specs[direction], *(change.spec for change in changes)]
        readings = [DirectionCounters(), *(change.counted for change in changes), total]
        return [
            Period(spec, after.since(before))
            for spec, (before, after) in zip(specs, pairwise(readings), strict=True)
        ]

    @property
    def link_method(self) -> str:
        """`netem`, `nfqueue`, or `none` where no link has delay or loss."""
        return self._links.name

    @property
    def link_pids(self) -> tuple[int, ...]:
        """Processes that treat the links' packets; none where the kernel does."""
        return self._links.pids

    def link_counters(self) -> dict[str, DirectionCounters]:
        """Per direction (`c1->s1`) of every impaired link, totals since `restart_counters`."""
        return self._links.counters()

    def restart_counters(self) -> None:
        """Count from zero again: calibration ends with it, so the counters are the run's."""
        self._links.restart_counts()

    def restart_draws(self) -> None:
        """Begin the links' seeded sequences again: call it as the load begins, so that the fate of
        the load's packets depends on the seed alone."""
        self._links.restart_draws()

    def change_links(self, specs: Mapping[Edge, LinkSpec]) -> None:
        """From now on these directions do this; their links must have been `changing` in the shape,
        and their rate is changed as well. What waits keeps the time it was given."""
        counted = self.link_counters()
        for port in self.ports:
            mine = {name: specs[name] for name in port.link.directions if name in specs}
            if mine:
                self._change(port, mine)
        changed_s = time.monotonic()
        self.changes += [LinkChange(name, spec, changed_s, counted[name]) for name, spec in specs.items()]

    def _change(self, port: Port, specs: Mapping[Edge, LinkSpec]) -> None:
        """Emulator first: a rate that falls must not fill a queue that is still the old one's."""
        changed = replace(port, link=port.link.with_specs(specs))
        self._links.change(changed, specs)
        for name, spec in specs.items():
            if spec.rate_mbps != port.link.specs[name].rate_mbps:
                change_rate(changed, name)
        self.ports = tuple(changed if each is port else each for each in self.ports)

    def check_alive(self) -> None:
        """Raise LinkDead, naming the links, if they no longer do what was asked."""
        self._links.check_alive()

    def facts(self) -> dict[str, Any]:
        """What the kernel says about every end of every link, for the manifest."""
        return {
            "link_method": self.link_method,
            "seed": self.seed,
            "losses_repeatable": self._links.seeded,
            "hosts": {
                port.link.end: {"address": self.address(port.link.end), **_facts_of_host(port)}
                for port in self.ports
                if port.link.end not in self.shape.switches
            },
            "switch_ports": {
                port.link.name: _facts_of_interface(port.switch_pid, port.switch_interface)
                for port in self.ports
            },
        }

    def _exit_on_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                before = signal.signal(number, _raise_exit)
                self._stack.callback(signal.signal, number, before)

    def _tear_down(self) -> None:
        """Undo in reverse order, undisturbed by a second Ctrl-C."""
        with _signals_held():
            self._stack.close()

    def _stop_children(self) -> None:
        """SIGTERM what was started, give it two seconds, then end all that lives in the hosts."""
        for child in self._children:
            if child.poll() is None:
                child.terminate()
        for child in self._children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_POLITE_S)
        shells = {node.pid for node in self._net.values()}
        kill([pid for pid in self._record.survivors() if pid not in shells])
        for child in self._children:
            child.wait()

    def _forget(self) -> None:
        survivors = self._record.survivors()
        if survivors:
            kill(survivors)
        self._record.close()


def _raise_exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


@contextlib.contextmanager
def _signals_held() -> Any:
    wanted = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _facts_of_host(port: Port) -> dict[str, Any]:
    return {
        "congestion_control": tuning.congestion_control(port.end_pid),
        "sysctls": tuning.sysctls(port.end_pid, tuning.HOST_SETTINGS),
        **_facts_of_interface(port.end_pid, port.end_interface),
    }


def _facts_of_interface(pid: int, interface: str) -> dict[str, Any]:
    link = json.loads(execute(pid, ["ip", "-j", "link", "show", interface]))[0]
    return {
        "interface": interface,
        "mtu": link["mtu"],
        "qdiscs": json.loads(execute(pid, ["tc", "-j", "qdisc", "show", "dev", interface])),
        "offloads_on": [name for name, on in tuning.offloads(pid, interface).items() if on],
    }
