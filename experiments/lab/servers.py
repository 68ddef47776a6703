"""Real servers in the backends' hosts. A further one is a class here and a line in `SERVERS`."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import orjson

from experiments.hosts.backend.listener import parse_listen_drops
from experiments.lab.backends import READY_TIMEOUT_S, Backends
from experiments.lab.ports import BACKEND_PORT, HEALTH_PORT
from experiments.lab.processes import HostProcess, ProcessGroup
from experiments.plan.faults import Fault
from experiments.plan.scenario import Scenario, ScenarioError
from experiments.tables.schema import read_lines
from experiments.wire.http import BACKEND_HEADER, CLIENT_HEADER, SEQUENCE_HEADER

_SIGTERM_ENDS = (0, -15, 128 + 15)
"""A program that does not catch the signal ends by it."""


class Place(NamedTuple):
    """Where one server works."""

    name: str
    address: str
    raw: Path
    """Its files go here."""
    files: Path
    """The folder with what clients ask for."""


class RealServer(Protocol):
    """One kind of server."""

    @property
    def exit_codes(self) -> Collection[int]:
        """Of a good end after SIGTERM."""

    def check(self) -> Mapping[str, Any]:
        """Name and version, for the manifest. Raises ScenarioError if it is not installed."""

    def argv(self, place: Place) -> list[str]:
        """What is started, once its files are written. It listens at `BACKEND_PORT`."""

    def counted(self, place: Place) -> dict[str, int]:
        """By its own log: how many requests arrived, were completed (status 200), rejected (503);
        empty where it keeps none that is known."""


_LOG = {
    "client": f"$http_{CLIENT_HEADER.lower().replace('-', '_')}",
    "seq": f"$http_{SEQUENCE_HEADER.lower().replace('-', '_')}",
    "status": "$status",
    "bytes": "$body_bytes_sent",
    "ended_s": "$msec",
    "duration_s": "$request_time",
    "connection": "$connection",
    "peer": "$remote_addr:$remote_port",
}
"""A line of nginx's log, with `backend`: wall time, milliseconds."""


class NginxServer:
    """nginx that serves files, in one process: what a signal is sent to is all there is."""

    exit_codes = (0,)

    def check(self) -> Mapping[str, Any]:
        """As it says."""
        if shutil.which("nginx") is None:
            raise ScenarioError(
                "backends.server nginx: it is not installed; `experiments/setup.sh --bench` "
                "installs it"
            )
        said = subprocess.run(["nginx", "-v"], capture_output=True, text=True).stderr
        found = re.search(r"nginx/(\S+)", said)
        return {"name": "nginx", "version": found[1] if found else said.strip()}

    def argv(self, place: Place) -> list[str]:
        """Also a port for health checks, which the log leaves out."""
        stem = place.raw / f"server-{place.name}"
        entry = json.dumps({"backend": place.name} | _LOG)
        stem.with_suffix(".conf").write_text(
            f"daemon off; master_process off; worker_rlimit_nofile 16384; pid {stem}.pid;\n"
            f"error_log {stem}.error.log; events {{ worker_connections 8000; }}\n"
            "http { default_type application/octet-stream; sendfile on; tcp_nopush on;\n"
            "keepalive_timeout 1h; keepalive_requests 1000000000;\n"
            f"log_format run escape=json '{entry}'; access_log {_log(place)} run;\n"
            f"server {{ listen {place.address}:{BACKEND_PORT} backlog=4096; root {place.files};\n"
            f"add_header {BACKEND_HEADER} {place.name} always; }}\n"
            f"server {{ listen {place.address}:{HEALTH_PORT}; access_log off; return 204; }} }}\n"
        )
        return ["nginx", "-c", f"{stem}.conf", "-p", str(place.raw)]

    def counted(self, place: Place) -> dict[str, int]:
        """From its access log."""
        statuses = [entry["status"] for entry in read_lines([_log(place)])]
        return {
            "arrived": len(statuses),
            "completed": statuses.count("200"),
            "rejected": statuses.count("503"),
        }


def _log(place: Place) -> Path:
    return place.raw / f"access-{place.name}.jsonl"


class CommandServer:
    """Whatever program the scenario names."""

    exit_codes = _SIGTERM_ENDS

    def __init__(self, argv: Collection[str]) -> None:
        """`argv` as in the scenario."""
        self._argv = argv

    def check(self) -> Mapping[str, Any]:
        """The program as named: which version it is only itself could say."""
        program, *_ = self._argv
        if (found := shutil.which(program)) is None:
            raise ScenarioError(
                f"backends.argv: there is no program {program!r} on this machine: install it, or "
                "give its whole path"
            )
        return {"name": "command", "program": found}

    def argv(self, place: Place) -> list[str]:
        """With its places filled in."""
        known = {"address": place.address, "port": BACKEND_PORT, "files": place.files}
        return [each.format(**known) for each in self._argv]

    def counted(self, place: Place) -> dict[str, int]:
        """Its log, if there is one, is not known."""
        return {}


SERVERS: Mapping[str, Callable[[Scenario], RealServer]] = {
    "nginx": lambda _: NginxServer(),
    "command": lambda scenario: CommandServer(scenario.backends.argv),
}


def server_facts(scenario: Scenario) -> Mapping[str, Any]:
    """For the manifest, under `server`; nothing of emulated ones. Raises ScenarioError."""
    if scenario.backends.server == "emulated":
        return {}
    return {"server": SERVERS[scenario.backends.server](scenario).check()}


class RealServers(Backends):
    """All of a run. In the place of what emulated backends count they leave, in a file of the same
    form, what their own logs and their hosts' kernels say."""

    def __init__(
        self, group: ProcessGroup, scenario: Scenario, address_of: Callable[[str], str], raw: Path
    ) -> None:
        """Nothing is started yet; the file that clients ask for is there."""
        super().__init__(group, scenario, address_of, raw)
        self._kind = SERVERS[scenario.backends.server](scenario)
        self._files = raw / "files"
        self._files.mkdir()
        size = round(scenario.workload.usual_response_bytes)
        (self._files / str(size)).write_bytes(bytes(size))
        self._drops: dict[str, int] = {}

    def _place(self, name: str) -> Place:
        return Place(name, self._address_of(name), self._raw, self._files)

    def _launch(self, name: str, *, standby: bool = False) -> HostProcess:
        argv = self._kind.argv(self._place(name))
        return self._group.start(name, "server", argv, exit_codes=self._kind.exit_codes)

    def _await(self, process: HostProcess) -> None:
        process.wait_listening(BACKEND_PORT, time.monotonic() + READY_TIMEOUT_S)

    def prepare(self, due: object, elapsed_s: float) -> None:
        """Nothing: a server that is to be started again is started then."""

    def apply(self, fault: Fault) -> float:
        """A signal, or another start; how long it then takes to listen is the server's own affair,
        and the balancer's to find out."""
        name, applied_s = fault.subject, time.monotonic()
        if fault.action == "kill":
            self._count_drops(name)
            self._running.pop(name).kill()
        elif fault.action == "pause":
            self.paused.add(name)
            self._running[name].pause()
        elif name in self._running:
            self._running[name].resume()
        else:
            self._running[name] = self._launch(name)
        return applied_s

    def stop(self) -> None:
        """As they end, what they counted is written."""
        for name in self._running:
            self._count_drops(name)
        super().stop()
        for path, name in self._finals():
            counts = self._kind.counted(self._place(name))
            row = {"t_s": time.monotonic(), "source": name}
            rows = [row | {"quantity": each, "value": float(counts[each])} for each in counts]
            final = {"backend": name, "final": True, "listen_drops": self._drops[name]}
            rows.append(final | counts)
            path.write_bytes(
                b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
            )
        shutil.rmtree(self._files)

    def _count_drops(self, name: str) -> None:
        """Of its host since there is one, so of all its starts."""
        netstat = Path(f"/proc/{self._running[name].pid}/net/netstat").read_text()
        self._drops[name] = parse_listen_drops(netstat)

    def _finals(self) -> Iterator[tuple[Path, str]]:
        for name in self._running:
            yield self._raw / f"samples-{name}.jsonl", name

    def samples(self) -> Iterator[Path]:
        """One per server that lived to the end."""
        yield from (path for path, _ in self._finals())


def make_backends(
    group: ProcessGroup, scenario: Scenario, address_of: Callable[[str], str], raw: Path
) -> Backends:
    """Of the scenario's kind; nothing is started yet."""
    kind = Backends if scenario.backends.server == "emulated" else RealServers
    return kind(group, scenario, address_of, raw)
