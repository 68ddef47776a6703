"""Processes and the network namespaces they live in: the one place that reads /proc for it."""

import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from topologies.errors import NetworkError

_CARRIER_WITHIN_S = 5.0


def start_ticks(pid: int) -> int | None:
    """When `pid` was started (clock ticks since boot), or None if it is gone or a zombie.

    A pid alone may be reused; pid and start time together name one process (proc(5), field 22).
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[19])


def namespace_inode(pid: int | str = "self") -> int | None:
    """The inode that names the network namespace of `pid`; None if the process is gone, or is
    one that even root may not look into (a container's first process), and so none of ours."""
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def members() -> dict[int, list[int]]:
    """Every network namespace that has processes: inode to pids."""
    found: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (inode := namespace_inode(entry)) is not None:
            found.setdefault(inode, []).append(int(entry))
    return found


def inside(pid: int, argv: Sequence[str]) -> list[str]:
    """The command that runs `argv` in the namespaces of `pid`, in a session of its own.

    The session keeps the terminal's Ctrl-C for the owner of the network, who then tears down
    in order. mnexec replaces itself by `argv`, so the pid started is the pid that runs.
    """
    return ["mnexec", "-da", str(pid), *argv]


def execute(pid: int, argv: Sequence[str], *, text: str = "", timeout_s: float = 20) -> str:
    """Run `argv` in the namespaces of `pid` with `text` on its input; its output.

    Raises NetworkError with the command's own words if it fails.
    """
    done = subprocess.run(
        inside(pid, argv), input=text, capture_output=True, text=True, timeout=timeout_s
    )
    if done.returncode != 0:
        said = done.stderr.strip() or done.stdout.strip()
        raise NetworkError(f"{' '.join(argv)}: exit code {done.returncode}: {said}")
    return done.stdout


def await_carrier(pid: int) -> None:
    """Wait until every interface is up: the kernel reports new carriers once a second only
    (net/core/link_watch.c), and a bridge port without carrier forwards nothing."""
    deadline = time.monotonic() + _CARRIER_WITHIN_S
    while down := [
        link["ifname"]
        for link in json.loads(execute(pid, ["ip", "-j", "link", "show"]))
        if "UP" in link["flags"] and link["operstate"] not in ("UP", "UNKNOWN")
    ]:
        if time.monotonic() > deadline:
            raise NetworkError(f"no carrier after {_CARRIER_WITHIN_S:g} s: {', '.join(down)}")
        time.sleep(0.02)
