"""The typed tables of a run and how raw JSON lines become them. Pure but for reading the lines.

Times ending in `_s` are seconds since the start of load (negative before it); the raw files hold
CLOCK_MONOTONIC seconds, which every namespace of one kernel shares. What did not happen is null.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pyarrow as pa

from nginy.errors import NginyError

SCHEMA_VERSION = 4
"""Of all result files. 2: UDP and faults; 3: what the machine added to requests. What a file of an
older version lacks of the columns that came later is read as null (`ADDED`); where a column changed
its meaning there would be an error."""


class DatasetError(NginyError):
    """A result file cannot be used: missing, damaged, of the wrong shape, or of a newer version."""


def _columns(**types: pa.DataType) -> pa.Schema:
    return pa.schema(list(types.items()))


TEXT, REAL, WHOLE = pa.string(), pa.float64(), pa.int64()

REQUESTS = _columns(
    client=TEXT,
    seq=WHOLE,
    intended_s=REAL,
    sent_s=REAL,
    connected_s=REAL,
    first_byte_s=REAL,
    ended_s=REAL,
    latency_ms=REAL,
    status=TEXT,
    backend=TEXT,
    demand_ms=REAL,
    wait_ms=REAL,
    service_ms=REAL,
    response_bytes=WHOLE,
    bytes_received=WHOLE,
    request_bytes=WHOLE,
    connection=WHOLE,
    user=WHOLE,
    local=TEXT,
    protocol=TEXT,
    late_s=REAL,
    copies=WHOLE,
    received_s=REAL,
    answered_s=REAL,
    machine_ms=REAL,
)
"""One row per request offered. `latency_ms` = end - intended start (not the actual one: a late
generator must not hide waiting); it says how long an answer took where `status` is `ok`, and how
long it took to fail elsewhere. `backend` is the one that answered, or where no answer came the one
that the balancer's records name; null for a request that reached none. `wait_ms`, `service_ms`: the
backend's own account of its queue. Of UDP only: `late_s` is when an answer came after its timeout,
but within another one (status `timeout`, late; without it: lost), `copies` how often the answer
came, `received_s` and `answered_s` when the backend got the request and sent the answer.
`connection` and `user` as in table `plan`; `request_bytes`: payload sent. `machine_ms`: how much of
the latency was this machine's, as far as is known (`judge/punctuality.py`)."""

SAMPLES = _columns(t_s=REAL, source=TEXT, quantity=TEXT, value=REAL)
"""Long format, one row per number sampled. `source` is a backend's or client's name; quantities:
active_connections, queue_length, busy (now); arrived, completed, rejected (since start);
in_flight (now, per client); cpu_s, cpu_wait_s (of the process in that host, or of the link emulator
`links`: total time on a processor, and waiting for one); of a background flow (`c1>b1`)
background_sent_mbps and background_received_mbps, of its payload, over a second."""

CONNECTIONS = _columns(
    id=TEXT,
    rule=TEXT,
    listener=TEXT,
    client=TEXT,
    backend=TEXT,
    backend_address=TEXT,
    upstream_local=TEXT,
    opened_s=REAL,
    closed_s=REAL,
    connect_ms=REAL,
    first_byte_ms=REAL,
    duration_ms=REAL,
    bytes_up=WHOLE,
    bytes_down=WHOLE,
    backends_tried=pa.list_(TEXT),
    close_reason=TEXT,
    protocol=TEXT,
    datagrams_up=WHOLE,
    datagrams_down=WHOLE,
)
"""The balancer's own records, one row per closed connection or UDP session. Addresses are
`ip:port`. Datagrams are null for TCP."""

FLOWS = _columns(
    capture_point=TEXT,
    client_address=TEXT,
    client_port=WHOLE,
    server_address=TEXT,
    server_port=WHOLE,
    backend=TEXT,
    first_s=REAL,
    last_s=REAL,
    duration_s=REAL,
    packets_up=WHOLE,
    packets_down=WHOLE,
    wire_bytes_up=WHOLE,
    wire_bytes_down=WHOLE,
    payload_bytes_up=WHOLE,
    payload_bytes_down=WHOLE,
    retransmissions_up=WHOLE,
    retransmissions_down=WHOLE,
    out_of_order_up=WHOLE,
    out_of_order_down=WHOLE,
    syn_retries=WHOLE,
    synack_retries=WHOLE,
    handshake_rtt_ms=REAL,
    server_rtt_ms=REAL,
    client_rtt_ms=REAL,
    ended=TEXT,
    protocol=TEXT,
    last_up_s=REAL,
)
"""One row per TCP connection or UDP flow seen at a capture point; defined in
`pcap/flows.py`. A UDP flow has packets, bytes and times, and null for the rest."""

FAULTS = _columns(at_s=REAL, applied_s=REAL, action=TEXT, subject=TEXT, value=REAL)
"""One row per fault of the scenario: when it was due, when it was applied, what was done to whom
(several hosts joined by `+`); `value` in the unit of that kind (experiments/plan/faults.py), null
where it takes none."""

PLAN = _columns(
    client=TEXT,
    seq=WHOLE,
    arrival_s=REAL,
    think_s=REAL,
    user=WHOLE,
    connection=WHOLE,
    demand_us=WHOLE,
    request_bytes=WHOLE,
    response_bytes=WHOLE,
)
"""One row per request that clients are to send, made before the run by
`experiments/plan/workload/plan.py`: at `arrival_s`, or where that is null `think_s` after the end
of the request before it of the same `user` (-1: nobody's). Requests of one client with the same
`connection` share one, which is closed after the last of them."""

TABLES = {
    "requests": REQUESTS,
    "samples": SAMPLES,
    "connections": CONNECTIONS,
    "flows": FLOWS,
    "faults": FAULTS,
    "plan": PLAN,
}

ADDED: dict[int, dict[str, tuple[str, ...]]] = {
    2: {
        "requests": ("protocol", "late_s", "copies", "received_s", "answered_s"),
        "connections": ("protocol", "datagrams_up", "datagrams_down"),
        "flows": ("protocol", "last_up_s"),
    },
    3: {"requests": ("machine_ms",)},
    4: {"requests": ("request_bytes", "connection", "user")},
}
"""By schema version: the columns that came with it."""
RENAMED = {4: {"faults": {"backend": "subject", "factor": "value"}}}
"""By schema version: the columns that got another name."""

BACKEND_QUANTITIES = (
    "active_connections",
    "queue_length",
    "busy",
    "arrived",
    "completed",
    "rejected",
)


def to_arrow(name: str, frame: pd.DataFrame) -> pa.Table:
    """`frame` with exactly the columns and types of table `name`; DatasetError if it has others."""
    schema = TABLES[name]
    if list(frame.columns) != schema.names:
        raise DatasetError(f"{name}: columns {list(frame.columns)} are not {schema.names}")
    try:
        table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
    except pa.ArrowException as error:
        raise DatasetError(f"{name}: {error}") from error
    return table.replace_schema_metadata({"schema_version": str(SCHEMA_VERSION)})


def empty_frame(name: str) -> pd.DataFrame:
    """Table `name` without rows, with its column types."""
    return _frame([], TABLES[name])


def read_lines(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """Every object of these JSON-lines files; DatasetError names file and line of a damaged one."""
    for path in paths:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    yield orjson.loads(line)
                except orjson.JSONDecodeError as error:
                    raise DatasetError(f"{path}:{number}: not a JSON object: {error}") from error


def requests_frame(records: Iterable[dict[str, Any]], t0_s: float) -> pd.DataFrame:
    """The load generators' records as table `requests`, in order of intended start."""
    frame = _frame(records, REQUESTS)
    times = ("intended_s", "sent_s", "connected_s", "first_byte_s", "ended_s")
    _shift(frame, (*times, "late_s", "received_s", "answered_s"), t0_s)
    return _with_latency(frame)


def requests_of_columns(columns: Mapping[str, Any]) -> pd.DataFrame:
    """The same of whole columns, whose times count from the start of load; one value stands for a
    column of it, and what is missing is null."""
    return _with_latency(_frame_of_columns(columns, REQUESTS))


def _with_latency(frame: pd.DataFrame) -> pd.DataFrame:
    frame["latency_ms"] = (frame["ended_s"] - frame["intended_s"]) * 1000.0
    return frame.sort_values(["intended_s", "client", "seq"], ignore_index=True)


def samples_frame(records: Iterable[dict[str, Any]], t0_s: float) -> pd.DataFrame:
    """Backends' and clients' periodic samples as table `samples`; final totals are left out."""
    frame = _frame((row for record in records for row in _sample_rows(record)), SAMPLES)
    _shift(frame, ("t_s",), t0_s)
    return frame.sort_values(["source", "quantity", "t_s"], ignore_index=True)


def connections_frame(records: Iterable[dict[str, Any]], t0_s: float) -> pd.DataFrame:
    """nginy's access log as table `connections`, in order of opening."""
    frame = _frame(({**record, "id": str(record["id"])} for record in records), CONNECTIONS)
    _shift(frame, ("opened_s", "closed_s"), t0_s)
    return frame.sort_values("opened_s", ignore_index=True, kind="stable")


def connections_of_columns(columns: Mapping[str, Any]) -> pd.DataFrame:
    """The same of whole columns; see `requests_of_columns`."""
    frame = _frame_of_columns(columns, CONNECTIONS)
    return frame.sort_values("opened_s", ignore_index=True, kind="stable")


def faults_frame(rows: Iterable[dict[str, Any]], t0_s: float) -> pd.DataFrame:
    """What was applied as table `faults`; `applied_s` comes in CLOCK_MONOTONIC seconds."""
    frame = _frame(rows, FAULTS)
    _shift(frame, ("applied_s",), t0_s)
    return frame


def flows_frame(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Rows that already are in the units of table `flows` (see `pcap/flows.py`)."""
    return _frame(rows, FLOWS)


def _sample_rows(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "quantity" in record:  # a row already
        yield record
    elif not record.get("final"):
        source, quantities = _who(record)
        for quantity in quantities:
            value = record[quantity]
            yield {"t_s": record["t_s"], "source": source, "quantity": quantity, "value": value}


def _who(record: dict[str, Any]) -> tuple[str, Sequence[str]]:
    if "backend" in record:
        return record["backend"], BACKEND_QUANTITIES
    return record["client"], ("in_flight",)


def _frame(rows: Iterable[dict[str, Any]], schema: pa.Schema) -> pd.DataFrame:
    try:
        table = pa.Table.from_pylist(list(rows), schema=schema)
    except pa.ArrowException as error:
        raise DatasetError(f"a raw record does not fit its table: {error}") from error
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _frame_of_columns(columns: Mapping[str, Any], schema: pa.Schema) -> pd.DataFrame:
    count = max(len(each) for each in columns.values() if not isinstance(each, str))
    arrays = []
    for name, kind in zip(schema.names, schema.types, strict=True):
        values = columns.get(name)
        if values is None or isinstance(values, str):
            arrays.append(pa.repeat(pa.scalar(values, kind), count))
        else:
            arrays.append(pa.array(values, kind))
    frame: pd.DataFrame = pa.Table.from_arrays(arrays, schema=schema).to_pandas()
    return frame


def _shift(frame: pd.DataFrame, columns: Iterable[str], t0_s: float) -> None:
    for column in columns:
        frame[column] -= t0_s
