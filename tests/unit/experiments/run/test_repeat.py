"""Which runs are made again, how often, and what stays of the first."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from experiments.judge.verdict import Check, Verdict
from experiments.run.repeat import run_patiently

GOOD = Verdict((Check("precision", True, ""),))
DISTURBED = Verdict((Check("precision", False, "", "links late"),))
WRONG = Verdict((Check("precision", False, "", "links late"), Check("links", False, "9 % lost")))


def maker(verdicts: Iterator[Verdict]) -> Callable[[Path], Verdict]:
    def run_once(at: Path) -> Verdict:
        at.mkdir()
        verdict = next(verdicts)
        (at / "verdict.json").write_text(str(verdict.disturbance))
        return verdict

    return run_once


@pytest.mark.parametrize(
    ("verdicts", "ends", "folders"),
    [
        ([GOOD], GOOD, ["run"]),
        ([WRONG], WRONG, ["run"]),
        ([DISTURBED, GOOD], GOOD, ["run", "run-disturbed"]),
        ([DISTURBED, DISTURBED, GOOD], DISTURBED, ["run", "run-disturbed"]),
        ([DISTURBED, WRONG], WRONG, ["run", "run-disturbed"]),
    ],
)
def test_a_disturbed_run_is_made_again_once(
    tmp_path: Path, verdicts: list[Verdict], ends: Verdict, folders: list[str]
) -> None:
    said: list[tuple[str, Path]] = []
    verdict = run_patiently(
        maker(iter(verdicts)), tmp_path / "run", lambda why, kept: said.append((why, kept))
    )
    assert verdict is ends
    assert sorted(path.name for path in tmp_path.iterdir()) == folders
    kept = tmp_path / "run-disturbed"
    assert said == ([("links late", kept)] if len(folders) == 2 else [])
    if said:
        assert (kept / "verdict.json").read_text() == "links late"


def test_an_earlier_disturbed_try_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "run-disturbed").mkdir()
    run_patiently(maker(iter([DISTURBED, GOOD])), tmp_path / "run", lambda *_: None)
    names = ["run", "run-disturbed", "run-disturbed1"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_ctrl_c_during_the_second_try_leaves_the_first(tmp_path: Path) -> None:
    def run_once(at: Path) -> Verdict:
        at.mkdir()
        if (tmp_path / "run-disturbed").exists():
            raise KeyboardInterrupt
        return DISTURBED

    with pytest.raises(KeyboardInterrupt):
        run_patiently(run_once, tmp_path / "run", lambda *_: None)
    assert (tmp_path / "run-disturbed").exists()
