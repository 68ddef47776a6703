"""A run that a page follows: a click there is done, written down, and can be repeated."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.plan.click import BY_HAND
from experiments.plan.scenario import load_scenario
from experiments.tables.dataset import Run, is_complete, load_run, load_runs
from tests.root.short_runs import run

pytestmark = pytest.mark.root
pytest.importorskip("uvicorn", reason="needs the page's web server (extra `live`)")

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 90.0


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline_s = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    return found


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Of the page of a run that is being made."""
    argv = [sys.executable, "-m", "experiments", "live", "--alg", "least_conn", "--load", "0.4"]
    own = ["--duration", "9", "--warmup", "1", "--clients", "2", "--backends", "3"]
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*argv, *own, "--port", "0", "--results", str(tmp_path / "results")],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    try:
        yield wait_for(lambda: re.search(r"open (http://\S+)", log.read_text()))[1].rstrip("/")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
    with pytest.raises(ProcessLookupError):
        wait_for(lambda: os.killpg(process.pid, 0))  # nobody of its group is left


def post(url: str, fault: dict[str, Any]) -> None:
    headers = {"origin": url, "content-type": "application/json", "x-nginy": "page"}
    body = json.dumps(fault).encode()
    request = urllib.request.Request(f"{url}/faults", data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200


def frames(url: str) -> Iterator[dict[str, Any]]:
    with urllib.request.urlopen(f"{url}/events", timeout=60) as stream:
        for line in stream:
            if line.startswith(b"data: ") and (frame := json.loads(line[6:])["runs"][0]["frame"]):
                yield frame


def clicked_run(url: str, results: Path) -> Run:
    """One backend is killed, and restored, as soon as the page shows answers."""
    for frame in frames(url):
        labels = [each["label"] for each in frame["events"]]
        if not labels and frame["unanswered_so_far"] == 0 and frame["t_s"] > 1.5:
            post(url, {"action": "kill", "subject": "b2"})
            break
    for frame in frames(url):
        if any(each["label"] == "kill b2" for each in frame["events"]):
            assert [each["name"] for each in frame["backends"] if not each["up"]] == ["b2"]
            post(url, {"action": "restore", "subject": "b2"})
            break
    found = wait_for(lambda: list(results.glob("default/*-by-hand/verdict.json")))
    assert is_complete(found[0].parent)
    return load_run(found[0].parent)


def test_a_click_is_done_and_its_run_is_no_evidence_but_can_be_repeated(
    url: str, tmp_path: Path
) -> None:
    made = clicked_run(url, tmp_path / "results")
    assert made.manifest["by_hand"]
    assert BY_HAND in made.verdict["labels"]
    assert not made.verdict["valid"]
    assert any(each.startswith("not by hand: ") for each in made.verdict["reasons"])
    assert load_runs(tmp_path / "results") == []
    assert made.faults[["action", "subject"]].to_numpy().tolist() == [
        ["kill", "b2"],
        ["restore", "b2"],
    ]
    repeated = load_scenario(made.path / "clicked.yaml")
    assert [fault.at_s for fault in repeated.faults] == made.faults["at_s"].to_list()
    again = run(repeated, tmp_path / "again")
    assert [str(fault) for fault in repeated.faults] == ["kill b2", "restore b2"]
    assert again.verdict["labels"] == []
    assert again.faults["action"].to_list() == ["kill", "restore"]
    assert again.requests["intended_s"].size == made.requests["intended_s"].size
