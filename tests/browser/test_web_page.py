"""The page of `nginy web` in a real browser, of a real balancer: what is written on it, a balancer
that goes and comes back, a server that goes, and names that look like markup."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

PATIENCE_S = 20
HOSTILE = "<img src=x onerror=alert(1)>\"&'"

pytestmark = pytest.mark.slow
api = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra `browser`)")


@pytest.fixture
def own() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def started(own: ExitStack, *arguments: str) -> subprocess.Popen[str]:
    process = own.enter_context(
        subprocess.Popen(
            [sys.executable, "-u", "-m", "nginy", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
    )  # fmt: skip
    own.callback(process.kill)
    return process


def said(stream: Any, what: str) -> str:
    for line in iter(stream.readline, ""):
        if found := re.search(what, line):
            return str(found[0])
    raise AssertionError(f"ended without {what}")


def backend(own: ExitStack) -> str:
    """Accepts and answers a byte, until the end; its address."""
    listener = own.enter_context(socket.create_server(("127.0.0.1", 0)))
    own.callback(listener.shutdown, socket.SHUT_RDWR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                with listener.accept()[0] as sock:
                    sock.settimeout(PATIENCE_S)
                    sock.recv(1)
                    sock.sendall(b"y")

    threading.Thread(target=accept, daemon=True).start()
    return "{}:{}".format(*listener.getsockname())


class Balancer:
    """A process with two backends, one of them hostile in its name and down, and its page."""

    def __init__(self, own: ExitStack, folder: Path) -> None:
        self._own = own
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.socket = Path(f"/tmp/nginy-page-{self.port}.sock")
        self._path = folder / "nginy.yaml"
        backends = [
            {"id": "b1", "address": backend(own)},
            {"id": HOSTILE, "address": "127.0.0.1:1"},
        ]
        rule = {"name": "web", "clients": [f"0.0.0.0/0:{self.port}"], "targets": ["b1", HOSTILE]}
        check = {"type": "tcp", "interval_s": 0.2, "fall": 1}
        document = {"backends": backends, "rules": [rule], "bind_addresses": ["127.0.0.1"]}
        document |= {"status_socket": str(self.socket), "health_check": check}
        self._path.write_text(json.dumps(document))
        self.run()

    def run(self) -> None:
        self.process = started(self._own, "run", "-c", str(self._path))
        said(self.process.stderr, "nginy ready")

    def page(self) -> tuple[subprocess.Popen[str], str]:
        options = ("--port", "0", "--interval", "0.25")
        web = started(self._own, "web", "-c", str(self._path), *options)
        return web, said(web.stdout, r"http://\S+")

    def visit(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"y"


def test_it_shows_what_is_and_follows_what_becomes_of_it(
    opened: Callable[[str], Any], own: ExitStack, tmp_path: Path
) -> None:
    balancer = Balancer(own, tmp_path)
    web, url = balancer.page()
    page = opened(url)
    mode, rows = page.locator("#mode"), page.locator("tbody tr")
    state = rows.nth(1).locator('[data-column="state"]')
    api.expect(mode).to_have_text("LIVE")
    api.expect(rows).to_have_count(2)
    api.expect(state).to_have_text("✕ unhealthy")
    api.expect(rows.nth(1).locator("td").first).to_have_text(HOSTILE)
    assert page.locator("img").count() == 0
    api.expect(page.locator("h2")).to_contain_text("web (tcp, 0.0.0.0/0:")

    rate = rows.first.locator('[data-column="new/s"]')
    deadline_s = time.monotonic() + PATIENCE_S
    while re.fullmatch("0|–", rate.text_content() or "–"):
        assert time.monotonic() < deadline_s
        balancer.visit()
        page.wait_for_timeout(50)
    api.expect(rows.first.locator('[data-column="got"]')).to_have_text("100.0 %")
    assert len(rows.first.locator("polyline").get_attribute("points").split()) > 1

    balancer.process.kill()
    problem = page.locator("#problem")
    api.expect(mode).to_have_text("NO ANSWER")
    api.expect(problem).to_contain_text(f"no process answers at {balancer.socket}; start it")
    api.expect(problem).to_contain_text("last frame")
    api.expect(rows).to_have_count(2)
    balancer.run()
    api.expect(mode).to_have_text("LIVE")
    api.expect(problem).to_be_hidden()

    web.send_signal(signal.SIGINT)
    assert web.wait(PATIENCE_S) == 0
    api.expect(page.locator("#veil")).to_be_visible(timeout=10_000)
    balancer.process.send_signal(signal.SIGINT)
    assert balancer.process.wait(PATIENCE_S) == 0
