"""The benchmark's order: all parts are run and judged at the end; turns; whose code a peer runs."""

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from experiments.bench import __main__ as bench
from experiments.bench.needs import BenchError, require
from experiments.bench.plan import Plan, Record, turns
from experiments.bench.report import Sample
from experiments.lab.systems import SYSTEMS
from experiments.lab.systems.contract import Forwarding, Listener
from experiments.lab.systems.nginy import NginyKind


def measure(workload: str, ratio: float) -> bench.Measure:
    def part(_plan: Plan, record: Record) -> None:
        record(Sample(0, workload, "nginx", 100.0))
        record(Sample(0, workload, "nginy", 100.0 * ratio))

    return part


def outcome(monkeypatch: pytest.MonkeyPatch, tcp: bench.Measure, udp: bench.Measure) -> tuple:
    parts = {"TCP": (("connections",), tcp), "UDP": (("udp-sessions",), udp)}
    monkeypatch.setattr(bench, "PARTS", parts)
    monkeypatch.setattr(bench, "prepare_process", lambda: None)  # pytest's own signals stay
    done = CliRunner().invoke(bench.main, [])
    return done.exit_code, done.output


def test_a_missed_floor_is_told_after_all_parts_have_run(monkeypatch):
    code, output = outcome(monkeypatch, measure("connections", 0.1), measure("udp-sessions", 0.2))
    assert code == 1
    summary = output[output.index("floors reached: 0 of 2") :]
    assert "TCP new connections/s: 0.10" in summary
    assert "UDP new sessions/s: 0.20" in summary


@pytest.mark.parametrize("error", [BenchError, ConnectionRefusedError])
def test_what_cannot_be_measured_does_not_keep_the_rest_from_it(monkeypatch, error):
    def broken(_plan: Plan, _record: Record) -> None:
        raise error("no such thing here")

    code, output = outcome(monkeypatch, broken, measure("udp-sessions", 1.0))
    assert code == 2
    assert "TCP could not be measured: no such thing here" in output.splitlines()[-1]
    assert "floors reached: 1 of 1" in output


def test_all_floors_reached_is_success(monkeypatch):
    code, _ = outcome(monkeypatch, measure("connections", 1.0), measure("udp-sessions", 1.0))
    assert code == 0


def test_a_folder_without_nginy_is_no_peer(tmp_path):
    done = CliRunner().invoke(bench.main, ["--against", str(tmp_path)])
    assert done.exit_code == 2
    assert "no checkout of nginy" in done.output


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_turns_put_everyone_first_and_any_two_in_both_orders_equally(count):
    things = list(range(count))
    rounds = [turns(things, number) for number in range(2 * count)]
    assert all(sorted(order) == things for order in rounds)
    assert {order[0] for order in rounds} == set(things)
    for later in things:
        for sooner in range(later):
            before = sum(order.index(sooner) < order.index(later) for order in rounds)
            assert before == count


def test_another_checkout_runs_its_own_code(tmp_path):
    package = tmp_path / "checkout/nginy"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("print('the other', __file__)")
    asked = Forwarding("127.0.0.1", (Listener(9),), "127.0.0.1:10")
    argv = NginyKind("other", package.parent).command(asked, tmp_path)
    printed = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=10).stdout
    assert printed.split()[:2] == ["the", "other"]
    assert Path(printed.split()[2]).parent == package


def test_nginy_accepts_the_configuration_it_is_benched_with(tmp_path):
    listeners = (Listener(9), Listener(9, "udp"), Listener(10, "udp", True))
    argv = NginyKind().command(Forwarding("127.0.0.1", listeners, "127.0.0.1:11"), tmp_path)
    argv[argv.index("run")] = "check"
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("peer", "option"), [("nginx", "-t"), ("haproxy", "-c")])
def test_peers_accept_the_configuration_they_are_benched_with(tmp_path, peer: str, option: str):
    kind = SYSTEMS[peer]
    try:
        require([kind.needs])
    except BenchError as missing:
        pytest.skip(str(missing))
    listeners = [Listener(65_001)]
    if "udp" in kind.protocols:
        listeners += [Listener(65_002, "udp"), Listener(65_003, "udp", True)]
    asked = Forwarding("127.0.0.1", tuple(listeners), "127.0.0.1:9")
    argv = kind.command(asked, tmp_path)
    assert argv is not None
    done = subprocess.run([*argv, option], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_missing_packages_are_named():
    with pytest.raises(BenchError, match="no-such-package"):
        require([{"sh": "dash", "no-such-tool": "no-such-package"}])
