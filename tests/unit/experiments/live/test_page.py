"""The page in a real browser: its numbers are the tables', keys work, and it says when it is cut
off. Skipped where there is no Chromium (Debian: apt-get install chromium)."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from experiments.analysis.summary import summarise
from tests.unit.experiments.live.reels import recorded

CHROMIUM = shutil.which("chromium")
sync_api = pytest.importorskip("playwright.sync_api", reason="make test installs it")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here"),
]
WAIT_MS = 60_000


@pytest.fixture
def server() -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Replays both shipped runs at 20 times their speed."""
    argv = [sys.executable, "-m", "experiments", "demo", "least_conn", "round_robin"]
    process = subprocess.Popen(
        [*argv, "--speed", "20", "--port", "18080"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None
        yield process, found[0]
    finally:
        process.kill()
        process.communicate()


class Visit:
    """A page, and all that it has complained of or asked of others."""

    def __init__(self, page: "sync_api.Page", url: str) -> None:
        self.page = page
        self.problems: list[str] = []
        self.foreign: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self._said)
        page.route("**/*", lambda route: self._asked(route, url))
        page.goto(url)
        self.shows("#clock", r"\d\d:\d\d\.\d / 00:40\.0")

    def _said(self, message: "sync_api.ConsoleMessage") -> None:
        if message.type in ("error", "warning"):
            self.problems.append(message.text)

    def _asked(self, route: "sync_api.Route", url: str) -> None:
        if route.request.url.startswith((url, "data:")):
            route.continue_()
        else:
            self.foreign.append(route.request.url)
            route.abort()

    def shows(self, place: str, pattern: str) -> None:
        found = self.page.locator(place).first
        sync_api.expect(found).to_have_text(re.compile(pattern), timeout=WAIT_MS)

    def colours(self, place: str) -> int:
        """How many different ones its first canvas has: one, if it is blank."""
        count = """canvas => {
            const {width, height} = canvas;
            const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
            return new Set(new Uint32Array(data.buffer)).size;
        }"""
        return int(self.page.locator(f"{place} canvas").first.evaluate(count))


@pytest.fixture
def visit(server: tuple["subprocess.Popen[str]", str]) -> Iterator[Visit]:
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield Visit(browser.new_page(viewport={"width": 1400, "height": 1000}), server[1])
        browser.close()


def test_at_its_end_it_shows_the_tables_numbers_and_has_asked_nobody_else(visit: Visit) -> None:
    visit.shows("#mode", "at its end")
    for name in ("least_conn", "round_robin"):
        run = summarise(recorded(name))
        place = f'[data-run="{name}"]'
        total = f"{place} [data-total=requests]"
        sync_api.expect(visit.page.locator(total)).to_have_text(str(run["requests"]))
        p50 = visit.page.locator(f"{place} [data-total=p50]").inner_text()
        assert float(p50.removesuffix(" ms")) == pytest.approx(run["p50_ms"], abs=0.06)
        assert visit.colours(place) > 10
        sync_api.expect(visit.page.locator(f"{place} [data-name=verdict]")).to_contain_text("valid")
    assert (visit.problems, visit.foreign) == ([], [])


def test_it_obeys_keys_and_the_mouse(visit: Visit) -> None:
    visit.page.keyboard.press("Space")
    visit.shows("#mode", "PAUSED")
    before = visit.page.locator("#clock").inner_text()
    visit.page.keyboard.press("ArrowLeft")
    sync_api.expect(visit.page.locator("#clock")).not_to_have_text(before)
    visit.page.click("#pause")
    visit.shows("#mode", r"^REPLAY($|, at)")
    visit.page.click("#theme")
    assert visit.problems == []


def test_a_veil_falls_when_the_server_is_gone(
    visit: Visit, server: tuple["subprocess.Popen[str]", str]
) -> None:
    server[0].kill()
    sync_api.expect(visit.page.locator("#veil")).to_be_visible(timeout=WAIT_MS)
    visit.shows("#veil-text", "Connection lost; last frame")
