"""What a run made on this machine, written down as it is made, so that a killed run can be undone.

A network is made of namespaces that exist as long as a process lives in them; interfaces, bridges
and firewall rules are created inside and die with them. So the record lists processes (pid and
start time) and namespaces (inode), and each namespace carries the run's id in the kernel, as the
alias of its loopback: an inode number may be reused, the alias with it may not.
"""

import fcntl
import json
import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from topologies.errors import NetworkError
from topologies.machine.namespaces import execute, members, namespace_inode, start_ticks

STATE_DIR = Path("/run/nginy")
_GONE_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Process:
    """One process of a run; `what` says which."""

    pid: int
    started_ticks: int
    what: str

    @property
    def alive(self) -> bool:
        """Whether that very process (not another with its pid) still runs."""
        return start_ticks(self.pid) == self.started_ticks


def this_process(pid: int, what: str) -> Process:
    """The process running as `pid` now; NetworkError if it is gone already."""
    ticks = start_ticks(pid)
    if ticks is None:
        raise NetworkError(f"{what} (pid {pid}) died at once")
    return Process(pid, ticks, what)


@dataclass(slots=True)
class Record:
    """The record of one run, rewritten on disk at every addition. Safe to use from threads."""

    run_id: str
    owner: Process
    processes: list[Process] = field(default_factory=list)
    namespaces: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @classmethod
    def open(cls) -> "Record":
        """A new record, owned by this process, on disk before anything is made."""
        record = cls(secrets.token_hex(4), this_process(os.getpid(), "owner"))
        record._write()
        return record

    @property
    def path(self) -> Path:
        """Where the record is kept."""
        return STATE_DIR / f"{self.run_id}.json"

    def add_process(self, pid: int, what: str) -> None:
        """Write down a process; one that has already ended needs no record."""
        ticks = start_ticks(pid)
        if ticks is None:
            return
        with self._lock:
            self.processes = [process for process in self.processes if process.alive]
            self.processes.append(Process(pid, ticks, what))
            self._write()

    def add_namespace(self, node: str, pid: int) -> None:
        """Write down the namespace that `pid` holds, and mark it with the run's id."""
        inode = namespace_inode(pid)
        if inode is None or inode == namespace_inode():
            raise NetworkError(f"{node} has no network namespace of its own")
        execute(pid, ["ip", "link", "set", "lo", "alias", self._mark])
        with self._lock:
            self.namespaces[node] = inode
            self._write()

    def survivors(self) -> list[int]:
        """Pids of the run that still live: those listed, and all others in its namespaces."""
        pids = {process.pid for process in self.processes if process.alive}
        living = members()
        for inode in set(self.namespaces.values()) & living.keys():
            if self._is_ours(living[inode]):
                pids.update(living[inode])
        return sorted(pids)

    def _is_ours(self, pids: list[int]) -> bool:
        """Whether the namespace that `pids` share carries this run's mark."""
        for pid in pids:
            # A process that ends in between says nothing; the next one will.
            with suppress(NetworkError):
                shown = json.loads(execute(pid, ["ip", "-j", "link", "show", "lo"]))
                return bool(shown[0].get("ifalias") == self._mark)
        return False

    @property
    def _mark(self) -> str:
        return f"nginy:{self.run_id}"

    def close(self) -> None:
        """Forget the record: everything it lists is gone."""
        self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        STATE_DIR.mkdir(parents=True, exist_ok=True)
        text = json.dumps(
            {
                "schema_version": 1,
                "owner": asdict(self.owner),
                "processes": [asdict(process) for process in self.processes],
                "namespaces": self.namespaces,
            }
        )
        temporary = self.path.with_suffix(".new")
        temporary.write_text(text)
        temporary.replace(self.path)


def kill(pids: list[int], *, within_s: float = _GONE_WITHIN_S) -> None:
    """SIGKILL every one of `pids` and wait until all are gone; NetworkError if some are not."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    deadline = time.monotonic() + within_s
    while left := [pid for pid in pids if start_ticks(pid) is not None]:
        if time.monotonic() > deadline:
            raise NetworkError(f"processes survive SIGKILL: {left}")
        time.sleep(0.005)


def leftovers() -> list[Record]:
    """Records of runs whose owner is dead, oldest first."""
    return [record for record in _records() if not record.owner.alive]


def remove_leftovers() -> list[Record]:
    """Undo every run whose owner is dead: kill what it left (verified), drop its record."""
    with machine_lock():
        dead = leftovers()
        for record in dead:
            kill(record.survivors())
            record.close()
    return dead


@contextmanager
def machine_lock() -> Iterator[None]:
    """Held by one run at a time, for steps that touch the machine and not only the run's own."""
    STATE_DIR.mkdir(parents=True, exist_ok=True)
    with (STATE_DIR / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _records() -> Iterator[Record]:
    for path in sorted(STATE_DIR.glob("*.json"), key=lambda path: path.name):
        try:
            raw = json.loads(path.read_text())
        except FileNotFoundError:
            continue
        yield Record(
            path.stem,
            Process(**raw["owner"]),
            [Process(**process) for process in raw["processes"]],
            raw["namespaces"],
        )
