"""Programs inside virtual hosts: started, waited for until ready, stopped; none is left behind."""

import signal
import subprocess
import time
from collections.abc import Callable, Collection, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Self

Popen = Callable[..., "subprocess.Popen[Any]"]
"""`popen(host, argv, **options)`, as `topologies.build.network.Network.popen`."""

_POLL_S = 0.02


class ProcessFailed(Exception):
    """A program ended early, was not ready in time, or exited non-zero; the message quotes it."""


class HostProcess:
    """One program in a virtual host; all it prints goes to a log file in the run folder."""

    def __init__(
        self,
        popen: Popen,
        host: str,
        argv: Sequence[str],
        log: Path,
        *,
        commanded: bool = False,
        exit_codes: Collection[int] = (0,),
    ) -> None:
        """Start `argv` in `host`; use `ProcessGroup.start`. `commanded`: `command` will be used."""
        self.host = host
        self._exit_codes = exit_codes
        self._log = log
        with log.open("wb") as output:
            self._process = popen(
                host,
                list(argv),
                stdin=subprocess.PIPE if commanded else subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        """Of the program itself."""
        return self._process.pid

    def command(self, line: str) -> None:
        """Write a line to its standard input; ProcessFailed if it has ended."""
        try:
            self._process.stdin.write(f"{line}\n".encode())  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]
        except BrokenPipeError:
            raise ProcessFailed(f"{self} cannot be told {line!r}: it has ended") from None

    def text(self) -> str:
        """All it has printed so far."""
        return self._log.read_text(errors="replace")

    def wait_ready(self, marker: str, deadline_s: float) -> None:
        """Wait until it has printed `marker`.

        Raises:
            ProcessFailed: it ended first, or the deadline (seconds, monotonic) passed.
        """
        while marker not in self.text():
            if self._process.poll() is not None:
                raise ProcessFailed(f"{self} ended before it was ready{self._quote()}")
            if time.monotonic() > deadline_s:
                raise ProcessFailed(f"{self} was not ready in time{self._quote()}")
            time.sleep(_POLL_S)

    def wait_listening(self, port: int, deadline_s: float) -> None:
        """Wait until its namespace's kernel has a listener at this TCP port; errors as
        `wait_ready`. For programs that do not say when they are ready."""
        while not _listens(self.pid, port):
            if self._process.poll() is not None:
                raise ProcessFailed(f"{self} ended before it listened{self._quote()}")
            if time.monotonic() > deadline_s:
                raise ProcessFailed(f"{self} does not listen at port {port}{self._quote()}")
            time.sleep(_POLL_S)

    def running(self) -> bool:
        """Whether it still runs; ProcessFailed if it ended with an error."""
        code = self._process.poll()
        if code is not None and code not in self._exit_codes:
            raise ProcessFailed(f"{self} exited with {code}{self._quote()}")
        return code is None

    def stop(self, grace_s: float = 5.0) -> None:
        """Ask it to end (SIGTERM), wait, kill it after `grace_s`.

        Raises:
            ProcessFailed: it had to be killed, or ended with an error.
        """
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self.resume()
            try:
                self._process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self.kill()
                raise ProcessFailed(f"{self} ignored SIGTERM for {grace_s:g} s") from None
        self.running()

    def pause(self) -> None:
        """SIGSTOP: it stays as it is."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT; without effect if it was not paused."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once (SIGKILL); nothing happens if it has ended."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def __str__(self) -> str:
        """The log's name says which program in which host."""
        return self._log.stem

    def _quote(self) -> str:
        tail = self.text().strip().splitlines()[-5:]
        return f"; {self._log} ends with:\n  " + "\n  ".join(tail) if tail else ", saying nothing"


def _listens(pid: int, port: int) -> bool:
    """See proc(5): the local address in hex, and state 0A. False where the process is gone."""
    try:
        tables = [Path(f"/proc/{pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
    except OSError:
        return False
    sockets = (line.split() for table in tables for line in table.splitlines()[1:])
    return any(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in sockets)


class ProcessGroup:
    """The programs of one run. Leaving the context kills what `stop` has not ended."""

    def __init__(self, popen: Popen, logs: Path) -> None:
        """Programs are started by `popen`; their logs are written to the folder `logs`."""
        self._popen = popen
        self._logs = logs
        self._processes: list[HostProcess] = []

    def start(
        self,
        host: str,
        name: str,
        argv: Sequence[str],
        *,
        commanded: bool = False,
        exit_codes: Collection[int] = (0,),
    ) -> HostProcess:
        """Start `argv` in `host`; its log is `<name>-<host>.log`, or where there is one, `-1` and
        so on at its end. `exit_codes`: of a good end."""
        names = (f"{name}-{host}{f'-{number}' if number else ''}.log" for number in count())
        log = next(path for each in names if not (path := self._logs / each).exists())
        process = HostProcess(
            self._popen, host, argv, log, commanded=commanded, exit_codes=exit_codes
        )
        self._processes.append(process)
        return process

    def __enter__(self) -> Self:
        """The group itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill what still runs, last started first."""
        for process in reversed(self._processes):
            process.kill()
