"""Runs to show in tests, as their frames come from the process that makes them."""

import json
from functools import lru_cache
from pathlib import Path

from experiments.live.aggregate import film_of
from experiments.live.frame import Scene
from experiments.live.recorded import chosen_folder
from experiments.live.reel import Reel
from experiments.tables.dataset import Run, load_run

GOLDEN = Path(__file__).resolve().parents[3] / "golden" / "runs" / "golden"
SHORT = "least_conn-loss3-delay25-seed3"


def golden(name: str = SHORT) -> Run:
    return load_run(GOLDEN / name)


def recorded(name: str) -> Run:
    return load_run(chosen_folder(name, Path("nowhere")))


@lru_cache
def film(path: Path) -> tuple[str, tuple[str, ...]]:
    """A scene and its frames, as JSON."""
    scene, frames = film_of(load_run(path))
    return scene.model_dump_json(), tuple(frame.model_dump_json() for frame in frames)


def reel_of(run: Run, *, known_as: tuple[str, str] | None = None) -> Reel:
    """All of it; `known_as`: a backend's name, and what it is called instead."""
    scene, frames = film(run.path)
    old, new = map(json.dumps, known_as or ("same", "same"))
    reel = Reel(Scene.model_validate_json(scene.replace(old, new)))
    for frame in frames:
        reel.add(frame.replace(old, new))
    reel.done = True
    return reel
