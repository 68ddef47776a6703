"""Make a run small enough to be shipped: `python -m experiments.live.strip RUN FOLDER`.

Kept are manifest, calibration, verdict and what frames are made of (requests, samples, faults), to
the last bit, in an encoding that suits floats. Left out are flows, connections, the plan, raw files
and figures, what the manifest says of the whole machine's settings, and the paths of its command.
"""

import sys
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

from experiments.tables.dataset import Run, load_run
from experiments.tables.schema import TABLES

_TABLES = ("requests", "samples", "faults")
_LEFT_OUT = ("tcp_sysctls", "schema_version")


def strip(run: Run, folder: Path) -> None:
    """A small copy of `run` as `folder`, which must not be there yet."""
    folder.mkdir(parents=True)
    manifest = {key: value for key, value in run.manifest.items() if key not in _LEFT_OUT}
    manifest["argv"] = _without_paths(manifest["argv"])
    manifest["schema_version"] = run.manifest["schema_version"]
    for name, content in (
        ("manifest", manifest),
        ("calibration", run.calibration),
        ("verdict", run.verdict),
    ):
        (folder / f"{name}.json").write_bytes(_json(content))
    for name in _TABLES:
        if (run.path / f"{name}.parquet").exists():
            _write(name, run, folder)


def _without_paths(argv: list[str]) -> list[str]:
    """Nor the options that they belong to."""
    following = [*argv[1:], ""]
    return [
        word
        for word, after in zip(argv, following, strict=True)
        if not word.startswith("/") and not (word.startswith("--") and after.startswith("/"))
    ]


def _write(name: str, run: Run, folder: Path) -> None:
    real = [field.name for field in TABLES[name] if str(field.type) == "double"]
    pq.write_table(
        pq.read_table(run.path / f"{name}.parquet"),
        folder / f"{name}.parquet",
        compression="zstd",
        compression_level=19,
        write_statistics=False,
        use_dictionary=[each for each in TABLES[name].names if each not in real],
        column_encoding=dict.fromkeys(real, "BYTE_STREAM_SPLIT"),
    )


def _json(content: dict[str, Any]) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)


if __name__ == "__main__":
    strip(load_run(Path(sys.argv[1])), Path(sys.argv[2]))
