"""Figures hold what they are given, whole and labelled; how they look was judged by eye."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from experiments import figures
from experiments.analysis import fairness, throughput
from experiments.analysis.caption import Caption
from experiments.analysis.compare import Difference
from experiments.figures import page
from experiments.tables.schema import empty_frame

CAPTION = Caption(
    "least_conn", "n = 8 requests", "seed 1", "client links as measured: RTT 1 ms", "valid"
)
BACKENDS = ("b1", "b2", "b3")


def requests(statuses: list[str]) -> pd.DataFrame:
    n = len(statuses)
    started = np.linspace(0, 9.9, n)
    latency_ms = np.geomspace(10, 900, n)
    return pd.DataFrame(
        {
            "intended_s": started,
            "first_byte_s": started,
            "ended_s": started + latency_ms / 1000,
            "latency_ms": latency_ms,
            "status": statuses,
            "backend": [BACKENDS[i % 3] for i in range(n)],
            "bytes_received": 1000,
        }
    )


def drawn_of(frame: pd.DataFrame) -> dict[str, Figure]:
    counts = fairness.requests_per_second(frame, BACKENDS, 10.0)
    index = fairness.jain_per_second(counts, (1, 1, 1))
    return {
        "ccdf": figures.latency_ccdf({"least_conn": frame}, 5000.0, CAPTION),
        "load": figures.backend_load(counts, index, 1.0, CAPTION),
        "throughput": figures.throughput_over_time(
            throughput.per_second(frame, 10.0), 1.0, CAPTION
        ),
    }


def texts(figure: Figure) -> str:
    drawn = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        legend = axes.get_legend()
        drawn += [axes.get_xlabel(), axes.get_ylabel(), axes.get_title(loc="left")]
        drawn += [text.get_text() for text in legend.get_texts()] if legend else []
    return " ".join(" ".join(drawn).split())


@pytest.mark.parametrize(
    "frame",
    [
        requests(["ok"] * 60 + ["timeout"] * 4),
        requests(["ok"] * 30),
        requests(["timeout"] * 5),
        requests(["ok"]),
        empty_frame("requests"),
    ],
    ids=["some failed", "all answered", "all failed", "one", "none"],
)
def test_every_figure_is_written_whatever_happened(
    frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "DPI", 50)
    for name, figure in drawn_of(frame).items():
        png, svg = figures.save(figure, tmp_path / name)
        assert png.read_bytes().startswith(b"\x89PNG")
        assert ElementTree.parse(svg).getroot().tag.endswith("svg")
        assert str(CAPTION) in texts(figure)


def test_the_same_frames_give_the_same_files(tmp_path: Path) -> None:
    frame = requests(["ok"] * 20)
    first = [p.read_bytes() for p in figures.save(drawn_of(frame)["load"], tmp_path / "a")]
    second = [p.read_bytes() for p in figures.save(drawn_of(frame)["load"], tmp_path / "b")]
    assert first == second


def test_panels_lie_at_round_numbers_so_that_names_hashed_from_them_do_not_vary(
    tmp_path: Path,
) -> None:
    for name, figure in drawn_of(requests(["ok"] * 20)).items():
        figures.save(figure, tmp_path / name)
        for axes in figure.axes:
            bounds = axes.get_position().bounds
            assert bounds == pytest.approx(np.round(bounds, 5), abs=1e-9), name


def test_the_caption_stays_inside_and_below_everything() -> None:
    long = Caption("least_conn " * 12, "n = 8", "seed 1", "client links as measured " * 4, "valid")
    figure = figures.latency_ccdf({"a": requests(["ok"] * 9)}, 5000.0, long)
    figure.draw_without_rendering()
    (text,) = figure.texts
    box, page = text.get_window_extent(), figure.bbox
    assert page.x0 <= box.x0
    assert box.x1 <= page.x1
    assert page.y0 <= box.y0
    for axes in figure.axes:
        assert axes.get_tightbbox().y0 >= box.y1


def test_unanswered_requests_are_a_level_tail_up_to_the_timeout() -> None:
    figure = figures.latency_ccdf({"a": requests(["ok"] * 9 + ["timeout"])}, 5000.0, CAPTION)
    tails = [line for line in figure.axes[0].lines if line.get_marker() == ">"]
    assert [line.get_xdata()[-1] for line in tails] == [5000.0]
    assert list(tails[0].get_ydata()) == pytest.approx([0.1, 0.1])
    assert "unanswered 10 %" in texts(figure)
    whole = figures.latency_ccdf({"a": requests(["ok"] * 9)}, 5000.0, CAPTION)
    assert not [line for line in whole.axes[0].lines if line.get_marker() == ">"]


def test_axes_name_their_units() -> None:
    drawn = {name: texts(figure) for name, figure in drawn_of(requests(["ok"] * 9)).items()}
    assert "latency from intended start (ms)" in drawn["ccdf"]
    assert "requests per second" in drawn["load"]
    assert "Jain's index per second" in drawn["load"]
    assert "Mbit/s" in drawn["throughput"]
    assert "(s)" in drawn["throughput"]


def test_every_series_differs_in_more_than_colour() -> None:
    figure = figures.latency_ccdf(
        {name: requests(["ok"] * 9) for name in "abcdefg"}, 5000.0, CAPTION
    )
    curves = [line for line in figure.axes[0].lines if line.get_label()[:1] in "abcdefg"]
    assert len({line.get_color() for line in curves}) == 7
    assert len({str(line._unscaled_dash_pattern) for line in curves}) == 7


def cells(mean: float = 0.95, high: float = 0.99) -> pd.DataFrame:
    names = ("algorithm", "loss_pct", "delay_ms", "mean", "low", "high", "n")
    rows = [
        (algorithm, loss, delay, mean - loss / 100, 0.9, high, 3)
        for algorithm in ("least_conn", "random")
        for loss in (0.0, 1.0, 2.0)
        for delay in (5.0, 25.0)
    ]
    return pd.DataFrame(rows, columns=list(names))


@pytest.mark.parametrize(("factor", "panels"), [("loss_pct", 2), ("delay_ms", 3)])
def test_a_sweep_has_a_panel_per_level_of_the_other_factor(factor: str, panels: int) -> None:
    figure = figures.sweep_against(cells(), factor, figures.JAIN, CAPTION, floor=0.97)
    assert len(figure.axes) == panels
    drawn = texts(figure)
    assert ("delay 25 ms" if factor == "loss_pct" else "loss 2 %") in drawn
    assert "least_conn" in drawn
    assert "chance" in drawn


def test_what_alone_varies_has_one_panel() -> None:
    loads = cells().query("loss_pct == 0").rename(columns={"delay_ms": "load"})
    figure = figures.sweep_against(loads, "load", figures.P99, CAPTION, others=("load",))
    assert len(figure.axes) == 1
    assert "offered load" in texts(figure)


def test_paired_differences_have_a_row_each_the_open_ones_hollow() -> None:
    rows = [
        Difference("a", "b", (("load", 0.5),), "p99_ms", -41.0, -63.0, -19.0, 8, 0.001),
        Difference("a", "b", (("load", 0.9),), "p99_ms", -4.0, -23.0, 15.0, 8, 0.6),
        Difference("a", "c", (), "p99_ms", np.nan, np.nan, np.nan, 2, np.nan),
    ]
    figure = figures.forest(rows, "p99 latency (ms)", CAPTION)
    named = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert named == ["a - b (load 0.5), n = 8", "a - b (load 0.9), n = 8", "a - c, n = 2"]
    assert "censored" in figure.axes[0].texts[0].get_text()
    marks = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [line.get_markerfacecolor() == "white" for line in marks] == [False, True]


def test_an_infinite_mean_is_an_arrow_and_not_left_out(tmp_path: Path) -> None:
    figure = figures.sweep_against(
        cells(mean=np.inf, high=np.nan), "loss_pct", figures.P99, CAPTION
    )
    arrows = [line for line in figure.axes[0].lines if line.get_marker() == r"$\uparrow$"]
    assert [len(line.get_xdata()) for line in arrows] == [3, 3]
    assert "no less than the timeout" in texts(figure)
    assert figures.save(figure, tmp_path / "p99")[0].exists()


def test_the_interval_of_an_index_ends_at_one() -> None:
    figure = figures.sweep_against(cells(high=1.3), "loss_pct", figures.JAIN, CAPTION)
    (_, _, (bars,)) = figure.axes[0].containers[0]
    assert max(segment[1][1] for segment in bars.get_segments()) == pytest.approx(1.0)


def test_one_replicate_has_a_point_without_an_interval(tmp_path: Path) -> None:
    alone = cells().assign(low=np.nan, high=np.nan, n=1)
    figure = figures.sweep_against(alone, "loss_pct", figures.GOODPUT, CAPTION)
    assert figures.save(figure, tmp_path / "one")[1].exists()


def test_a_run_of_one_second_shows_its_points() -> None:
    frame = requests(["ok"] * 9).assign(intended_s=0.5, first_byte_s=0.5, ended_s=0.6)
    counts = fairness.requests_per_second(frame, BACKENDS, 1.0)
    index = fairness.jain_per_second(counts, (1, 1, 1))
    seconds = throughput.per_second(frame, 1.0)
    drawn = [
        figures.backend_load(counts, index, 0.1, CAPTION).axes[0],
        *figures.throughput_over_time(seconds, 0.1, CAPTION).axes,
    ]
    for axes in drawn:
        assert {line.get_marker() for line in axes.get_lines()}.isdisjoint({"None", None, ""})


def test_an_axis_without_any_finite_value_has_no_numbers() -> None:
    unknown = cells().assign(mean=np.inf, low=np.nan, high=np.nan)
    figure = figures.sweep_against(unknown, "loss_pct", figures.P99, CAPTION)
    assert all(len(axes.get_yticks()) == 0 for axes in figure.axes)


def test_more_backends_than_colours_are_drawn_as_their_range() -> None:
    few, many = (pd.DataFrame({f"b{i}": [10 + i, 20 + i] for i in range(n)}) for n in (7, 20))
    index = fairness.jain_per_second(few, (1,) * 7)
    assert len(figures.backend_load(few, index, 0.0, CAPTION).axes[0].get_lines()) == 7
    figure = figures.backend_load(many, index, 0.0, CAPTION)
    (median,) = figure.axes[0].get_lines()
    assert list(median.get_ydata()) == [19.5, 29.5]
    assert "least to most of 20" in texts(figure)


def test_faults_are_marked_where_they_were_applied_and_named() -> None:
    frame = requests(["ok"] * 60)
    markers = (figures.Marker(3.25, "kill b2"), figures.Marker(3.27, "slow b1 x0.25"))
    seconds = throughput.per_second(frame, 10.0)
    figure = figures.throughput_over_time(seconds, 1.0, CAPTION, markers)
    labels = [text.get_text() for text in figure.axes[0].texts]
    assert labels == ["kill b2, slow b1 x0.25"], "those of one moment stand side by side"
    for axes in figure.axes:
        at = {line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 2}
        assert {3.25, 3.27} <= at


def test_what_became_of_datagrams() -> None:
    seconds = pd.DataFrame(
        {
            "t_s": [0.0, 1.0],
            "lost": [3, 0],
            "late": [0, 2],
            "reordered": [0, 0],
            "duplicates": [1, 0],
        }
    )
    figure = figures.datagrams_over_time(seconds, 0.0, CAPTION)
    assert all(word in texts(figure) for word in ("lost", "late", "reordered", "duplicates"))
    drawn = {
        line.get_label(): list(line.get_ydata()) for axes in figure.axes for line in axes.lines
    }
    assert drawn["lost"] == [3, 0]
    assert drawn["reordered: none"] == [0, 0], "its line cannot be seen: it lies on the axis"
    assert drawn["duplicates"] == [1, 0]
