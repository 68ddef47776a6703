"""Figures and tables of stored runs: which files there are, and what the terminal shows."""

import io
import json
import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from experiments.analysis.summary import sweep_table
from experiments.plan.sweep import Sweep, cells
from experiments.present.draw import draw_all, draw_run, draw_sweep
from experiments.present.terminal import show_run, show_sweep
from experiments.tables.dataset import RunWriter, load_run, load_runs
from experiments.tables.schema import empty_frame, faults_frame, to_arrow
from experiments.tables.sweep import SWEEP_FILE

RUNS = Path(__file__).resolve().parents[3] / "golden" / "runs" / "golden"
ONE = "random-loss0-delay5-seed2"


@pytest.fixture
def screen() -> Console:
    return Console(file=io.StringIO(), width=120, force_terminal=False)


def printed(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def test_a_run_has_its_figures_as_png_and_svg(tmp_path: Path, screen: Console) -> None:
    shutil.copytree(RUNS / ONE, tmp_path / ONE)
    run = load_run(tmp_path / ONE)
    figures = draw_run(run)
    names = {"latency_ccdf", "backend_load", "throughput", "latency_stack"}
    assert {path.name for path in figures} == {f"{n}.{k}" for n in names for k in ("png", "svg")}
    assert all(path.stat().st_size > 0 for path in figures)
    show_run(run, figures, screen)
    text = printed(screen)
    assert "valid" in text
    assert all(f"{name}.png" in text for name in names)
    assert "2 clients, 4 backends" in text
    assert all(f"b{i}" in text for i in range(1, 5))


def test_a_run_without_any_request_shows_no_numbers_that_are_none(
    tmp_path: Path, screen: Console
) -> None:
    shutil.copytree(RUNS / ONE, tmp_path / ONE)
    table = to_arrow("requests", empty_frame("requests"))
    pq.write_table(table, tmp_path / ONE / "requests.parquet")
    show_run(load_run(tmp_path / ONE), [], screen)
    assert "0 from" in printed(screen)
    assert "nan" not in printed(screen)


def test_faults_are_shown_with_what_their_times_mean(tmp_path: Path, screen: Console) -> None:
    shutil.copytree(RUNS / ONE, tmp_path / ONE)
    requests = pd.concat([load_run(tmp_path / ONE).requests] * 10)  # enough to tell
    turns = [f"b{i % 4 + 1}" for i in range(len(requests))]
    requests = requests.sort_values("sent_s").assign(backend=turns, status="ok")
    end_s = requests["sent_s"].max()
    first = {"at_s": 0.25 * end_s, "applied_s": 0.25 * end_s, "action": "kill", "subject": "b2"}
    faults = to_arrow("faults", faults_frame([first], 0.0))
    pq.write_table(faults, tmp_path / ONE / "faults.parquet")
    gone = (requests["sent_s"] >= 0.25 * end_s) & (requests["backend"] == "b2")
    served = requests.assign(backend=requests["backend"].mask(gone, "b1"))
    pq.write_table(to_arrow("requests", served), tmp_path / ONE / "requests.parquet")
    show_run(load_run(tmp_path / ONE), [], screen)
    text = " ".join(printed(screen).split())
    assert "re-balanced after s" in text
    assert text.count("at once") == 2, "in the table, and below it what it means"


def test_an_invalid_run_shows_its_reasons_and_no_numbers(tmp_path: Path, screen: Console) -> None:
    writer = RunWriter(tmp_path / "bad")
    writer.write_manifest({"scenario": {}})
    writer.write_verdict({"valid": False, "reasons": ["links: c1-s1: 9 % [lost]"], "checks": []})
    show_run(load_run(tmp_path / "bad"), [], screen)
    assert "invalid" in printed(screen)
    assert "links: c1-s1: 9 % [lost]" in printed(screen)


def invalidated(path: Path, **verdict: object) -> Path:
    """A stored run, called invalid."""
    shutil.copytree(RUNS / ONE, path)
    content = {"schema_version": 2, "valid": False, "reasons": ["precision: late"], "checks": []}
    (path / "verdict.json").write_text(json.dumps(content | verdict))
    return path


def test_the_figures_of_an_invalid_run_say_so_across_the_picture(tmp_path: Path) -> None:
    valid, invalid = tmp_path / "valid", invalidated(tmp_path / "invalid")
    shutil.copytree(RUNS / ONE, valid)
    for path, marked in ((valid, False), (invalid, True)):
        pictures = [each for each in draw_run(load_run(path)) if each.suffix == ".svg"]
        assert len(pictures) == 4
        assert all(("NOT VALID" in each.read_text()) is marked for each in pictures)


def test_nothing_is_drawn_of_a_run_that_measured_nothing(tmp_path: Path) -> None:
    (invalidated(tmp_path / "bad") / "requests.parquet").unlink()
    assert draw_run(load_run(tmp_path / "bad")) == []


def test_invalid_runs_are_drawn_again_only_on_request(tmp_path: Path) -> None:
    invalidated(tmp_path / "bad")
    assert list(draw_all(tmp_path)) == []
    assert len(list(draw_all(tmp_path, anyway=True))) == 8


@pytest.mark.parametrize(
    ("disturbance", "advice"),
    [
        ("links late; firefox used 85 % of a core", "close other programs or lower LOAD"),
        ("links late; 12 % processor time stolen by other virtual machines", "less busy"),
        (None, "another try will not mend this"),
    ],
)
def test_an_invalid_run_says_what_disturbed_and_what_to_do(
    tmp_path: Path, screen: Console, disturbance: str | None, advice: str
) -> None:
    show_run(load_run(invalidated(tmp_path / "bad", disturbance=disturbance)), [], screen)
    text = printed(screen)
    assert disturbance is None or disturbance in text
    assert advice in text
    assert "FIGURES=anyway" in text


def test_a_valid_run_states_its_uncertainty(tmp_path: Path, screen: Console) -> None:
    stated = "latencies up to 2.1 ms (1.3 %) too high at p99, links late"
    path = invalidated(tmp_path / "good", valid=True, reasons=[], statement=stated)
    show_run(load_run(path), [], screen)
    assert f"valid; {stated} (0 checks passed)" in printed(screen)


def test_a_sweep_is_drawn_against_what_varies(tmp_path: Path, screen: Console) -> None:
    runs = load_runs(RUNS)
    table = sweep_table(runs)
    figures = draw_sweep(runs, table, tmp_path)
    values = ("jain", "throughput_mbps", "goodput_mbps", "p99_ms", "served_ms")
    factors = ("loss_pct", "delay_ms")
    names = [f"{v}_against_{f}" for v in values for f in factors]
    names += [f"{v}_differences" for v in ("p99_ms", "goodput_mbps")]
    expected = {f"{name}.{kind}" for name in names for kind in ("png", "svg")}
    assert {path.name for path in figures} == expected
    show_sweep(table, figures, screen)
    for algorithm in table["algorithm"].unique():
        assert algorithm in printed(screen)


def test_what_does_not_vary_is_not_an_axis(tmp_path: Path) -> None:
    runs = [run for run in load_runs(RUNS) if "-loss0-delay5-" in run.run_id]
    drawn = draw_sweep(runs, sweep_table(runs), tmp_path)
    assert {path.stem for path in drawn} == {
        "p99_ms_differences",
        "goodput_mbps_differences",
        "latency_stack",
    }


def test_a_sweep_without_a_valid_run_says_so(screen: Console) -> None:
    show_sweep(sweep_table([]), [], screen)
    assert "no valid run" in printed(screen)


@pytest.mark.slow
def test_a_sweep_is_drawn_again_from_its_own_copy(tmp_path: Path) -> None:
    sweep = Sweep(name="mine", algorithms=("random", "least_conn"), loss_pct=(0, 1), replicates=1)
    folder = tmp_path / sweep.name
    todo = cells(sweep, "here")
    for cell in todo:
        shutil.copytree(RUNS / ONE, folder / cell.run_id)
        manifest = json.loads((folder / cell.run_id / "manifest.json").read_text())
        manifest["scenario"] = cell.scenario.model_dump(mode="json")
        (folder / cell.run_id / "manifest.json").write_text(json.dumps(manifest))
    (folder / SWEEP_FILE).write_text(json.dumps(sweep.model_dump(mode="json")))  # JSON is YAML
    drawn = {path.relative_to(folder) for path in draw_all(tmp_path)}
    assert Path("figures/jain_against_loss_pct.png") in drawn
    assert Path(todo[0].run_id, "figures/throughput.png") in drawn


def test_all_figures_can_be_drawn_again(tmp_path: Path) -> None:
    shutil.copytree(RUNS / ONE, tmp_path / "mine" / ONE)
    first = {path: path.read_bytes() for path in draw_all(tmp_path)}
    assert len(first) == 8
    assert {path: path.read_bytes() for path in draw_all(tmp_path)} == first
