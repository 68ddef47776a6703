"""A run's folder: `results/<experiment>/<run id>/`, written by one run, read by every later stage.

| file | holds | written |
|---|---|---|
| manifest.json | what was asked, where, with which versions and seeds | before the run |
| calibration.json | every link: asked, measured, tolerance | before, finished after |
| plan.parquet | what clients are to send; see `schema.py` | before |
| requests, samples, connections, flows, faults `.parquet` | see `schema.py` | after |
| verdict.json | `valid`, reasons why not, uncertainty | last: a run without it is incomplete |

Every JSON file has `schema_version`, every parquet file has it in its metadata.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from experiments.tables.schema import (
    ADDED,
    RENAMED,
    SCHEMA_VERSION,
    TABLES,
    DatasetError,
    empty_frame,
    to_arrow,
)

_JSON_OPTIONS = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE


class RunWriter:
    """Writes one run's folder. Each file appears whole or not at all (written aside, renamed)."""

    def __init__(self, path: Path) -> None:
        """Make the folder; DatasetError if there is one: of a finished run, or of one at work."""
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            raise DatasetError(f"{path} is already the folder of a run") from None
        self.path = path

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """What was asked and where; call it before the run."""
        self._write_json("manifest", manifest)

    def write_calibration(self, calibration: Mapping[str, Any]) -> None:
        """The links as measured; may be written again when loss counters are in."""
        self._write_json("calibration", calibration)

    def write_table(self, name: str, frame: pd.DataFrame) -> None:
        """One of `TABLES`; DatasetError if the columns are not exactly that table's."""
        aside = self.path / f".{name}.parquet.part"
        pq.write_table(to_arrow(name, frame), aside, compression="zstd", write_statistics=False)
        aside.rename(self.path / f"{name}.parquet")

    def write_verdict(self, verdict: Mapping[str, Any]) -> None:
        """`valid` (bool) and `reasons`; call it last, it makes the run complete."""
        if not isinstance(verdict.get("valid"), bool):
            raise DatasetError("a verdict needs `valid`, true or false")
        self._write_json("verdict", verdict)

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        aside = self.path / f".{name}.json.part"
        aside.write_bytes(
            orjson.dumps({"schema_version": SCHEMA_VERSION, **content}, option=_JSON_OPTIONS)
        )
        aside.rename(self.path / f"{name}.json")


@dataclass(frozen=True)
class Run:
    """A stored run; each part is read when first asked for. DatasetError if it cannot be."""

    path: Path

    @property
    def run_id(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def measured(self) -> bool:
        """Whether it came to its tables: a run that is refused early has none."""
        return (self.path / "requests.parquet").exists()

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What was asked and where."""
        return _read_json(self.path / "manifest.json")

    @cached_property
    def calibration(self) -> dict[str, Any]:
        """The links: asked, measured, tolerance."""
        return _read_json(self.path / "calibration.json")

    @cached_property
    def verdict(self) -> dict[str, Any]:
        """`valid` and `reasons`."""
        return _read_json(self.path / "verdict.json")

    @cached_property
    def requests(self) -> pd.DataFrame:
        """Table `requests`."""
        return self._table("requests")

    @cached_property
    def samples(self) -> pd.DataFrame:
        """Table `samples`."""
        return self._table("samples")

    @cached_property
    def connections(self) -> pd.DataFrame:
        """Table `connections`."""
        return self._table("connections")

    @cached_property
    def flows(self) -> pd.DataFrame:
        """Table `flows`."""
        return self._table("flows")

    @cached_property
    def faults(self) -> pd.DataFrame:
        """Table `faults`."""
        return self._table("faults")

    @cached_property
    def plan(self) -> pd.DataFrame:
        """Table `plan`."""
        return self._table("plan")

    def _table(self, name: str) -> pd.DataFrame:
        """A table the run did not write (no capture asked, no faults) has no rows."""
        path = self.path / f"{name}.parquet"
        return _read_table(path, name) if path.exists() else empty_frame(name)


def load_run(path: Path) -> Run:
    """The run stored in `path`, complete or not; DatasetError if there is none or it is newer."""
    if not (path / "manifest.json").is_file():
        raise DatasetError(f"{path} holds no run: it has no manifest.json")
    run = Run(path)
    _ = run.manifest
    return run


def is_complete(path: Path) -> bool:
    """Whether the folder holds a run that reached its verdict."""
    return (path / "verdict.json").is_file()


def load_runs(directory: Path, *, valid_only: bool = True) -> list[Run]:
    """Every complete run below `directory`, at any depth, by path; invalid ones on demand."""
    paths = sorted(found.parent for found in directory.rglob("verdict.json"))
    runs = [load_run(path) for path in paths]
    return [run for run in runs if run.verdict["valid"] or not valid_only]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    _check_version(path, content.get("schema_version"))
    return content


def _read_table(path: Path, name: str) -> pd.DataFrame:
    schema = TABLES[name]
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    version = _check_version(path, (table.schema.metadata or {}).get(b"schema_version"))
    for later_, names in RENAMED.items():
        if later_ > version and name in names:
            known = names[name]
            table = table.rename_columns([known.get(each, each) for each in table.column_names])
    missing = [column for column in schema.names if column not in table.schema.names]
    later = {
        column
        for added, columns in ADDED.items()
        if added > version
        for column in columns.get(name, ())
    }
    if unknown := [column for column in missing if column not in later]:
        raise DatasetError(f"{path} lacks the columns {unknown}")
    for column in missing:
        nulls = pa.nulls(table.num_rows, schema.field(column).type)
        table = table.append_column(column, nulls)
    frame: pd.DataFrame = table.select(schema.names).cast(schema).to_pandas()
    return frame


def _check_version(path: Path, version: str | bytes | int | None) -> int:
    if version is None:
        raise DatasetError(f"{path} has no schema_version")
    if int(version) > SCHEMA_VERSION:
        raise DatasetError(
            f"{path} has schema version {int(version)}, this program reads up to {SCHEMA_VERSION}:"
            " use a newer checkout"
        )
    return int(version)
