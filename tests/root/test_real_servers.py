"""Real servers behind the balancer and a real client before it, against the servers' own logs."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from experiments.analysis.client_totals import client_totals
from experiments.analysis.summary import summarise
from experiments.plan.scenario import parse_scenario
from experiments.present.draw import draw_run
from experiments.tables.dataset import Run
from experiments.tables.schema import DatasetError, read_lines
from tests.root.short_runs import run

pytestmark = pytest.mark.root

SHORT = {
    "network": {"clients": 2, "backends": 3, "client_link": {"delay_ms": 20}},
    "duration_s": 5,
    "warmup_s": 1,
}
HTTP = {"kind": "http", "rate_rps": 40, "response_bytes": 3000}
needs_nginx = pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")
needs_wrk = pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed")


def _run(folder: Path, **settings: Any) -> Run:
    return run(parse_scenario(SHORT | settings, "test"), folder)


def _logged(finished: Run) -> pd.DataFrame:
    logs = sorted((finished.path / "raw").glob("access-*.jsonl"))
    return pd.DataFrame(read_lines(logs))


def _drops(finished: Run) -> dict[str, int]:
    files = (finished.path / "raw").glob("samples-b*.jsonl")
    return {row["backend"]: row["listen_drops"] for row in read_lines(files) if row.get("final")}


@needs_nginx
@pytest.mark.parametrize("mode", ["per_request", "persistent"])
def test_every_answer_is_in_the_log_of_the_server_that_the_table_names(
    tmp_path: Path, mode: str
) -> None:
    finished = _run(tmp_path, backends={"server": "nginx"}, workload={**HTTP, "mode": mode})
    assert finished.manifest["server"]["name"] == "nginx"
    requests = finished.requests
    assert set(requests["status"]) == {"ok"}
    assert (requests["bytes_received"] == 3000).all()
    assert requests[["demand_ms", "wait_ms", "service_ms"]].isna().all(axis=None)
    logged = _logged(finished).astype({"seq": int}).set_index(["client", "seq"])["backend"]
    table = requests.set_index(["client", "seq"])["backend"]
    assert logged.sort_index().equals(table.sort_index().rename("backend"))
    assert len(set(table)) == 3
    drawn = {path.stem for path in draw_run(finished)}
    assert {"latency_ccdf", "backend_load", "latency_stack"} <= drawn


@needs_nginx
@needs_wrk
def test_what_wrk_counts_is_in_the_tables_and_in_the_servers_logs(tmp_path: Path) -> None:
    workload = {"kind": "wrk", "connections": 3, "response_bytes": 3000}
    finished = _run(tmp_path, backends={"server": "nginx"}, workload=workload)
    totals = client_totals(finished.samples)
    assert list(totals.index) == ["c1", "c2"]
    counts = _logged(finished)["client"].value_counts()
    for client, row in totals.iterrows():
        assert row["requests"] <= counts[client] <= row["requests"] + 3
        assert row["latency_p50_ms"] > 40
    assert finished.requests.empty
    assert {path.stem for path in draw_run(finished)} == {"one_way_delay"}
    with pytest.raises(DatasetError, match="wrk gives totals alone"):
        summarise(finished)


def test_any_program_may_serve_and_the_balancers_records_say_which_did(tmp_path: Path) -> None:
    # Python's own server looks up its name first, which takes seconds where nobody answers.
    program = (
        "import http.server as h, functools as f, sys\n"
        "h.ThreadingHTTPServer.server_bind = h.socketserver.TCPServer.server_bind\n"
        "handler = f.partial(h.SimpleHTTPRequestHandler, directory=sys.argv[3])\n"
        "server = h.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), handler)\n"
        "server.server_name, server.server_port = sys.argv[1:3]\n"
        "server.serve_forever()\n"
    )
    argv = [sys.executable, "-c", program, "{address}", "{port}", "{files}"]
    faults = [{"at": "2 s", "pause": "b2"}, {"at": "3 s", "restore": "b2"}]
    finished = _run(
        tmp_path, backends={"server": "command", "argv": argv}, workload=HTTP, faults=faults
    )
    answered = finished.requests[finished.requests["status"] == "ok"]
    assert set(answered["backend"]) == {"b1", "b2", "b3"}
    # Its listen queue has room for five; that is its own affair, and said.
    drops = {"b1": 0, "b2": 0, "b3": 0} | _drops(finished)
    assert drops["b1"] == drops["b3"] == 0
    labels = " ".join(finished.verdict["labels"])
    assert (f"b2 had no room for {drops['b2']} connections" in labels) is (drops["b2"] > 0)
    said = finished.connections["backend"].value_counts()
    assert all(said[name] >= count for name, count in answered["backend"].value_counts().items())
