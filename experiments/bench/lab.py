"""Three network namespaces in a row: client - balancer - backend, joined by veth pairs.

Their names hold the process id: the context manager removes exactly what it made, and the next one
knows what a killed process could not remove.
"""

import os
import re
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from experiments.bench.needs import BenchError

BALANCER_ADDRESS = "10.11.1.2"
"""Towards the client."""
BACKEND_ADDRESS = "10.11.2.2"

_NAME = re.compile(r"nginy-bench-(?P<pid>\d+)-(client|balancer|backend)")


class Lab:
    """The namespaces."""

    def __init__(self) -> None:
        """Entering builds them."""
        self._names: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Remove what killed benchmarks left, and build. Raises BenchError, leaving nothing."""
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

    def __exit__(self, *_: object) -> None:
        """Remove the namespaces."""
        self._remove()

    def popen(self, role: str, argv: Sequence[str], **options: Any) -> "subprocess.Popen[Any]":
        """Start a program in the namespace of this role."""
        return subprocess.Popen([*self._inside(role), *argv], **options)

    def run(self, role: str, argv: Sequence[str], timeout_s: float = 60.0) -> str:
        """Standard output of a program. Raises BenchError if it fails or takes too long."""
        try:
            done = subprocess.run(
                [*self._inside(role), *argv], capture_output=True, text=True, timeout=timeout_s
            )
        except subprocess.TimeoutExpired as error:
            raise BenchError(f"{argv[0]} took more than {timeout_s:g} s") from error
        if done.returncode:
            raise BenchError(f"{' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

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
        raise BenchError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
