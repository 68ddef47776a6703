"""The page is offline and needs no build: what it loads lies here, as it was published."""

import re
from hashlib import sha256

import pytest

from experiments.live.server import STATIC

OWN = sorted(path for path in STATIC.glob("*.*"))
PUBLISHED = {  # uPlot 1.6.32 of the npm registry
    "LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}
SVG_NAMESPACE = "http://www.w3.org/2000/svg"


def test_uplot_is_the_published_one_with_its_licence() -> None:
    folder = STATIC / "vendor" / "uplot"
    found = {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    assert found == PUBLISHED


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_nothing_is_loaded_from_elsewhere_and_no_name_can_become_markup(path: object) -> None:
    text = STATIC.joinpath(str(path)).read_text().replace(SVG_NAMESPACE, "")
    assert not re.search(r"https?://|//\w+\.\w", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", text)
    assert not re.search(r"<script>|<style|\sstyle=|\son\w+=", text)
