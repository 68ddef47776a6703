"""The deterministic methods give the very sequences recorded from nginx.

Each file of tests/data/vectors holds the nginx configuration, the input and the servers that
answered; servers, weights, limits and states are read from the configuration.
"""

from itertools import islice
from typing import Any

import pytest

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.pool import Lease, Outcome
from nginy.balancer.ketama import KetamaRing, points_of
from nginy.balancer.response_time import average, time_class
from tests.unit.balancer.nginx_recording import CONNECT_S, Rig, cases, load_vector


@pytest.mark.parametrize("case", cases("nginx_smooth_wrr"))
def test_round_robin(case: str) -> None:
    vector = load_vector("nginx_smooth_wrr")
    given = vector["input"][case]
    rig = Rig("round_robin", vector["config"][case])
    if given.get("hold"):
        answers = [rig.open()[0] for _ in range(given["connections"])]
    else:
        answers = [rig.serve() for _ in range(given["connections"])]
    assert answers == vector["expected"][case]


@pytest.mark.parametrize("case", cases("nginx_smooth_wrr_failure"))
def test_round_robin_with_failures_and_backups(case: str) -> None:
    vector = load_vector("nginx_smooth_wrr_failure")
    rig = Rig("round_robin", vector["config"][case])
    attempts: list[list[int]] = []
    for phase in vector["input"][case]["phases"]:
        rig.now += phase.get("after_s", 0.0)
        refusing = phase.get("refusing", ())
        attempts += [rig.attempts(refusing=refusing) for _ in range(phase["connections"])]
    assert attempts == vector["expected"][case]


@pytest.mark.parametrize("case", cases("nginx_least_conn"))
def test_least_conn(case: str) -> None:
    vector = load_vector("nginx_least_conn")
    rig = Rig("least_conn", vector["config"][case])
    assert list(rig.script(vector["input"][case]["script"])) == vector["expected"][case]


def addresses(vector: dict[str, Any], case: str) -> list[Address]:
    """`keys_127`, or `first 500 of keys_127, again`."""
    words = str(vector["input"][case]["keys"]).replace(",", "").split()
    keys = next(vector["input"][word] for word in words if word.startswith("keys_"))
    count = int(words[words.index("first") + 1]) if "first" in words else len(keys)
    return [Address(key, 40000) for key in keys[:count]]


def answers_of(method: str, name: str, case: str) -> list[int | None]:
    vector = load_vector(name)
    rig = Rig(method, vector["config"][case])
    clients = addresses(vector, case)
    refusing = vector["input"][case].get("refusing", ())
    # A second pass goes on where the first one left the round robin of those who found nobody.
    for _ in range(vector["input"][case]["keys"].count("again")):
        for client in clients:
            rig.serve(client, refusing)
    return [rig.serve(client, refusing) for client in clients]


@pytest.mark.parametrize("case", cases("nginx_hash"))
@pytest.mark.parametrize("method", ["source_hash", "hash"])
def test_hash(method: str, case: str) -> None:
    expected = load_vector("nginx_hash")["expected"][case]
    assert answers_of(method, "nginx_hash", case) == expected


@pytest.mark.parametrize("case", cases("nginx_hash_consistent"))
def test_ketama(case: str) -> None:
    expected = load_vector("nginx_hash_consistent")["expected"][case]
    assert answers_of("ketama", "nginx_hash_consistent", case) == expected


def test_ketama_points() -> None:
    given = load_vector("nginx_hash_consistent")["input"]
    for name, expected in given.items():
        if name.startswith("first_"):
            points = points_of(name.rpartition("_")[2], weight=1)
            assert [f"{p:08x}" for p in islice(points, len(expected))] == expected
    for name, expected in given["ring_head"].items():
        ring = KetamaRing()
        host, _, port = name.partition(":")
        ring.members_changed([Backend("0", Address(host, int(port)))], 0.0)
        assert [f"{p:08x}" for p in ring.points[: len(expected)]] == expected


@pytest.mark.parametrize("case", cases("nginx_ip_hash"))
def test_ip_hash(case: str) -> None:
    expected = load_vector("nginx_ip_hash")["expected"][case]
    assert answers_of("ip_hash", "nginx_ip_hash", case) == expected


def least_time_answers(rig: Rig, given: dict[str, Any]) -> list[int | None]:
    """`seq` n: connections one after another; `held` n: kept open; else so many seconds pass."""
    answers: list[int | None] = []
    held: list[Lease] = []
    for action, amount in given["plan"]:
        if action not in ("seq", "held"):
            rig.now += amount
            continue
        for _ in range(amount):
            index, lease = rig.open()
            answers.append(index)
            assert index is not None
            assert lease is not None
            delay_s = given["first_byte_delay_ms"][index] / 1000
            rig.now += delay_s
            lease.first_byte(delay_s, rig.now)
            if action == "held":
                held.append(lease)
            else:
                lease.release(Outcome(False, 0, 1, delay_s, CONNECT_S, delay_s), rig.now)
    return answers


def least_time_settings(config: str) -> dict[str, Any]:
    """Of the line `least_time METRIC [inflight];`."""
    words = config.partition("least_time ")[2].partition(";")[0].split()
    return {"metric": words[0], "inflight": "inflight" in words}


@pytest.mark.parametrize("case", cases("nginx_least_time"))
def test_least_time(case: str) -> None:
    vector = load_vector("nginx_least_time")
    config = vector["config"][case]
    rig = Rig("least_time", config, least_time_settings(config))
    assert least_time_answers(rig, vector["input"][case]) == vector["expected"][case]


def test_least_time_halved_by_silence_as_a_recording_would_have_it() -> None:
    """No such recording is at hand: replayed by the same rig, the answers follow from the rule.

    105 ms halved three times in 9 s of silence count as 20 ms, as many as the other's, so that
    round robin decides.
    """
    config = """least_time first_byte;
        server 127.0.0.1:21000 weight=1 fail_timeout=2s;
        server 127.0.0.1:21001 weight=1 fail_timeout=2s;
    """
    rig = Rig("least_time", config, least_time_settings(config))
    plan = [["seq", 4], ["sleep", 9.5], ["seq", 2]]
    given = {"first_byte_delay_ms": [105, 5], "plan": plan}
    assert least_time_answers(rig, given) == [0, 1, 1, 1, 1, 0]


def test_least_time_averages_and_classes() -> None:
    vector = load_vector("derived_examples")
    given = vector["input"]["nginx_least_time_pieces"]
    expected = vector["expected"]["nginx_least_time_pieces"]
    averages, value = [], 0
    for sample in given["samples_ms"]:
        value = average(value, sample)
        averages.append(value)
    assert averages == expected["ema"]
    assert [time_class(ms) for ms in given["rt_ms"]] == expected["class"]
