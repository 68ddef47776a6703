"""Pages of runs, sweeps and all results: what is on them, that links lead somewhere, that nothing
of a run becomes HTML, and that what goes wrong is said."""

import json
import os
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from click.testing import CliRunner

from experiments.__main__ import cli
from experiments.analysis.summary import summarise
from experiments.present.draw import RUN_FIGURES, draw_run
from experiments.present.lab import EXAMPLE
from experiments.present.pages.pictures import said
from experiments.present.pages.render import list_page, run_page
from experiments.present.pages.renew import PAGE, renew, renew_all
from experiments.present.pages.rows import KEPT, row_of, stored_row
from experiments.tables.dataset import RunWriter, load_run, load_runs

GOLDEN = Path(__file__).resolve().parents[3] / "golden" / "runs" / "golden"
ONE = "random-loss0-delay5-seed2"
HOSTILE = "<img src=x onerror=alert(1)>\"&'"
SHIPPED = {
    each: next((EXAMPLE / each).glob("*/manifest.json")).parent for each in ("failover", "udp")
}
SHIPPED |= {"simulated": next((EXAMPLE / "algorithms-simulated").glob("*/manifest.json")).parent}


class Page(HTMLParser):
    """What a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self.in_cell = False
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self.in_cell = self.in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] and self.tags[-1][0] == "style":
            return
        self.words.append(data)
        if self.in_cell:
            self.rows[-1][-1] += data.strip()

    def all(self, tag: str, attribute: str) -> list[str]:
        return [
            attrs[attribute] or ""
            for name, attrs in self.tags
            if name == tag and attribute in attrs
        ]


def page_of(path: Path) -> Page:
    return Page(path.read_text())


def dead_links(path: Path) -> list[str]:
    page = page_of(path)
    targets = page.all("a", "href") + page.all("img", "src")
    assert targets
    assert all(not urlsplit(each).scheme and not each.startswith("/") for each in targets)
    # As a browser does: by the address, not by where a symbolic link leads.
    return [
        each for each in targets if not Path(os.path.normpath(path.parent / unquote(each))).exists()
    ]


def stored(results: Path, name: str = ONE, source: Path = GOLDEN / ONE) -> Path:
    return Path(shutil.copytree(source, results / "some" / name))


def change(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_runs_page_has_its_numbers_checks_files_and_figures(tmp_path: Path) -> None:
    run = load_run(stored(tmp_path, "run", SHIPPED["failover"]))
    draw_run(run)
    assert renew(tmp_path, run.path) == run.path / PAGE
    page = page_of(run.path / PAGE)
    row = summarise(run)
    assert f"p99 {row['p99_ms']:.1f} ms, 95 % " in page.text
    assert f"{row['requests']} from" in page.text
    assert "✓ valid" in page.text
    assert run.verdict["statement"] in page.text
    for check in run.verdict["checks"]:
        assert [check["name"], "✓ yes", check["detail"]] in page.rows
    assert {"manifest.json", "calibration.json", "requests.parquet"} <= set(page.all("a", "href"))
    drawn = {path.stem for path in (run.path / "figures").iterdir()}
    assert {Path(each).stem for each in page.all("img", "src")} == drawn
    assert all(len(each) > 40 for each in page.all("img", "alt"))
    assert any("kill b2" in cell for cells in page.rows for cell in cells)
    assert dead_links(run.path / PAGE) == []


@pytest.mark.parametrize("source", [GOLDEN / ONE, *SHIPPED.values()], ids=lambda path: path.name)
def test_every_kind_of_run_has_a_page_that_fetches_and_runs_nothing(
    source: Path, tmp_path: Path
) -> None:
    text = run_page(load_run(stored(tmp_path, source=source)), "../../index.html")
    page = Page(text)
    assert {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "form"} == set()
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert "http://" not in text
    assert "https://" not in text
    policy = next(each for each in page.all("meta", "content") if "default-src" in each)
    assert policy.startswith("default-src 'none'")
    assert "p50" in page.text


def test_a_run_that_measured_nothing_has_a_page_with_its_reason(tmp_path: Path) -> None:
    manifest = json.loads((GOLDEN / ONE / "manifest.json").read_text())
    writer = RunWriter(tmp_path / "some" / "bad")
    writer.write_manifest(manifest)
    check = {"name": "links", "ok": False, "detail": "c1-s1: 0.1 ms instead of 20", "cause": ""}
    reasons = ["links: c1-s1: 0.1 ms instead of 20"]
    writer.write_verdict({"valid": False, "reasons": reasons, "checks": [check]})
    renew(tmp_path, writer.path)
    page = page_of(writer.path / PAGE)
    assert "NOT VALID" in page.text
    assert "nothing was measured" in page.text
    assert ["links", "✗ no", check["detail"]] in page.rows
    listed = page_of(tmp_path / PAGE)
    assert reasons[0] in listed.text
    assert "1, the newest first; 1 not valid" in listed.text
    assert dead_links(tmp_path / PAGE) == []


def test_a_hostile_name_is_text(tmp_path: Path) -> None:
    folder = stored(tmp_path, f"javascript:{HOSTILE.replace('/', '')}#?%41")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["scenario"] |= {"label": HOSTILE, "algorithm_options": {HOSTILE: HOSTILE}}
    manifest["argv"] = ["x", HOSTILE]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    checks = [{"name": HOSTILE, "ok": False, "detail": HOSTILE, "cause": HOSTILE}]
    change(folder / "verdict.json", valid=False, reasons=[HOSTILE], checks=checks)
    (folder / "figures").mkdir()
    (folder / "figures" / f"{HOSTILE}.svg").write_text("<svg/>")
    (folder / f"{HOSTILE}.json").write_text("{}")
    renew(tmp_path, folder)
    for path, pictures in ((folder / PAGE, 1), (tmp_path / PAGE, 0)):
        page = page_of(path)
        assert HOSTILE in page.text
        assert len(page.all("img", "alt")) == pictures
        assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
        assert dead_links(path) == []


def test_an_empty_results_folder_says_how_to_make_a_run(tmp_path: Path) -> None:
    assert list(renew_all(tmp_path)) == [tmp_path / PAGE]
    assert "There are none yet: make experiment" in page_of(tmp_path / PAGE).text


def test_all_runs_are_listed_the_newest_first_with_the_numbers_of_the_analysis(
    tmp_path: Path,
) -> None:
    shutil.copytree(GOLDEN, tmp_path / "golden")
    for name, source in SHIPPED.items():
        stored(tmp_path, name, source)
    runs = load_runs(tmp_path)
    list(renew_all(tmp_path))
    page = page_of(tmp_path / PAGE)
    found = [cells for cells in page.rows if cells and "/" in cells[0]]
    assert len(found) == len(runs)
    times = [cells[2] for cells in found]
    assert times == sorted(times, reverse=True)
    by_name = {cells[0]: cells for cells in found}
    for run in runs:
        row = summarise(run)
        cells = by_name[f"{run.path.parent.name} / {run.run_id}"]
        assert cells[3] == row["algorithm"]
        assert [float(each) for each in cells[7:9]] == [row["loss_pct"], row["delay_ms"]]
        assert float(cells[11].removesuffix(" ms")) == pytest.approx(row["p50_ms"], abs=0.5)
    assert by_name["some / udp"][5] == "udp"
    assert by_name["some / udp"][12] == ">= 1000 ms"
    assert by_name["some / simulated"][6] == "simulated"
    assert dead_links(tmp_path / PAGE) == []
    assert all(dead_links(run.path / PAGE) == [] for run in runs)


def test_a_sweep_has_a_page_with_its_means_and_runs(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EXAMPLE / "algorithms-simulated", tmp_path / "algorithms"))
    renew(tmp_path, folder)
    page = page_of(folder / PAGE)
    assert [cells for cells in page.rows if cells[:4] == ["prequal", "0", "50", "4"]]
    runs = load_runs(folder)
    assert f"{len(runs)}, the newest first" in page.text
    assert dead_links(folder / PAGE) == []
    assert f"algorithms/{PAGE}" in page_of(tmp_path / PAGE).all("a", "href")


def test_a_folder_that_holds_no_readable_run_is_said_in_the_list(tmp_path: Path) -> None:
    good = stored(tmp_path)
    (tmp_path / "some" / "odd").mkdir()
    (tmp_path / "some" / "odd" / "verdict.json").write_text("{}")
    older = stored(tmp_path, "older")
    (older / "manifest.json").write_text('{"schema_version": 1, "scenario": {}}')
    renew(tmp_path, good)
    page = page_of(tmp_path / PAGE)
    assert page.text.count("cannot be read") == 2
    assert f"some / {ONE}" in page.text


def test_what_the_list_says_of_a_run_is_kept_until_its_verdict_is_newer(tmp_path: Path) -> None:
    folder = stored(tmp_path)
    first = stored_row(folder)
    assert first == row_of(load_run(folder))
    (folder / "requests.parquet").rename(folder / "elsewhere")
    assert stored_row(folder) == first
    change(folder / "verdict.json", valid=False, reasons=["late"])
    kept = (folder / KEPT).stat().st_mtime
    os.utime(folder / "verdict.json", (kept + 1, kept + 1))
    assert stored_row(folder).reason == "late"
    (folder / KEPT).write_text("{}")
    assert stored_row(folder).reason == "late"


def test_a_page_is_not_written_again_for_every_run_beside_it(tmp_path: Path) -> None:
    first = stored(tmp_path, "first")
    renew(tmp_path, first)
    (first / PAGE).write_text("somebody looks at it")
    renew(tmp_path, stored(tmp_path, "second"))
    renew(tmp_path, first)
    assert (first / PAGE).read_text() == "somebody looks at it"
    list(renew_all(tmp_path))
    assert "✓ valid" in page_of(first / PAGE).text


def test_every_figure_of_a_run_has_words() -> None:
    assert all(said(name)[1] != "a figure of this name" for name in RUN_FIGURES)
    assert "Jain" in said("jain_against_loss_pct")[0]
    assert said("claims_served_ms")[1] != "a figure of this name"


def test_two_pages_of_the_same_runs_are_the_same(tmp_path: Path) -> None:
    run = load_run(stored(tmp_path))
    assert run_page(run, "x") == run_page(load_run(run.path), "x")
    assert list_page("Results", []) == list_page("Results", [])


WORDS = ("simulate", "--duration", "2", "--warmup", "1", "--results")


def test_a_command_leaves_the_pages_and_says_where(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, [*WORDS, str(tmp_path)])
    assert result.exit_code in (0, 3), result.output
    (run,) = (tmp_path / "default").glob("*/")
    assert f"page     {run / PAGE}" in result.output
    for path in (run / PAGE, tmp_path / "latest" / PAGE, tmp_path / "default" / PAGE):
        assert dead_links(path) == []
        assert run.name in page_of(path).text
    assert run.name in page_of(tmp_path / PAGE).text


def test_a_page_that_cannot_be_written_is_said_and_takes_nothing_from_the_run(
    tmp_path: Path,
) -> None:
    good = CliRunner().invoke(cli, [*WORDS, str(tmp_path / "good")])
    (tmp_path / "bad" / PAGE).mkdir(parents=True)
    bad = CliRunner().invoke(cli, [*WORDS, str(tmp_path / "bad")])
    assert bad.exit_code == good.exit_code
    assert "no page" in bad.output
    assert "make figures" in bad.output
    assert load_runs(tmp_path / "bad", valid_only=False)


def test_make_figures_writes_all_pages_or_fails(tmp_path: Path) -> None:
    folder = stored(tmp_path)
    result = CliRunner().invoke(cli, ["figures", "--results", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "topology.svg" in " ".join(page_of(folder / PAGE).all("img", "src"))
    assert str(tmp_path / PAGE) in result.output
    (tmp_path / PAGE).unlink()
    (tmp_path / PAGE).mkdir()
    assert CliRunner().invoke(cli, ["figures", "--results", str(tmp_path)]).exit_code != 0
