"""The page in a real browser: what is written on it, keys, drawings, and what goes wrong.

What the browser itself notices is in `conftest.py`.
"""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.analysis.summary import summarise
from experiments.live.recorded import RECORDED
from experiments.live.reel import Reel
from experiments.plan.click import Click
from tests.browser.served import Served
from tests.unit.experiments.live.reels import golden, recorded, reel_of

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = "<img src=x onerror=alert(1)>\"&'"

pytestmark = pytest.mark.slow
api = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra `browser`)")


@pytest.fixture
def served() -> Iterator[Callable[..., Served]]:
    running: list[Served] = []

    def serve(*reels: Any, **options: Any) -> Served:
        running.append(Served(reels, **{"name": f"server{len(running)}", **options}))
        return running[-1]

    yield serve
    for each in running:
        each.stop()


def at_end(page: Any) -> None:
    api.expect(page.locator("#mode")).to_contain_text("at its end", timeout=60_000)


def total(page: Any, name: str, run: str) -> str:
    return str(page.locator(f'[data-run="{run}"] [data-total="{name}"]').text_content())


def coloured_pixels(page: Any, place: int) -> int:
    """Of a canvas: how many are neither grey nor empty."""
    return int(
        page.locator("canvas")
        .nth(place)
        .evaluate(
            """canvas => {
                const { data } = canvas.getContext("2d")
                    .getImageData(0, 0, canvas.width, canvas.height);
                let found = 0;
                for (let i = 0; i < data.length; i += 4) {
                    const [r, g, b, a] = data.slice(i, i + 4);
                    found += a > 128 && Math.max(r, g, b) - Math.min(r, g, b) > 60;
                }
                return found;
            }"""
        )
    )


def test_a_replay_ends_with_the_numbers_of_the_tables(
    opened: Callable[[str], Any], tmp_path: Path
) -> None:
    """The real command, both runs beside each other, twenty times as fast."""
    command = [sys.executable, "-m", "experiments", "demo", *RECORDED, "--speed", "20"]
    process = subprocess.Popen(
        [*command, "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None
        page = opened(found[0])
        at_end(page)
        for name in RECORDED:
            table = summarise(recorded(name))
            p99_ms = float(table["p99_ms"])
            assert total(page, "requests", name) == str(table["requests"])
            assert total(page, "answered per s", name) == f"{table['completed_rps']:.1f}"
            assert total(page, "p50", name) == f"{table['p50_ms']:.1f} ms"
            assert total(page, "p99", name) == (
                f"{p99_ms:.1f} ms" if p99_ms < 1000 else "≥ 2000 ms"
            )
            assert total(page, "Jain, at the end", name) == f"{table['jain']:.4f}"
        for place in range(page.locator("canvas").count()):
            assert coloured_pixels(page, place) > 200
        page.screenshot(path=tmp_path / "end.png", full_page=True)
    finally:
        process.terminate()
        process.wait(10)


def test_every_control_can_be_reached_and_used_by_keyboard(
    opened: Callable[[str], Any], served: Callable[..., Served]
) -> None:
    server = served(reel_of(recorded("least_conn")))
    page = opened(server.url)
    mode = page.locator("#mode")
    api.expect(page.locator('[data-backend="b2"] td').nth(1)).to_have_text("● up")
    page.keyboard.press("Space")
    api.expect(mode).to_have_text("REPLAY, PAUSED")
    stands_s = server.player.t_s
    page.wait_for_timeout(600)
    assert server.player.t_s == stands_s
    page.keyboard.press("ArrowRight")
    api.expect(page.locator("#clock")).to_contain_text(f"00:0{stands_s + 5:.1f}"[:5])
    page.keyboard.press("+")
    api.expect(page.locator("#speed")).to_have_value("2")
    page.keyboard.press("Tab")
    api.expect(page.locator("#pause")).to_be_focused()
    page.keyboard.press("Enter")
    api.expect(mode).to_have_text("REPLAY")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    api.expect(page.locator("#seek")).to_be_focused()
    page.keyboard.press("End")
    at_end(page)
    page.keyboard.press("Tab")
    before = page.evaluate("document.documentElement.dataset.theme")
    page.keyboard.press("Enter")
    assert page.evaluate("document.documentElement.dataset.theme") != before


def test_what_is_down_is_said_in_words(
    opened: Callable[[str], Any], served: Callable[..., Served]
) -> None:
    server = served(reel_of(recorded("least_conn")))
    page = opened(server.url)
    state = page.locator('[data-backend="b2"] td').nth(1)
    api.expect(state).to_have_text("● up")
    for key in ("Space", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    api.expect(state).to_have_text("✕ killed")
    api.expect(page.locator('[data-name="events"]')).to_contain_text("5.0 s kill b2")
    page.locator("#seek").evaluate(
        "seek => { seek.value = 1; seek.dispatchEvent(new Event('change')); }"
    )
    api.expect(state).to_have_text("● up")
    api.expect(page.locator('[data-name="events"] li')).to_have_count(0)


def test_a_lost_server_is_said_and_the_page_goes_on_when_it_is_back(
    opened: Callable[[str], Any], served: Callable[..., Served]
) -> None:
    first = served(reel_of(golden()), speed=20)
    page = opened(first.url)
    at_end(page)
    veil = page.locator("#veil")
    api.expect(veil).to_be_hidden()
    first.stop()
    api.expect(veil).to_be_visible(timeout=10_000)
    api.expect(veil).to_contain_text("last frame")
    served(reel_of(golden()), port=first.port)
    api.expect(veil).to_be_hidden(timeout=20_000)
    api.expect(page.locator("#mode")).to_have_text("REPLAY", timeout=5_000)


def test_a_name_is_text_whatever_it_looks_like(
    opened: Callable[[str], Any], served: Callable[..., Served]
) -> None:
    page = opened(served(reel_of(golden(), known_as=("b1", HOSTILE)), speed=20).url)
    at_end(page)
    api.expect(page.locator("tbody tr").first.locator("td").first).to_have_text(HOSTILE)
    assert page.locator("img").count() == 0


def test_a_hidden_tab_has_no_stream_and_goes_on_when_it_is_seen(
    opened: Callable[[str], Any], served: Callable[..., Served]
) -> None:
    server = served(reel_of(recorded("least_conn")))
    page = opened(server.url)
    api.expect(page.locator("#mode")).to_have_text("REPLAY")
    seen = """hidden => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    for hidden, streams in ((True, 0), (False, 1)):
        page.evaluate(seen, hidden)
        deadline_s = time.monotonic() + 10
        while server.streams != streams:
            assert time.monotonic() < deadline_s
            page.wait_for_timeout(50)
    api.expect(page.locator("#veil")).to_be_hidden()


def test_faults_of_a_run_that_is_made_are_asked_for_by_mouse_and_by_keyboard(
    opened: Callable[[str], Any], served: Callable[..., Served]
) -> None:
    stored = reel_of(recorded("least_conn"))
    live = Reel(stored.scene.model_copy(update={"live": True}))
    for line in stored.encoded[:8]:
        live.add(line)
    asked: list[Click] = []
    server = served(live, faults=asked.append)
    page = opened(server.url)

    def handed_on(count: int) -> dict[str, Any]:
        api.expect(page.locator('[data-name="asked"]')).to_contain_text("asked for: ")
        deadline_s = time.monotonic() + 10
        while len(asked) < count:
            assert time.monotonic() < deadline_s
            page.wait_for_timeout(20)
        return asked[-1].model_dump(exclude_none=True)

    api.expect(page.locator("#mode")).to_have_text("LIVE, NO EVIDENCE")
    api.expect(page.locator("#seek")).to_be_hidden()
    kill = page.get_by_role("button", name="kill b2")
    kill.click()
    assert handed_on(1) == {"action": "kill", "subject": "b2"}
    page.keyboard.press("Tab")
    api.expect(page.get_by_role("button", name="pause b2")).to_be_focused()
    page.keyboard.press("Enter")
    assert handed_on(2) == {"action": "pause", "subject": "b2"}
    page.keyboard.press("1")
    page.keyboard.press("s")
    assert handed_on(3) == {"action": "slow", "subject": "b1", "value": 0.25}
    page.locator('[data-host="c1"]').click()
    page.keyboard.press("l")
    assert handed_on(4) == {"action": "loss", "subject": "c1", "value": 20}
    page.keyboard.press("r")  # nothing was done to it
    api.expect(page.locator('[data-name="asked"]')).to_have_text("restore c1: not possible now")
    assert len(asked) == 4
    server.player.replace(live, stored)
    api.expect(page.locator("#seek")).to_be_visible()
    api.expect(kill).to_have_count(0)


def test_a_page_that_begins_anew_while_its_server_is_gone_says_so_and_goes_on(
    opened: Callable[[str], Any], served: Callable[..., Served]
) -> None:
    page = opened(served(reel_of(recorded("least_conn"))).url)
    page.route("**/scenes", lambda route: route.abort())
    page.reload()
    api.expect(page.locator("#veil")).to_contain_text("Connection lost")
    page.unroute("**/scenes")
    api.expect(page.locator("#veil")).to_be_hidden()
