"""What a run stood on, read before it: code, versions, machine, kernel settings. Never fails.

A fact that cannot be read on this machine is null: a result without it is worth keeping, and the
manifest says that it is not known.
"""

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from experiments.plan.scenario import digest

ROOT = Path(__file__).resolve().parents[2]

_CLOCKSOURCE = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
_SMT = Path("/sys/devices/system/cpu/smt/active")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_TCP_SYSCTLS = Path("/proc/sys/net/ipv4")
_COMMAND_TIMEOUT_S = 10.0

_TOOLS = {
    "iproute2": ("ip", "-V"),
    "iptables": ("iptables", "--version"),
    "tcpdump": ("tcpdump", "--version"),
    "ethtool": ("ethtool", "--version"),
    "iperf3": ("iperf3", "--version"),
}


def manifest(
    scenario: Mapping[str, Any],
    network: Mapping[str, Any],
    *,
    argv: Sequence[str] = tuple(sys.argv),
) -> dict[str, Any]:
    """The content of manifest.json.

    `scenario` is the resolved one, of JSON types, with its `seed`; its hash is that of its
    canonical JSON (`digest`). `network` is what `Network.facts` read inside
    the namespaces. Adds when, by which command, on what code and which machine.
    """
    return {
        "started_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        # Without the checkout's own place: it is no part of what was run.
        "argv": [word.removeprefix(f"{ROOT}/") for word in argv],
        "scenario": dict(scenario),
        "scenario_sha256": digest(scenario),
        "seeds": {"scenario": scenario["seed"]},
        "network": dict(network),
        "git": git_state(ROOT),
        "versions": versions(),
        "machine": machine(),
        "tcp_sysctls": tcp_sysctls(),
    }


def git_state(root: Path) -> dict[str, Any]:
    """`commit` (40 hex digits), `dirty`, and the `diff` that leads from the one to what ran; all
    null outside a git checkout."""
    # Under sudo the checkout is somebody else's, which git would refuse to read.
    git = ("git", "-c", f"safe.directory={root}", "-C", str(root))
    commit = _output(*git, "rev-parse", "HEAD")
    diff = None if commit is None else _output(*git, "diff", "--binary", "HEAD")
    return {"commit": commit, "dirty": None if diff is None else bool(diff), "diff": diff}


def versions() -> dict[str, Any]:
    """Kernel, Python, every installed Python package, and the tools that build and watch."""
    packages = {
        found.metadata["Name"]: found.version for found in importlib.metadata.distributions()
    }
    return {
        "kernel": f"{platform.release()} {platform.version()}",
        "python": platform.python_version(),
        "packages": dict(sorted(packages.items())),
        "tools": {name: _first_line(*command) for name, command in _TOOLS.items()},
    }


def machine() -> dict[str, Any]:
    """CPU, memory and what runs below: facts that decide what a latency is worth."""
    return {
        "cpu_model": _field(_read(Path("/proc/cpuinfo")), "model name"),
        "cpu_flags": _field(_read(Path("/proc/cpuinfo")), "flags"),
        "cpu_count": psutil.cpu_count(),
        "smt_active": _read(_SMT),
        "cpu_governor": _read(_GOVERNOR),
        "memory_bytes": psutil.virtual_memory().total,
        "clocksource": _read(_CLOCKSOURCE),
        "timer_hz": _timer_hz(),
        "cgroup_version": _cgroup_version(),
        "virtualisation": virtualisation(),
        "load_average_1min": os.getloadavg()[0],
    }


def virtualisation() -> str | None:
    """Name of the hypervisor or container where one can be told, else None."""
    if named := _output("systemd-detect-virt"):
        return named
    if vendor := _read(Path("/sys/class/dmi/id/sys_vendor")):
        return vendor
    has_flag = " hypervisor" in (_field(_read(Path("/proc/cpuinfo")), "flags") or "")
    return "hypervisor, not named" if has_flag else None


def tcp_sysctls() -> dict[str, str]:
    """Every `net.ipv4.tcp_*` of the machine; what is set inside the hosts is in `network`."""
    values = {path.name: _read(path) for path in sorted(_TCP_SYSCTLS.glob("tcp_*"))}
    return {name: value for name, value in values.items() if value is not None}


def _timer_hz() -> int | None:
    """CONFIG_HZ where the kernel's configuration is on the machine."""
    text = _read(Path(f"/boot/config-{platform.release()}"))
    if text is None:
        text = _output("zcat", "/proc/config.gz")
    for line in (text or "").splitlines():
        if line.startswith("CONFIG_HZ="):
            return int(line.removeprefix("CONFIG_HZ="))
    return None


def _cgroup_version() -> int | None:
    mounts = {item.split()[2] for item in (_read(Path("/proc/mounts")) or "").splitlines()}
    if "cgroup" in mounts:
        return 1
    return 2 if "cgroup2" in mounts else None


def _first_line(*command: str) -> str | None:
    text = _output(*command)
    return text.splitlines()[0] if text else None


def _output(*command: str) -> str | None:
    """What the command says (tools disagree on where a version goes); None if it cannot."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or done.stderr.strip()


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def _field(text: str | None, name: str) -> str | None:
    """Value of the first `name : value` line."""
    for line in (text or "").splitlines():
        key, separator, value = line.partition(":")
        if separator and key.strip() == name:
            return value.strip()
    return None
