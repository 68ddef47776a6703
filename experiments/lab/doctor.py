"""What this machine has and lacks for experiments, in plain words, and what is used instead.

Everything is found out by doing it, never by names or versions.
"""

import importlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from topologies.emulate import probe
from topologies.errors import NetworkError
from topologies.machine.record import leftovers

TOOLS = {
    "mnexec": "mininet",
    "ip": "iproute2",
    "tc": "iproute2",
    "iptables": "iptables",
    "brctl": "bridge-utils",
    "ethtool": "ethtool",
    "ifconfig": "net-tools",
    "sysctl": "procps",
    "ping": "iputils-ping",
    "tcpdump": "tcpdump",
    "iperf3": "iperf3",
}
"""Program, and the Debian or Ubuntu package that has it."""

MIN_CPUS = 2
MIN_MEMORY_MB = 1000
BUSY = 0.5

State = Literal["ok", "note", "missing"]
_MARKS = {"ok": "[green]✓[/]", "note": "[yellow]•[/]", "missing": "[red]✗[/]"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `note`: it works, but know this; `missing`: experiments cannot run."""

    subject: str
    state: State
    text: str


def report() -> list[Finding]:
    """Look at everything. Takes a fraction of a second; what needs root is left out without it."""
    root = os.geteuid() == 0
    findings = [_root(root), _mininet(), tools(shutil.which)]
    if root and findings[-1].state == "ok":
        findings += _kernel()
    cpus, memory_mb = os.cpu_count() or 1, _available_mb(Path("/proc/meminfo").read_text())
    findings += [
        processors(cpus, os.getloadavg()[0]),
        memory(memory_mb),
        congestion_control(
            _sysctl("tcp_available_congestion_control"), _default_control(), permitted=_permitted()
        ),
        *_killed_runs(),
    ]
    return findings


def show(findings: list[Finding], console: Console) -> bool:
    """Print them; True if experiments can run here."""
    for finding in findings:
        console.print(f"{_MARKS[finding.state]} [bold]{finding.subject}[/]: ", end="")
        console.print(finding.text, markup=False, highlight=False)
    ready = all(finding.state != "missing" for finding in findings)
    console.print()
    console.print("Experiments can run here." if ready else "Experiments cannot run here yet.")
    return ready


def _root(root: bool) -> Finding:
    if root:
        return Finding("root", "ok", "yes; needed to make network namespaces")
    return Finding("root", "missing", "no; virtual networks need it (sudo, or a root shell)")


def _mininet() -> Finding:
    try:
        module = importlib.import_module("mininet.net")
    except ImportError as error:
        return Finding("Mininet", "missing", f"its Python module does not load: {error}")
    return Finding("Mininet", "ok", f"{module.VERSION}")


def tools(which: Callable[[str], str | None]) -> Finding:
    """Whether every program of TOOLS is found by `which` (as shutil.which)."""
    lacking = [name for name in TOOLS if which(name) is None]
    if not lacking:
        return Finding("programs", "ok", ", ".join(TOOLS))
    packages = " ".join(sorted({TOOLS[name] for name in lacking}))
    return Finding(
        "programs", "missing", f"no {', '.join(lacking)}; install with: apt-get install {packages}"
    )


def _kernel() -> Iterator[Finding]:
    try:
        with probe.scratch_namespace():
            yield Finding("network namespaces", "ok", "one was made and entered")
    except NetworkError as error:
        yield Finding("network namespaces", "missing", str(error))
        return
    yield from links({method: probe.problem_of(method) for method in probe.METHODS})


def links(problems: dict[str, str | None]) -> list[Finding]:
    """How links get delay and loss, from what stands in the way of each method (None: nothing)."""
    netem, nfqueue = problems["netem"], problems["nfqueue"]
    if netem is None:
        return [Finding("links", "ok", "kernel netem works and is used for delay and loss")]
    lack = Finding("netem", "note", f"does not work here ({netem})")
    if nfqueue is None:
        text = (
            "nginy's own emulator (NFQUEUE) works and is used instead: delay, jitter, loss and "
            "rate mean the same, and losses repeat with the seed"
        )
        return [lack, Finding("links", "ok", text)]
    text = (
        f"no delay or loss is possible: the NFQUEUE emulator does not work either ({nfqueue}). "
        "Use a kernel with sch_netem (any distribution's own), or with NETFILTER_XT_TARGET_NFQUEUE "
        "and BRIDGE_NETFILTER"
    )
    return [lack, Finding("links", "missing", text)]


def processors(count: int, load: float) -> Finding:
    """Whether clients, balancer and backends have room: cores, and runnable programs (1 min)."""
    text = f"{count} cores, {load:.1f} busy on average during the last minute"
    if count < MIN_CPUS:
        return Finding(
            "processors", "note", f"{text}; with fewer than {MIN_CPUS} many runs will be rejected"
        )
    if load > BUSY * count:
        return Finding(
            "processors", "note", f"{text}; other programs will disturb runs, which may be rejected"
        )
    return Finding("processors", "ok", text)


def memory(available_mb: int) -> Finding:
    """Whether there is enough free memory (10^6 bytes)."""
    text = f"{available_mb} MB free"
    if available_mb < MIN_MEMORY_MB:
        return Finding("memory", "note", f"{text}; the default run wants {MIN_MEMORY_MB} MB")
    return Finding("memory", "ok", text)


def congestion_control(available: list[str], default: str, *, permitted: bool) -> Finding:
    """Whether cubic, the experiments' own default, is there and may be chosen by virtual hosts;
    whatever this machine uses itself."""
    listed = ", ".join(available)
    if "cubic" not in available:
        return Finding(
            "congestion control", "missing", f"no cubic, which experiments use (has: {listed})"
        )
    if not permitted:
        text = (
            "cubic may not be chosen here, as in a container; on the machine itself run: "
            "sysctl -w net.ipv4.tcp_allowed_congestion_control='reno cubic'"
        )
        return Finding("congestion control", "missing", text)
    text = f"cubic, set inside the virtual hosts (kernel has: {listed}; its own default: {default})"
    return Finding("congestion control", "ok", text)


def _killed_runs() -> list[Finding]:
    """What runs left that were killed."""
    dead = leftovers()
    if not dead:
        return []
    text = f"{len(dead)} killed runs left processes; the next run removes them"
    return [Finding("leftovers", "note", text)]


def _available_mb(meminfo: str) -> int:
    for line in meminfo.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024 // 1_000_000
    return 0


def _sysctl(name: str) -> list[str]:
    return Path(f"/proc/sys/net/ipv4/{name}").read_text().split()


def _permitted() -> bool:
    """Allowed already, or this is root of a machine whose list can be written."""
    listed = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
    writable = os.geteuid() != 0 or os.access(listed, os.W_OK)
    return "cubic" in listed.read_text().split() or writable


def _default_control() -> str:
    return _sysctl("tcp_congestion_control")[0]
