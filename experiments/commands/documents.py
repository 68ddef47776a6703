"""`docs-images`, `demo-picture`: the pictures that the documents show, made again."""

import importlib.util
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click
import yaml

from experiments.commands.common import EXIT_FAILED, HERE, console, results_option
from experiments.lab.ownership import hand_back
from experiments.live.recorded import chosen_folder

IMAGES = HERE.parent / "docs" / "images"
RECIPE = IMAGES / "images.yaml"
BUILD = HERE.parent / "build" / "docs-images"


class Step(NamedTuple):
    """A command of `python -m experiments`, and which of its files become pictures."""

    step: str
    command: str
    pictures: dict[str, str]


def steps(recipe: Path = RECIPE) -> list[Step]:
    """What `images.yaml` lists, in its order."""
    return [Step(**each) for each in yaml.safe_load(recipe.read_text())]


@click.command("docs-images")
@click.option("--only", metavar="STEP", help="One of those that docs/images/images.yaml lists.")
@click.option("--recipe", type=click.Path(exists=True, path_type=Path), default=RECIPE, hidden=True)
def docs_images(only: str | None, recipe: Path) -> None:
    """Make the pictures of README.md and docs/ again, of runs of this version.

    A step that fails leaves its pictures as they were; the others are made, and the exit code is 1.
    """
    known = steps(recipe)
    wanted = [each for each in known if only in (None, each.step)]
    if not wanted:
        names = ", ".join(each.step for each in known)
        raise click.BadParameter(f"{only}: there are {names}", param_hint="--only")
    failed = [each.step for each in wanted if not _made(each, recipe.parent)]
    hand_back(recipe.parent)
    hand_back(BUILD.parent)
    if failed:
        console.print(f"[red]failed[/]: {', '.join(failed)}; their pictures are as they were")
        sys.exit(EXIT_FAILED)


def _made(step: Step, images: Path) -> bool:
    """Whether all of its pictures are new."""
    folder = BUILD / step.step
    folder.mkdir(parents=True, exist_ok=True)
    command = [word.format(folder=folder) for word in shlex.split(step.command)]
    console.rule(f"{step.step}: {shlex.join(command)}")
    done = subprocess.run([sys.executable, "-m", "experiments", *command], check=False)
    if done.returncode:
        console.print(f"[red]exit code {done.returncode}[/]")
        return False
    sources = {images / picture: folder / made for picture, made in step.pictures.items()}
    if missing := [str(made) for made in sources.values() if not made.is_file()]:
        console.print(f"[red]not made[/]: {', '.join(missing)}", soft_wrap=True)
        return False
    for picture, made in sources.items():
        picture.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made, picture)
        console.print(f"  picture  {picture}", highlight=False, soft_wrap=True)
    return True


@click.command("demo-picture")
@click.argument("picture", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("names", nargs=-1, required=True, metavar="RUN [RUN]")
@click.option("--at-s", type=float, required=True, help="Which moment of the runs, in seconds.")
@results_option
def demo_picture(picture: Path, names: Sequence[str], at_s: float, results: Path) -> None:
    """The page of `demo` at one moment, as a PNG; needs playwright and Chromium."""
    browser = shutil.which("chromium")
    if importlib.util.find_spec("playwright") is None or browser is None:
        raise click.ClickException(
            "needs Chromium (apt-get install chromium) and playwright (pip install -e "
            "'.[live,browser]')"
        )
    folders = [str(chosen_folder(name, results)) for name in names]
    given = ["--browser", browser, "--at-s", str(at_s), str(picture), *folders]
    done = subprocess.run([sys.executable, "-m", "experiments.live.picture", *given], check=False)
    sys.exit(done.returncode)
