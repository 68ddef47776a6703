"""`nginy web`, asked over HTTP, of a balancer that runs."""

import json
import re
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from tests.scenario.proxy.commands import TIMEOUT_S, without

pytest.importorskip("uvicorn", reason="needs the extra `view`")

Process = subprocess.Popen[bytes]
Start = Callable[..., tuple[Process, Path]]
Write = Callable[..., tuple[Path, int]]


class Page:
    """A process of `nginy web`."""

    def __init__(self, own: ExitStack, *arguments: str, lacks: str = "") -> None:
        """`lacks`: a library that is not installed."""
        self.process = own.enter_context(
            subprocess.Popen(
                without(lacks, "web", *arguments),
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
        own.callback(self.process.kill)

    def url(self) -> str:
        assert self.process.stdout is not None
        found = re.search(r"http://\S+", self.process.stdout.readline())
        assert found is not None
        return found[0]

    def stopped(self) -> str:
        """What it said of errors."""
        self.process.send_signal(signal.SIGINT)
        return self.ended(0)

    def ended(self, code: int) -> str:
        assert self.process.stderr is not None
        said = self.process.stderr.read()
        assert self.process.wait(TIMEOUT_S) == code, said
        return said


def get(url: str, **headers: str) -> tuple[int, bytes]:
    asked = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(asked, timeout=TIMEOUT_S) as answer:
            return answer.status, answer.read()
    except HTTPError as refused:
        with refused:
            return refused.code, refused.read()


def test_what_the_balancer_did_is_in_the_frame_and_the_stream(
    peer: Callable[..., Any], write_config: Write, start: Start, own: ExitStack, short: Path,
    wait_until: Callable[..., None],
) -> None:  # fmt: skip
    backend = peer()
    path, port = write_config(backend.address, status_socket=str(short / "s"))
    start(path)
    page = Page(own, "-c", str(path), "--port", "0", "--interval", "0.1")
    url = page.url()

    def backend_now() -> dict[str, Any]:
        (rule,) = json.loads(get(url + "frame")[1])["rules"]
        (one,) = rule["backends"]
        found: dict[str, Any] = one
        return found

    with socket.create_connection(("127.0.0.1", port)) as client, backend.accept():
        client.sendall(b"x" * 1000)
        wait_until(lambda: backend_now()["open"] == 1, "the connection in the frame")
        wait_until(lambda: bool(backend_now()["rates"]["up_bytes_per_s"]), "its bytes")
        one = backend_now()
        assert (one["id"], one["state"], one["picked"], one["got_pct"]) == ("b1", "usable", 1, 100)
        with urllib.request.urlopen(url + "events", timeout=TIMEOUT_S) as stream:
            message = json.loads(stream.readline().removeprefix(b"data: "))
        (rule,) = message["picture"]["rules"]
        (row,) = rule["rows"]
        assert (row["cells"]["open"], row["cells"]["state"]) == ("1", "● usable")
    assert get(url + "frame", Host="evil.example") == (403, b"unknown host")
    assert page.stopped() == ""


def test_an_address_that_others_reach_has_a_token_in_its_url(
    write_config: Write, start: Start, own: ExitStack, short: Path
) -> None:
    path, _ = write_config("127.0.0.1:1", status_socket=str(short / "s"))
    start(path)
    page = Page(own, "-c", str(path), "--port", "0", "--listen", "0.0.0.0")
    found = re.fullmatch(r"http://0\.0\.0\.0:(\d+)/\?token=(\S+)", page.url())
    assert found is not None
    port, token = found.groups()
    url = f"http://127.0.0.1:{port}/frame"
    assert get(url)[0] == 403
    assert get(url, Cookie=f"nginy-{port}=wrong")[0] == 403
    assert get(url, Cookie=f"nginy-{port}={token}")[0] == 200
    page.stopped()


def test_it_waits_for_a_balancer_that_is_not_there_yet(
    write_config: Write, start: Start, own: ExitStack, short: Path, wait_until: Callable[..., None]
) -> None:
    at = short / "s"
    path, _ = write_config("127.0.0.1:1", status_socket=str(at))
    page = Page(own, "-c", str(path), "--port", "0", "--interval", "0.1")
    url = page.url() + "frame"
    status, problem = get(url)
    assert (status, f"no process answers at {at}" in problem.decode()) == (503, True)
    start(path)
    wait_until(lambda: get(url)[0] == 200, "a frame")
    assert f"no process answers at {at}" in page.stopped()


def test_where_it_cannot_listen_and_what_is_not_installed(own: ExitStack, short: Path) -> None:
    at = str(short / "s")
    said = Page(own, "--socket", at, "--listen", "192.0.2.1").ended(1)
    assert re.match(r"192\.0\.2\.1, ports 9901 to 9920: Cannot assign requested address", said)
    said = Page(own, "--socket", at, "--listen", "nonsense").ended(1)
    assert said.startswith("nonsense, ports 9901 to 9920: ")
    said = Page(own, "--socket", at, lacks="uvicorn").ended(1)
    assert "needs uvicorn, which is not installed: pip install '.[view]'" in said
