"""Three network namespaces in a row: client - balancer - backend, joined by veth pairs.

Their names hold the process id: the context manager removes exactly what it made, and the next one
knows what a killed process could not remove.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

BALANCER_ADDRESS = "10.11.1.2"
"""Towards the client."""
BACKEND_ADDRESS = "10.11.2.2"

TOOLS = {
    "ip": "iproute2",
    "nginx": "nginx and libnginx-mod-stream",
    "wrk": "wrk",
}
STOP_TIMEOUT_S = 5.0
_NAME = re.compile(r"nginy-bench-(?P<pid>\d+)-(client|balancer|backend)")


class LabError(Exception):
    """The lab cannot be built, or a program in it failed."""


class Lab:
    """The namespaces, and the programs running in them."""

    def __init__(self, log_dir: Path) -> None:
        """Programs write their output to `log_dir`."""
        self._log_dir = log_dir
        self._names: dict[str, str] = {}
        self._programs: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        """Remove what killed benchmarks left, and build. Raises LabError, leaving nothing."""
        remove_leftovers()
        try:
            for role in ("client", "balancer", "backend"):
                name = f"nginy-bench-{os.getpid()}-{role}"
                _ip("netns", "add", name)
                self._names[role] = name
                self._tune(role)
            self._join("client", "10.11.1.1", "balancer", BALANCER_ADDRESS)
            self._join("balancer", "10.11.2.1", "backend", BACKEND_ADDRESS)
            self.run("client", ["ip", "route", "add", "default", "via", BALANCER_ADDRESS])
            self.run("backend", ["ip", "route", "add", "default", "via", "10.11.2.1"])
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the programs, remove the namespaces."""
        self._remove()

    def start(self, role: str, name: str, argv: Sequence[str]) -> None:
        """Start a program that stays; its output goes to `<name>.log`."""
        with (self._log_dir / f"{name}.log").open("wb") as output:
            program = subprocess.Popen(
                [*self._inside(role), *argv], stdout=output, stderr=subprocess.STDOUT
            )
        self._programs[name] = program

    def run(self, role: str, argv: Sequence[str], timeout_s: float = 60.0) -> str:
        """Standard output of a program. Raises LabError if it fails or takes too long."""
        try:
            done = subprocess.run(
                [*self._inside(role), *argv], capture_output=True, text=True, timeout=timeout_s
            )
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{argv[0]} took more than {timeout_s:g} s") from error
        if done.returncode:
            said = done.stderr.strip() or done.stdout.strip()
            raise LabError("\n".join([f"{' '.join(argv)}: {said}", *self._last_words()]))
        return done.stdout

    def _last_words(self) -> list[str]:
        """What programs that should still run said before they ended."""
        return [
            f"{name} exited with {program.returncode}: "
            + (self._log_dir / f"{name}.log").read_text(errors="replace").strip()
            for name, program in self._programs.items()
            if program.poll() is not None
        ]

    def congestion_control(self) -> str:
        """As in force inside the namespaces."""
        read = {
            self.run(role, ["cat", "/proc/sys/net/ipv4/tcp_congestion_control"]).strip()
            for role in self._names
        }
        return ", ".join(sorted(read))

    def _inside(self, role: str) -> list[str]:
        return ["ip", "netns", "exec", self._names[role]]

    def _tune(self, role: str) -> None:
        self.run(role, ["ip", "link", "set", "lo", "up"])
        for setting in ("ip_forward=1", "ip_local_port_range=10000 65535"):
            self.run(role, ["sysctl", "-qw", f"net.ipv4.{setting}"])

    def _join(self, left: str, left_address: str, right: str, right_address: str) -> None:
        # Named after the other end, so the middle namespace has two different names.
        _ip("link", "add", right, "netns", self._names[left],
            "type", "veth", "peer", "name", left, "netns", self._names[right])  # fmt: skip
        ends = ((left, right, left_address), (right, left, right_address))
        for role, interface, address in ends:
            self.run(role, ["ip", "address", "add", f"{address}/24", "dev", interface])
            self.run(role, ["ip", "link", "set", interface, "up"])

    def _remove(self) -> None:
        for program in self._programs.values():
            program.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for program in self._programs.values():
            try:
                program.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()
        self._programs.clear()
        for name in self._names.values():
            _ip("netns", "delete", name)
        self._names.clear()


def remove_leftovers() -> None:
    """Remove the namespaces of benchmarks whose process is gone, and end what runs in them."""
    for line in _ip("netns", "list").splitlines():
        name = line.split()[0]
        owner = _NAME.fullmatch(name)
        if owner is None or Path(f"/proc/{owner['pid']}").exists():
            continue
        for pid in _ip("netns", "pids", name).split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        _ip("netns", "delete", name)


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
