"""What a notebook shows of stored runs: all of it shows itself, or says why there is nothing."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from experiments.analysis.summary import summarise
from experiments.present.lab import EXAMPLE, Lab, LabRun, NothingThere
from experiments.present.shown import Shown

GOLDEN = Path(__file__).resolve().parents[3] / "golden" / "runs"
METHODS = (
    "summary",
    "valid",
    "links",
    "latency",
    "where_time_went",
    "fairness",
    "throughput",
    "queues",
    "faults",
    "datagrams",
    "packets",
    "theory",
)


def shown(run: LabRun) -> dict[str, Shown]:
    return {name: getattr(run, name)() for name in METHODS}


@pytest.mark.parametrize("experiment", ["algorithms-simulated", "failover", "udp"])
def test_of_every_kind_of_run_everything_shows_itself(experiment: str) -> None:
    made = shown(Lab(EXAMPLE).latest(experiment))
    for name, each in made.items():
        page = each._repr_html_()
        assert "<h4>" in page, name
        assert each.note or each.figure or each.table is not None, name
        assert ("<img alt=" in page) == (each.figure is not None)
        assert not any(raw in page for raw in ("Interval(", "array(", "dtype", "<experiments")), (
            name
        )
    with_faults = made["faults"].table is not None
    assert with_faults == (experiment == "failover")
    assert (made["datagrams"].figure is not None) == (experiment == "udp")


def test_its_numbers_are_those_of_the_analysis() -> None:
    run = Lab(GOLDEN).latest()
    table = run.summary().table
    assert table is not None
    told = dict(zip(table["quantity"], table["value"], strict=True))
    assert told["p50_ms"] == float(f"{summarise(run.run)['p50_ms']:.4g}")
    parts = run.where_time_went().table
    assert parts is not None
    measured = run.run.requests
    window = measured["intended_s"].between(*run.conditions.window_s, inclusive="left")
    done = measured[window & (measured["status"] == "ok")]
    assert parts["mean_ms"].sum() == pytest.approx(done["latency_ms"].mean(), rel=0.01)


def test_without_results_it_shows_what_the_repository_ships(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    assert lab.shipped
    assert "the repository ships" in lab.runs.note
    assert set(lab.experiments) == {"algorithms-simulated", "failover", "udp"}


def test_one_run_is_enough(tmp_path: Path) -> None:
    name = "random-loss0-delay5-seed2"
    shutil.copytree(GOLDEN / "golden" / name, tmp_path / "mine" / name)
    lab = Lab(tmp_path)
    assert lab.latest().run.run_id == name
    sweep = lab.sweep()
    assert "does not vary here" in sweep.against("delay_ms").note
    with pytest.raises(NothingThere, match="both have to be among random"):
        sweep.compare("random", "least_conn")


def test_a_sweep_is_compared_pair_by_pair_and_drawn_with_bands() -> None:
    sweep = Lab(EXAMPLE).sweep("algorithms-simulated")
    compared = sweep.compare("least_conn", "round_robin", "served_ms")
    assert compared.note.count("least_conn - round_robin") == sweep.table["delay_ms"].nunique()
    assert sweep.against("delay_ms", "served_ms").figure is not None
    near = sweep.latencies(delay_ms=5).figure
    assert near is not None
    assert len(near.axes[0].collections) == 3, "a band for each algorithm with replicates"


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda lab: lab.latest("nothing"), "nothing: there are golden"),
        (lambda lab: lab.run("2026"), "no run begins with '2026'"),
        (lambda lab: lab.sweep("nothing"), "nothing: there are golden"),
        (lambda lab: lab.sweep().against("delay_ms", "p98"), "p98: there are p99_ms"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(ask, said) -> None:
    with pytest.raises(NothingThere) as error:
        ask(Lab(GOLDEN))
    assert said in str(error.value)


def test_names_are_text_and_never_markup() -> None:
    hostile = "<img src=x onerror=alert(1)>"
    page = Shown(hostile, hostile, caption=hostile, table=pd.DataFrame({hostile: [hostile]}))
    assert "<img" not in page._repr_html_()
