"""Where the documents' pictures come from: all are listed, and a step that fails is said."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from experiments.__main__ import cli
from experiments.commands import documents
from experiments.commands.documents import IMAGES, RECIPE, steps


def test_every_picture_is_made_by_one_step() -> None:
    listed = [picture for step in steps() for picture in step.pictures]
    there = [path for path in IMAGES.rglob("*") if path.is_file() and path != RECIPE]
    assert sorted(listed) == sorted(path.relative_to(IMAGES).as_posix() for path in there)
    assert len({step.step for step in steps()}) == len(steps())


@pytest.mark.parametrize("step", steps(), ids=lambda step: step.step)
def test_every_command_has_a_name_and_options_that_exist(step: documents.Step) -> None:
    name, *words = shlex.split(step.command)
    assert any("{folder}" in word for word in words)
    cli.commands[name].make_context(name, words)


Made = Callable[..., Result]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    monkeypatch.setattr(documents, "BUILD", tmp_path / "build")
    recipe = tmp_path / "images" / "images.yaml"
    recipe.parent.mkdir()

    def make(*recipes: dict[str, object], only: str | None = None) -> Result:
        recipe.write_text(yaml.safe_dump(list(recipes)))
        given = ["--only", only] if only else []
        return CliRunner().invoke(cli, ["docs-images", "--recipe", str(recipe), *given])

    return make


SHAPES = {"step": "shapes", "command": "shapes {folder}", "pictures": {"a/b.svg": "star.svg"}}
WRONG = {
    "step": "wrong",
    "command": "sweep nowhere --results {folder}",
    "pictures": {"old.png": "latest/x.png"},
}
LACKS = {**SHAPES, "step": "lacks", "pictures": {"old.png": "nothing.png", "new.svg": "star.svg"}}


def test_a_steps_files_become_pictures(made: Made, tmp_path: Path) -> None:
    result = made(SHAPES)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "images" / "a" / "b.svg").read_text().startswith("<svg")


@pytest.mark.parametrize("bad", [WRONG, LACKS], ids=["exit code", "file"])
def test_a_step_that_fails_leaves_its_pictures_and_the_exit_code_says_so(
    bad: dict[str, object], made: Made, tmp_path: Path
) -> None:
    (tmp_path / "images" / "old.png").write_text("as it was")
    result = made(bad, SHAPES)
    assert result.exit_code == 1
    assert f"failed: {bad['step']};" in result.output
    assert (tmp_path / "images" / "old.png").read_text() == "as it was"
    assert not (tmp_path / "images" / "new.svg").exists()
    assert (tmp_path / "images" / "a" / "b.svg").exists()


def test_one_step_alone_and_an_unknown_one(made: Made, tmp_path: Path) -> None:
    assert made(WRONG, SHAPES, only="shapes").exit_code == 0
    refused = made(WRONG, SHAPES, only="shape")
    assert refused.exit_code == 2
    assert "there are wrong, shapes" in refused.output
