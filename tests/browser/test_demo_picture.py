"""The picture of the demo that the documents show, as `make docs-images` takes it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.image import imread

from experiments.live.recorded import RECORDED

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("chromium") is None, reason="needs Chromium (apt-get install chromium)"
    ),
]
pytest.importorskip("playwright.sync_api", reason="needs playwright (extra `browser`)")


def test_the_page_at_a_moment_is_a_picture_with_charts(tmp_path: Path) -> None:
    into = tmp_path / "demo.png"
    command = [sys.executable, "-m", "experiments", "demo-picture", str(into), *RECORDED]
    done = subprocess.run([*command, "--at-s", "29.7"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pixels = imread(into)
    assert pixels.shape[:2] == (1500, 1400)
    for half in (pixels[:, :700], pixels[:, 700:]):
        coloured = half[:, :, :3].max(axis=2) - half[:, :, :3].min(axis=2) > 0.25
        assert coloured.sum() > 3000, "lines, bars and marks of each run"


def test_a_run_that_is_not_there_is_said(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "experiments", "demo-picture", str(tmp_path / "x.png")]
    done = subprocess.run(
        [*command, "none", "--at-s", "1"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "none: neither a run's folder" in done.stderr
