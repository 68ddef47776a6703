"""Debian's Chromium, driven by playwright. Whatever a page asks of another host than its own, and
whatever its console complains of, fails the test."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra `browser`)")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[[str], Any]]:
    """Opens a page; at the end there was no complaint, no dialog and no foreign request."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    home: list[str] = []

    def open_(url: str) -> Any:
        home.append(url)
        page.goto(url)
        return page

    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    page.on("console", lambda message: complaints.append(message.text))
    yield open_
    context.close()
    assert [url for url in asked if not url.startswith((home[0], "data:"))] == []
    # That a server is gone is said by the browser itself.
    assert [text for text in complaints if "net::ERR_" not in text] == []
