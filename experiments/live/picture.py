"""`python -m experiments.live.picture`: the page at one moment of its runs, as a PNG."""

import argparse
import re
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

WIDTH_PX, HEIGHT_PX = 1400, 1500
"""Two runs stand beside each other from some width on."""
MOST_MS = 60_000
SPEED = 20


def take(url: str, at_s: float, into: Path, browser: str) -> None:
    """The picture of the page at `url`, which has to be at its beginning, running.

    The clock stands at the moment, and every frame until then is drawn: the runs are played to
    their end first, so that all frames are made, and then sought back.
    """
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": WIDTH_PX, "height": HEIGHT_PX})
        page.goto(url)
        expect(page.locator("#mode")).to_contain_text("at its end", timeout=MOST_MS)
        _command(page, {"seek_s": at_s, "paused": True})
        _settle(page)
        into.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=into)
        chromium.close()


def _command(page: Page, asked: dict[str, object]) -> None:
    page.evaluate(
        """async (asked) => {
            const headers = { "content-type": "application/json", "x-nginy": "page" };
            const body = JSON.stringify(asked);
            const answer = await fetch("/clock", { method: "POST", headers, body });
            if (!answer.ok) throw new Error(await answer.text());
        }""",
        asked,
    )


def _settle(page: Page) -> None:
    """Until the page says that it is paused, and two messages after that have been drawn."""
    expect(page.locator("#mode")).to_contain_text("PAUSED", timeout=MOST_MS)
    page.evaluate(
        """async () => {
            const source = new EventSource("/events");
            await new Promise((resolve) => {
                let left = 3;
                source.onmessage = () => --left || resolve();
            });
            source.close();
        }"""
    )


def main() -> None:
    """Serve the runs, take the picture, end the server."""
    parser = argparse.ArgumentParser(prog="python -m experiments.live.picture")
    parser.add_argument("picture", type=Path)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--at-s", type=float, required=True)
    parser.add_argument("--browser", required=True)
    asked = parser.parse_args()
    command = [sys.executable, "-m", "experiments.live", *asked.runs]
    options = ["--port", "0", "--speed", str(SPEED)]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"http://\S+", server.stdout.readline())
            if found is None:
                sys.exit("error: the page's server did not start")
            take(found[0], asked.at_s, asked.picture, asked.browser)
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
