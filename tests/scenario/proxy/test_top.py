"""`nginy top`, of processes that run: once, line by line, on a terminal, and when they go."""

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.scenario.proxy.commands import TIMEOUT_S, nginy, without

Process = subprocess.Popen[bytes]
Start = Callable[..., tuple[Process, Path]]
Write = Callable[..., tuple[Path, int]]

CLEAN_END = b"\x1b[?1049l"
"""Back from the terminal's second screen."""


class Terminal:
    """`nginy` on a terminal of its own, 120 by 40."""

    def __init__(self, own: ExitStack, *arguments: str, lacks: str = "") -> None:
        """`lacks`: a library that is not installed."""
        main, other = pty.openpty()
        self._main = main
        self._text = b""
        environ = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
        command = without(lacks, *arguments)
        self.process = own.enter_context(
            subprocess.Popen(
                command,
                stdin=other,
                stdout=other,
                stderr=other,
                env=environ,
                start_new_session=True,
            )
        )
        own.callback(self.process.kill)
        os.close(other)
        own.callback(os.close, main)

    def press(self, keys: bytes) -> None:
        os.write(self._main, keys)

    def until(self, what: str) -> str:
        """The text since the last call, once `what` (a pattern) is in it."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while not (found := re.search(what, self._plain(), re.DOTALL)):
            assert time.monotonic() < deadline_s, f"{what} not in {self._plain()[-3000:]}"
            self._read()
        self._text = b""
        return found[0]

    def ended(self, code: int = 0) -> bytes:
        """All that came after the last `until`."""
        while self._read():
            pass
        assert self.process.wait(TIMEOUT_S) == code
        return self._text

    def _read(self) -> bool:
        if not select.select([self._main], [], [], 0.1)[0]:
            return self.process.poll() is None
        try:
            self._text += os.read(self._main, 1 << 16)
        except OSError:  # the other end is closed
            return False
        return True

    def _plain(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self._text.decode(errors="replace"))


def test_once_counts_what_came_meanwhile(
    peer: Callable[..., Any], write_config: Write, start: Start, own: ExitStack, short: Path
) -> None:
    backend = peer()
    path, port = write_config(backend.address, status_socket=str(short / "s"))
    start(path)
    top = own.enter_context(
        subprocess.Popen(
            [
                *(sys.executable, "-m", "nginy", "top", "-c", str(path)),
                *("--once", "--json", "--interval", "3"),
            ],
            stdout=subprocess.PIPE,
        )
    )
    deadline_s = time.monotonic() + TIMEOUT_S
    while top.poll() is None:
        assert time.monotonic() < deadline_s
        with socket.create_connection(("127.0.0.1", port)) as client, backend.accept() as upstream:
            client.sendall(b"x" * 100)
            upstream.recv(100)
            upstream.sendall(b"y" * 900)
            client.recv(900)
    assert top.stdout is not None
    frame = json.loads(top.stdout.read())
    (rule,) = frame["rules"]
    (one,) = rule["backends"]
    rates = one["rates"]
    assert rates["picked"] > 5
    assert rates["picked_per_s"] == pytest.approx(rates["picked"] / rates["seconds"], rel=1e-3)
    assert rates["seconds"] >= 3
    assert rates["down_bytes_per_s"] == pytest.approx(9 * rates["up_bytes_per_s"], rel=0.3)
    assert (one["state"], one["got_pct"], rates["failed_per_s"]) == ("usable", 100, 0)


def test_on_a_terminal_it_survives_a_restart_and_leaves_by_a_key(
    peer: Callable[..., Any], write_config: Write, start: Start, own: ExitStack, short: Path
) -> None:
    at = short / "s"
    path, port = write_config(peer().address, status_socket=str(at))
    process, _ = start(path)
    with socket.create_connection(("127.0.0.1", port)):
        terminal = Terminal(own, "top", "-c", str(path), "--interval", "0.2")
        terminal.until(r"rule rules\[0\] \(tcp.*1 open.*● usable")
    process.kill()
    terminal.until(f"✕ no process answers at {at}; start it: nginy run")
    start(path)
    terminal.until(r"nginy top · q or Ctrl-C leaves.*0 open.*● usable")
    terminal.press(b"q")
    assert CLEAN_END in terminal.ended()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_the_terminal_as_it_was(
    number: signal.Signals, write_config: Write, start: Start, own: ExitStack, short: Path
) -> None:
    at = short / "s"
    path, _ = write_config("127.0.0.1:1", status_socket=str(at))
    start(path)
    terminal = Terminal(own, "top", "--socket", str(at))
    terminal.until("usable")
    terminal.process.send_signal(number)
    text = terminal.ended()
    assert CLEAN_END in text
    assert b"Traceback" not in text


def test_without_rich_it_says_what_to_install(
    write_config: Write, start: Start, own: ExitStack, short: Path
) -> None:
    at = short / "s"
    path, _ = write_config("127.0.0.1:1", status_socket=str(at))
    start(path)
    text = Terminal(own, "top", "--socket", str(at), lacks="rich.console").ended(code=1)
    assert b"needs rich, which is not installed: pip install '.[view]'" in text


def test_without_a_terminal_a_line_says_what_is_and_that_nobody_is_there(
    write_config: Write, start: Start, own: ExitStack, short: Path
) -> None:
    at = short / "s"
    path, _ = write_config("127.0.0.1:1", status_socket=str(at))
    process, _ = start(path)
    top = own.enter_context(
        subprocess.Popen(
            [sys.executable, "-u", "-m", "nginy", "top", "--socket", str(at)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
    )  # fmt: skip
    own.callback(top.kill)
    assert top.stdout is not None
    assert top.stderr is not None
    line = top.stdout.readline()
    assert re.match(r"\d\d:\d\d:\d\d  rules\[0\] 0 new/s, .*; b1 0/s; loop late p99 ", line)
    process.send_signal(signal.SIGINT)
    assert process.wait(TIMEOUT_S) == 0
    lines = iter(top.stdout.readline, "")
    assert any(f"no process answers at {at}" in each for each in lines)
    top.send_signal(signal.SIGINT)
    assert top.wait(TIMEOUT_S) == 0
    assert top.stderr.read() == ""


def test_whom_it_cannot_ask(write_config: Write, start: Start, short: Path) -> None:
    path, _ = write_config("127.0.0.1:1", status_socket=str(short / "s"))
    for arguments in (["top"], ["top", "--once"]):
        done = nginy(*arguments, "-c", str(path))
        assert done.returncode == 1
        assert f"no process answers at {short / 's'}; start it: nginy run -c {path}" in done.stderr
    assert nginy("top").returncode == 2
    assert nginy("top", "--json", "-c", str(path)).returncode == 2
    start(path)
    done = nginy("top", "-c", str(path), "--rule", "rule[0]")
    assert (done.returncode, "did you mean 'rules[0]'?" in done.stderr) == (1, True)
    path.with_suffix(".sock").write_text("")
    done = nginy("top", "--socket", str(path.with_suffix(".sock")))
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
