"""A report cites what the runs carry, and nothing else."""

import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from experiments.analysis.compare import differences
from experiments.analysis.summary import cell_intervals, sweep_table
from experiments.present.lab import EXAMPLE
from experiments.report.build import ReportError, build, compile_report
from experiments.tables.dataset import load_runs

RUNS = EXAMPLE / "algorithms-simulated"
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of the shipped runs."""
    return build(RUNS, tmp_path_factory.mktemp("reports")).pdf.parent


@pytest.fixture
def says(made: Path, tmp_path: Path) -> Callable[[str], str]:
    """What a text of one's own comes out as, without markup."""

    def text_of(words: str) -> str:
        folder = shutil.copytree(made, tmp_path / "own", dirs_exist_ok=True)
        (folder / "report.typ").write_text(f'#import "nginy.typ": *\n\n{words}\n')
        compile_report(folder, folder / "report.html", WHEN)
        page = (folder / "report.html").read_text()
        body = re.sub(r"<[^>]*>", "", page[page.index("<body") :])
        return body.replace("−", "-").strip()

    return text_of


def test_the_same_runs_give_the_same_bytes_and_the_text_is_left_alone(
    made: Path, tmp_path: Path
) -> None:
    again = build(RUNS, tmp_path)
    for name in ("report.pdf", "report.html", "data.json"):
        assert (again.pdf.parent / name).read_bytes() == (made / name).read_bytes(), name
    assert again.is_new
    own = '#import "nginy.typ": *\nMine: #value("served_ms", alg: "prequal", delay_ms: 5)\n'
    again.text.write_text(own)
    once_more = build(RUNS, tmp_path)
    assert not once_more.is_new
    assert once_more.text.read_text() == own
    assert "Mine:" in once_more.page.read_text()


def test_a_cited_value_is_the_analysis_own(says: Callable[[str], str]) -> None:
    table = sweep_table(load_runs(RUNS))
    cells = cell_intervals(table, "served_ms")
    row = cells[(cells["algorithm"] == "least_conn") & (cells["delay_ms"] == 5)].iloc[0]
    told = says('#value("served_ms", alg: "least_conn", delay_ms: 5)')
    mean, half, n = re.fullmatch(r"([\d.]+) ms ± ([\d.]+) \(n = (\d+)\)", told).groups()
    assert float(mean) == pytest.approx(row["mean"], abs=1)
    assert float(half) == pytest.approx((row["high"] - row["low"]) / 2, abs=1)
    assert int(n) == row["n"]


def test_a_difference_is_turned_as_it_is_asked(says: Callable[[str], str]) -> None:
    (known,) = [
        each
        for each in differences(sweep_table(load_runs(RUNS)), "served_ms")
        if {each.first, each.second} == {"least_conn", "round_robin"}
        and "5.0" in each.where
        and "50" not in each.where
    ]
    told = {
        pair: float(re.match(r"(-?[\d.]+) ms", says(
            f'#difference("{pair[0]}", "{pair[1]}", "served_ms", delay_ms: 5)'
        ))[1])
        for pair in [("least_conn", "round_robin"), ("round_robin", "least_conn")]
    }  # fmt: skip
    assert told["least_conn", "round_robin"] == -told["round_robin", "least_conn"]
    assert told[known.first, known.second] == pytest.approx(known.mean, abs=0.5)


@pytest.mark.parametrize(
    ("citation", "said"),
    [
        ('#value("p99_ms", alg: "nobody", delay_ms: 5)', "no valid run of nobody"),
        ('#value("p99_ms", alg: "prequal", delay_ms: 7)', "no valid run of prequal (delay_ms: 7)"),
        ('#value("p99_ms", alg: "prequal")', "fits 2 cells; name their levels"),
        ('#value("p99_ms", alg: "prequal", rate: 5)', "there is no rate; cells differ in"),
        ('#value("p98_ms", alg: "prequal", delay_ms: 5)', "no metric p98_ms; there are p50_ms"),
        ('#theory(alg: "prequal", delay_ms: 5)', "no exact value"),
        ('#difference("prequal", "x", "p99_ms", delay_ms: 5)', "0 fit (delay_ms: 5)"),
        ('#figure-of("nothing")', "file not found"),
    ],
)
def test_what_the_runs_do_not_carry_stops_the_build_at_its_place(
    says: Callable[[str], str], citation: str, said: str
) -> None:
    with pytest.raises(ReportError) as error:
        says(citation)
    assert said in str(error.value)
    if "file not found" not in said:
        assert "report.typ:3" in str(error.value)


def test_of_one_seed_there_is_no_interval_to_cite(tmp_path: Path) -> None:
    one = next(RUNS.glob("prequal-loss0-delay5-r0*"))
    shutil.copytree(one, tmp_path / "runs" / one.name)
    made = build(tmp_path / "runs", tmp_path / "reports")
    assert "one seed" in made.page.read_text()
    text = made.text
    text.write_text('#import "nginy.typ": *\n#value("served_ms", alg: "prequal", delay_ms: 5)')
    with pytest.raises(ReportError, match="one replicate only"):
        build(tmp_path / "runs", tmp_path / "reports")


def test_without_valid_runs_there_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="no valid run"):
        build(tmp_path, tmp_path / "reports")


def test_names_are_text_and_never_markup(tmp_path: Path) -> None:
    for run in RUNS.glob("*-r[01]-*"):
        if not run.name.endswith("-again"):
            hostile = '#panic("x") $x$ <script>' if "prequal-loss0-delay5-r0" in run.name else ""
            shutil.copytree(run, tmp_path / "runs" / f"{run.name}{hostile}")
    page = build(tmp_path / "runs", tmp_path / "reports").page.read_text()
    assert "<script" not in page
    assert "#panic(" in page
