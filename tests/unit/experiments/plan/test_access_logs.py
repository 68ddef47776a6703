from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from experiments.__main__ import cli
from experiments.plan.scenario import parse_scenario
from experiments.plan.workload.access_logs import guess, parse_log

AT_S = datetime(2026, 11, 26, 22, 52, 57, tzinfo=UTC).timestamp()
LINES = {
    "web": '10.9.0.7 - bob [26/Nov/2026:22:52:57 +0000] "GET /a?b HTTP/1.1" 200 5120 "-" '
    '"curl/8.1 (x; y)" 0.250',
    "nginx-stream": "10.9.0.7 [26/Nov/2026:22:52:57 +0000] TCP 200 5120 310 0.250",
    "nginy": '{"client": "10.9.0.7:40312", "opened_s": 57.25, "duration_ms": 251.0, '
    '"connect_ms": 1.0, "bytes_up": 310, "bytes_down": 5120}',
    "haproxy": "Nov 26 22:52:57 lb haproxy[31]: 10.9.0.7:33312 [26/Nov/2026:22:52:57.125] in "
    "web/srv1 2/1/253 5120 -- 1/1/0/0/0 0/0",
}


@pytest.mark.parametrize("name", LINES)
def test_each_format_is_recognised_and_read(name: str) -> None:
    line = LINES[name]
    assert guess([line, "", "something else"] + [line] * 3) == name
    ((row,), bad, _) = parse_log([line], name, usual_ms=10)
    assert bad == 0
    assert (row.client, row.response_bytes) == ("10.9.0.7", 5120)
    assert row.demand_ms == pytest.approx(250)
    assert row.request_bytes == (310 if name in ("nginx-stream", "nginy") else 0)
    if name in ("web", "nginx-stream"):
        assert row.time_s == pytest.approx(AT_S - 0.25), "a log's time is that of the end"


def test_what_the_log_does_not_say_is_as_usual() -> None:
    plain = '10.9.0.7 - - [26/Nov/2026:22:52:57 +0000] "GET / HTTP/1.0" 304 -'
    ((row,), _, _) = parse_log([plain], "web", usual_ms=30)
    assert (row.response_bytes, row.demand_ms) == (0, 30)


def test_lines_of_another_kind_are_counted_and_the_first_is_shown() -> None:
    lines = [LINES["nginx-stream"], "garbage [", "{}", '{"client": 5}']
    parsed = parse_log(lines, "nginx-stream", 10)
    assert (len(parsed.rows), parsed.bad, parsed.first_bad) == (1, 3, "garbage [")
    assert parse_log(lines, "nginy", 10).bad == 4
    assert guess(["one", "two"]) is None


def test_a_log_becomes_a_scenario_that_can_be_planned(tmp_path: Path) -> None:
    log, out = tmp_path / "access.log", tmp_path / "trace.csv"
    log.write_text("\n".join([*[LINES["web"]] * 5, "?"]))
    told = CliRunner().invoke(cli, ["trace-from", str(log), "--out", str(out)])
    assert told.exit_code == 0, told.output
    said = " ".join(told.output.split())
    assert "5 requests of format web" in said
    assert "1 lines are not" in said
    assert list(pd.read_csv(out)["response_bytes"]) == [5120] * 5
    asked = parse_scenario({"workload": {"kind": "trace", "path": str(out)}}, "test")
    assert sum(map(len, asked.plans())) == 5


def test_a_log_of_no_known_format_is_refused_with_those_there_are(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("what is this\n")
    words = ["trace-from", str(log), "--out", str(tmp_path / "t.csv")]
    told = CliRunner().invoke(cli, words)
    assert "none of web, nginx-stream, haproxy, nginy" in str(told.exception)
