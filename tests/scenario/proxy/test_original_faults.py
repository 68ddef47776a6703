"""Faults of the project this one grew out of, each shown to be absent from a whole server.

The list, with the tests elsewhere that belong to it: docs/features.md, "The original project's
faults".
"""

import json
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.scenario.proxy.greeters import ask, free_port, greeter

ORIGINAL = Path(__file__).parents[2] / "data" / "config" / "original.yaml"
EVERYBODY = "0.0.0.0/0:PORT"


@pytest.fixture
def greeters(own: ExitStack) -> list[dict[str, object]]:
    return [{"address": greeter(own, name)} for name in ("b1", "b2")]


def rule(**settings: object) -> dict[str, object]:
    return {"clients": [EVERYBODY], "targets": ["b1", "b2"], **settings}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_longest_prefix_wins_whatever_the_order_of_the_rules(proxy, greeters, order):
    """It tried the shortest prefix first, so that 0.0.0.0/0 always won."""
    rules = [
        rule(name="all", targets=["b1"]),
        rule(name="near", targets=["b2"], clients=["127.0.0.0/24:PORT"]),
    ]
    balancer = proxy(greeters, rules=[rules[place] for place in order])
    assert ask(balancer.port, "127.0.0.9") == "b2"
    assert ask(balancer.port, "127.0.1.9") == "b1"


def test_ports_of_one_rule_take_turns_together(proxy, greeters):
    """It had a balancer per port: every port began with the first backend."""
    other = free_port()
    balancer = proxy(greeters, rules=[rule(clients=[EVERYBODY, f"0.0.0.0/0:{other}"])])
    assert [ask(port) for port in (balancer.port, other) * 3] == ["b1", "b2"] * 3


def test_a_source_hash_can_be_chosen_and_keeps_clients(proxy, greeters):
    """It was written and tested, and no configuration could select it."""
    balancer = proxy(greeters, rules=[rule(strategy={"type": "SourceIPHash"})])
    hosts = [f"127.0.{n}.1" for n in range(7)]  # odd, so that two rounds in turn would differ
    first = [ask(balancer.port, host) for host in hosts]
    assert set(first) == {"b1", "b2"}
    assert [ask(balancer.port, host) for host in hosts] == first


class Reporters:
    """A balancer that goes by load reports; each backend has a connection to report by."""

    def __init__(self, own: ExitStack, proxy, backends, **strategy: object) -> None:
        self._own = own
        self._to = ("127.0.0.1", free_port())
        strategy = {"type": "Adaptive", "interval_s": 0.01, **strategy}
        address = "{}:{}".format(*self._to)
        rules = [rule(strategy=strategy)]
        self._balancer = proxy(backends, rules=rules, healthcheck_addr=address)

    def connect(self) -> socket.socket:
        return self._own.enter_context(socket.create_connection(self._to))

    @staticmethod
    def report(by: socket.socket, backend_id: str, percent: int) -> None:
        line = {"id": backend_id, "cpu": percent, "mem": percent, "net": percent, "io": percent}
        by.sendall(json.dumps(line).encode() + b"\n")

    def who_serves(self) -> set[str]:
        return {ask(self._balancer.port) for _ in range(4)}


def test_without_any_report_not_everything_goes_to_the_first(own, proxy, greeters):
    """Its Adaptive took the first backend until somebody had reported."""
    assert Reporters(own, proxy, greeters).who_serves() == {"b1", "b2"}


def test_several_reporters_are_heard_at_once(own, proxy, greeters, wait_until):
    """It read one reporter until that hung up, and all others waited."""
    balancer = Reporters(own, proxy, greeters)
    first, second = balancer.connect(), balancer.connect()
    for loads, chosen in (((90, 10), {"b2"}), ((10, 90), {"b1"})):
        for reporter, backend_id, load in zip((first, second), ("b1", "b2"), loads, strict=True):
            balancer.report(reporter, backend_id, load)
        wait_until(lambda chosen=chosen: balancer.who_serves() == chosen, f"{chosen} alone")


def test_reports_expire(own, proxy, greeters, wait_until):
    """It believed for ever what a backend had said last."""
    balancer = Reporters(own, proxy, greeters, report_ttl_s=0.2)
    reporter = balancer.connect()

    def reported() -> bool:
        balancer.report(reporter, "b1", 90)
        balancer.report(reporter, "b2", 10)
        return balancer.who_serves() == {"b2"}

    wait_until(reported, "the reports to count")
    wait_until(lambda: balancer.who_serves() == {"b1", "b2"}, "silence to undo them")


def test_its_file_serves_with_adaptive(own, proxy, wait_until):
    """Only the addresses are others here, and the strategy is the one with parameters."""
    document = YAML(typ="safe").load(ORIGINAL)
    report_to = ("127.0.0.1", free_port())
    document["healthcheck_addr"] = "{}:{}".format(*report_to)
    for backend in document["backends"]:
        host, _, port = greeter(own, backend["id"]).partition(":")
        apart = {"ip": host, "port": int(port)}
        backend |= apart if "port" in backend else {"ip": f"{host}:{port}"}
    for each, port in zip(document["rules"], ["PORT", free_port()], strict=True):
        each["clients"] = [f"{match.rpartition(':')[0]}:{port}" for match in each["clients"]]
        each["strategy"] = {"type": "Adaptive", "coefficients": [1.5, 1, 0.5, 0.1], "alpha": 0.75}
    balancer = proxy(**document)
    assert {ask(balancer.port) for _ in range(4)} == {"srv-1", "srv-2"}
    with socket.create_connection(report_to) as reporter:
        Reporters.report(reporter, "srv-1", 90)
        Reporters.report(reporter, "srv-2", 10)
        wait_until(lambda: {ask(balancer.port) for _ in range(4)} == {"srv-2"}, "reports to count")
