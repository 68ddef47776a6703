"""The balancers that are compared: one worker each, no access log, no health checks.

One contract: a peer writes its configuration for a task and gives the command that runs it in the
foreground until SIGTERM. Who has a place (a namespace, a core) starts it there.
"""

import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, Protocol

from experiments.lab.systems import haproxy, nginx

HERE = Path(__file__).parents[2]
"""This checkout."""
NGINX_NEEDS = {
    "nginx": "nginx-light",
    "/usr/lib/nginx/modules/ngx_stream_module.so": "libnginx-mod-stream",
}

TransportProtocol = Literal["tcp", "udp"]


class BenchError(Exception):
    """What is to be measured cannot be: something is missing, or does not do what it should."""


class Listener(NamedTuple):
    """A port to accept at."""

    port: int
    protocol: TransportProtocol = "tcp"
    one_answer: bool = False
    """UDP: every datagram begins a session, which ends with its answer."""


class Task(NamedTuple):
    """What a balancer is to do; `host` is the address all listeners listen at."""

    host: str
    listeners: tuple[Listener, ...]
    backend: str
    """`ADDRESS:PORT`, behind all listeners."""


class Peer(Protocol):
    """A balancer that can be measured."""

    @property
    def name(self) -> str:
        """In the report."""

    @property
    def needs(self) -> Mapping[str, str]:
        """Debian package by the command or file that it brings."""

    @property
    def protocols(self) -> frozenset[TransportProtocol]:
        """What it can carry."""

    def command(self, task: Task, directory: Path) -> list[str]:
        """The command line, after its configuration was written into `directory`."""


@dataclass(frozen=True)
class Nginx:
    """Its stream module, with defaults."""

    name: str = "nginx"
    needs: ClassVar = NGINX_NEEDS
    protocols: ClassVar[frozenset[TransportProtocol]] = frozenset({"tcp", "udp"})

    def command(self, task: Task, directory: Path) -> list[str]:
        """As the contract says."""
        servers = "\n".join(
            f"server {{ listen {task.host}:{port} {'udp' if protocol == 'udp' else 'backlog=4096'};"
            f" proxy_pass {task.backend};"
            f"{' proxy_requests 1; proxy_responses 1;' if one_answer else ''} }}"
            for port, protocol, one_answer in task.listeners
        )
        return nginx.command(self.name, f"stream {{ {servers} }}", directory)


@dataclass(frozen=True)
class HAProxy:
    """TCP only: it has no proxying of UDP in general."""

    name: str = "haproxy"
    needs: ClassVar = {"haproxy": "haproxy"}
    protocols: ClassVar[frozenset[TransportProtocol]] = frozenset({"tcp"})

    def command(self, task: Task, directory: Path) -> list[str]:
        """As the contract says."""
        path = directory / f"{self.name}.cfg"
        listeners = (
            f"listen port{port}\n    bind {task.host}:{port} backlog 4096\n"
            f"    server b1 {task.backend}\n"
            for port, _, _ in task.listeners
        )
        path.write_text(haproxy.COMMON + "".join(listeners))
        return ["haproxy", "-db", "-f", str(path)]


@dataclass(frozen=True)
class Nginy:
    """The nginy of a checkout, run by this Python."""

    name: str = "nginy"
    checkout: Path = HERE
    needs: ClassVar = {"env": "coreutils"}
    protocols: ClassVar[frozenset[TransportProtocol]] = frozenset({"tcp", "udp"})

    def command(self, task: Task, directory: Path) -> list[str]:
        """As the contract says. Only settings that earlier versions know, too."""
        path = directory / f"{self.name}.yaml"
        rules = [
            {
                "clients": [f"0.0.0.0/0:{port}"],
                "targets": ["b1"],
                "protocol": protocol,
                **({"udp": {"requests": 1, "responses": 1}} if one_answer else {}),
            }
            for port, protocol, one_answer in task.listeners
        ]
        settings = {
            "backends": [{"id": "b1", "address": task.backend}],
            "rules": rules,
            "bind_addresses": [task.host],
            "timeouts": {"drain_timeout_ms": 1},
        }
        path.write_text(json.dumps(settings))  # YAML is a superset of JSON
        # Before what is installed: an editable installation would lead to this checkout.
        place = ["env", "-C", str(self.checkout), f"PYTHONPATH={self.checkout}"]
        return [*place, sys.executable, "-m", "nginy", "run", "-c", str(path)]


def require(needs: Iterable[Mapping[str, str]]) -> None:
    """Raises BenchError naming the Debian packages that are missing."""
    missing = {
        package
        for need in needs
        for thing, package in need.items()
        if shutil.which(thing) is None and not Path(thing).exists()
    }
    if missing:
        raise BenchError(f"missing Debian packages: {', '.join(sorted(missing))}")
