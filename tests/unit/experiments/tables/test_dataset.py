from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pyarrow.parquet as pq
import pytest

from experiments.tables.dataset import RunWriter, load_run, load_runs
from experiments.tables.schema import (
    ADDED,
    SCHEMA_VERSION,
    TABLES,
    DatasetError,
    connections_frame,
    empty_frame,
    faults_frame,
    read_lines,
    requests_frame,
    samples_frame,
)

OK: dict[str, Any] = {
    "client": "c1",
    "seq": 7,
    "intended_s": 100.5,
    "sent_s": 100.501,
    "connected_s": 100.51,
    "first_byte_s": 100.52,
    "ended_s": 100.53,
    "status": "ok",
    "backend": "b2",
    "demand_ms": 10.0,
    "wait_ms": 0.0,
    "service_ms": 10.0,
    "response_bytes": 1000,
    "bytes_received": 1000,
    "local": "10.0.0.1:40000",
}
REFUSED = {
    **OK,
    "seq": 8,
    "intended_s": 100.25,
    "status": "refused",
    "connected_s": None,
    "first_byte_s": None,
    "ended_s": 100.26,
    "backend": None,
    "wait_ms": None,
    "service_ms": None,
    "bytes_received": 0,
}
CONNECTION = {
    "schema_version": 1,
    "id": 5,
    "rule": "0",
    "listener": "10.0.0.9:80",
    "client": "10.0.0.1:40000",
    "backend": None,
    "backend_address": None,
    "upstream_local": None,
    "opened_s": 101.0,
    "closed_s": 101.5,
    "connect_ms": None,
    "first_byte_ms": None,
    "duration_ms": 500.0,
    "bytes_up": 0,
    "bytes_down": 0,
    "backends_tried": ["b1", "b2"],
    "close_reason": "no_backend",
}


def finished(path: Path, *, valid: bool = True) -> RunWriter:
    writer = RunWriter(path)
    writer.write_manifest({"seeds": {"run": 1}})
    writer.write_verdict({"valid": valid, "reasons": []})
    return writer


def test_requests_are_relative_to_the_start_of_load_and_latency_counts_from_intended() -> None:
    frame = requests_frame([OK, REFUSED], t0_s=100.0)
    assert list(frame["seq"]) == [8, 7]
    assert frame["intended_s"].to_list() == pytest.approx([0.25, 0.5])
    assert frame["latency_ms"].to_list() == pytest.approx([10.0, 30.0])
    assert frame.loc[0, ["connected_s", "backend", "wait_ms"]].isna().all()


def test_samples_become_long_and_skip_final_totals() -> None:
    backend = dict.fromkeys(("active_connections", "queue_length", "busy"), 2) | dict.fromkeys(
        ("arrived", "completed", "rejected"), 9
    )
    records = [
        {"t_s": 100.1, "backend": "b1", **backend},
        {"t_s": 100.2, "client": "c1", "in_flight": 3},
        {"final": True, "backend": "b1", **backend},
    ]
    frame = samples_frame(records, t0_s=100.0)
    assert len(frame) == 7
    in_flight = frame[frame["quantity"] == "in_flight"].iloc[0]
    assert (in_flight["source"], in_flight["value"]) == ("c1", 3.0)
    assert in_flight["t_s"] == pytest.approx(0.2)


def test_connections_keep_nulls_and_lists() -> None:
    frame = connections_frame([CONNECTION], t0_s=100.0)
    assert frame.loc[0, "id"] == "5"
    assert list(frame.loc[0, "backends_tried"]) == ["b1", "b2"]
    assert frame.loc[0, ["backend", "connect_ms"]].isna().all()
    assert frame.loc[0, "closed_s"] == pytest.approx(1.5)


def test_every_table_survives_writing_and_reading(tmp_path: Path) -> None:
    writer = finished(tmp_path / "run")
    frames = {
        "requests": requests_frame([OK, REFUSED], 100.0),
        "samples": samples_frame([{"t_s": 1.0, "client": "c1", "in_flight": 3}], 0.0),
        "connections": connections_frame([CONNECTION], 100.0),
    }
    for name, frame in frames.items():
        writer.write_table(name, frame)
    run = load_run(tmp_path / "run")
    for name, frame in frames.items():
        pd.testing.assert_frame_equal(getattr(run, name), frame)
    stored = pq.read_schema(tmp_path / "run" / "requests.parquet")
    assert stored.metadata[b"schema_version"] == str(SCHEMA_VERSION).encode()


@pytest.mark.parametrize("name", TABLES)
def test_an_empty_table_keeps_its_columns(name: str, tmp_path: Path) -> None:
    writer = finished(tmp_path / "run")
    writer.write_table(name, empty_frame(name))
    stored = getattr(load_run(tmp_path / "run"), name)
    assert len(stored) == 0
    assert list(stored.columns) == TABLES[name].names
    pd.testing.assert_frame_equal(getattr(load_run(tmp_path / "run"), name), empty_frame(name))


def test_raw_converters_take_no_records_at_all() -> None:
    for convert in (requests_frame, samples_frame, connections_frame):
        assert len(convert([], 0.0)) == 0


def test_all_requests_failed_without_any_answer(tmp_path: Path) -> None:
    lost = {**REFUSED, "ended_s": None, "status": "in_flight"}
    writer = finished(tmp_path / "run")
    writer.write_table("requests", requests_frame([lost, lost], 100.0))
    assert load_run(tmp_path / "run").requests["latency_ms"].isna().all()


def test_a_table_with_other_columns_is_refused(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run")
    with pytest.raises(DatasetError, match="requests: columns"):
        writer.write_table("requests", empty_frame("samples"))


def test_a_record_of_the_wrong_type_is_refused() -> None:
    with pytest.raises(DatasetError, match="does not fit"):
        requests_frame([{**OK, "bytes_received": "many"}], 0.0)


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    raw = tmp_path / "requests.jsonl"
    raw.write_text('{"client": "c1"}\n{"client": "c')
    with pytest.raises(DatasetError, match=r"requests\.jsonl:2"):
        list(read_lines([raw]))


def test_a_newer_file_is_refused_and_an_unversioned_one_too(tmp_path: Path) -> None:
    finished(tmp_path / "run")
    manifest = tmp_path / "run" / "manifest.json"
    manifest.write_bytes(orjson.dumps({"schema_version": SCHEMA_VERSION + 1}))
    newer = f"schema version {SCHEMA_VERSION + 1}, this program reads up to {SCHEMA_VERSION}"
    with pytest.raises(DatasetError, match=newer):
        load_run(tmp_path / "run")
    manifest.write_bytes(b"{}")
    with pytest.raises(DatasetError, match="no schema_version"):
        load_run(tmp_path / "run")


def test_only_complete_runs_are_listed_and_invalid_ones_on_demand(tmp_path: Path) -> None:
    finished(tmp_path / "sweep" / "b")
    finished(tmp_path / "sweep" / "a", valid=False)
    RunWriter(tmp_path / "sweep" / "c").write_manifest({})
    assert [run.run_id for run in load_runs(tmp_path)] == ["b"]
    assert [run.run_id for run in load_runs(tmp_path, valid_only=False)] == ["a", "b"]


def test_a_run_is_never_overwritten_whether_finished_or_at_work(tmp_path: Path) -> None:
    finished(tmp_path / "run")
    RunWriter(tmp_path / "other")
    for name in ("run", "other"):
        with pytest.raises(DatasetError, match="already the folder of a run"):
            RunWriter(tmp_path / name)


def test_a_folder_without_a_manifest_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no manifest\.json"):
        load_run(tmp_path)


def test_a_verdict_must_say_valid_or_not(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="valid"):
        RunWriter(tmp_path / "run").write_verdict({"reasons": []})


def stored(path: Path, columns: list[str], version: int) -> Path:
    """A run whose table `requests` has only those columns, as a program of that version wrote."""
    writer = finished(path)
    writer.write_table("requests", requests_frame([OK], 0.0))
    file = path / "requests.parquet"
    table = pq.read_table(file).select(columns)
    pq.write_table(table.replace_schema_metadata({"schema_version": str(version)}), file)
    return path


def test_what_an_older_version_did_not_have_is_null(tmp_path: Path) -> None:
    old = [name for name in TABLES["requests"].names if name not in ADDED[2]["requests"]]
    requests = load_run(stored(tmp_path / "run", old, 1)).requests
    assert list(requests.columns) == TABLES["requests"].names
    assert requests["latency_ms"].notna().all()
    assert requests[list(ADDED[2]["requests"])].isna().all(axis=None)


@pytest.mark.parametrize(("missing", "version"), [("protocol", 2), ("local", 1)])
def test_what_a_version_must_have_is_missed(tmp_path: Path, missing: str, version: int) -> None:
    columns = [name for name in TABLES["requests"].names if name != missing]
    run = load_run(stored(tmp_path / "run", columns, version))
    with pytest.raises(DatasetError, match=f"lacks the columns .*{missing}"):
        _ = run.requests


def test_faults_are_relative_to_the_start_of_load(tmp_path: Path) -> None:
    writer = finished(tmp_path / "run")
    fault = {"at_s": 5.0, "applied_s": 105.02, "action": "slow", "subject": "b1", "value": 0.25}
    writer.write_table("faults", faults_frame([fault], 100.0))
    (row,) = load_run(tmp_path / "run").faults.to_dict("records")
    assert row == {**fault, "applied_s": pytest.approx(5.02)}
