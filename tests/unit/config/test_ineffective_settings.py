"""A setting that would be ignored is an error, and one mistake stays one error."""

import pytest

from nginy.config.load import parse
from nginy.errors import ConfigError


def problems(backend: str = "", rule: str = "") -> list[str]:
    """Of a file with these settings: the backend's on line 2, the rule's from line 6."""
    lines = [
        "backends:",
        f'  - {{id: a, address: "10.0.1.11:81"{backend}}}',
        "rules:",
        '  - clients: ["0.0.0.0/0:53"]',
        "    targets: [a]",
        *(f"    {line}" for line in rule.splitlines()),
    ]
    try:
        parse("\n".join(lines), "f")
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


UDP_IDLE = "f:7: rules[0].timeouts.idle_timeout_ms: has no effect on a UDP rule"
OF_A_RULE = {
    "udp: {requests: 1}": [
        "f:6: rules[0].udp: has no effect on a TCP rule (expected protocol: udp)"
    ],
    "protocol: udp\nqueue: {max_waiting: 9}": [
        "f:7: rules[0].queue: has no effect on a UDP rule: a datagram does not wait"
        " (expected protocol: tcp)"
    ],
    "protocol: udp\ntimeouts: {idle_timeout_ms: 9}": [
        f"{UDP_IDLE} (expected udp: {{idle_timeout_ms: ...}})"
    ],
    "protocol: udp\ntimeouts: {connect_timeout_ms: 9}": [
        "f:7: rules[0].timeouts.connect_timeout_ms: has no effect on a UDP rule"
        " (expected protocol: tcp)"
    ],
    "queue: {timeout_ms: 9}": [
        "f:6: rules[0].queue.timeout_ms: has no effect without max_waiting (expected max_waiting)"
    ],
    "protocol: UDP\nudp: {requests: 1}": [
        "f:6: rules[0].protocol: 'UDP' is not valid (expected 'tcp' or 'udp')"
    ],
    "access: [{deny: }]": [
        "f:6: rules[0].access[0].deny: no value is not a network (expected a CIDR, or all)"
    ],
    "access: [{alow: all}]": [
        "f:6: rules[0].access[0].alow: unknown setting; did you mean 'allow'?"
        " (expected one of allow, deny)"
    ],
    "strategy: {type: adaptive, coefficients: [1, 2, 3]}": [
        "f:6: rules[0].strategy.coefficients[3]: is missing (expected more entries)"
    ],
    "strategy: {type: adaptive, coefficients: [1, 2, 3, 4, 5]}": [
        "f:6: rules[0].strategy.coefficients: has too many entries (expected at most 4)"
    ],
    "protocol: udp\nudp: {requests: 1}\nqueue: {max_waiting: 0}": [],
    "protocol: udp\nretries: {max_tries: 1}\nlimits: {upload_bytes_per_s: 9}": [],
    "udp: {}\nqueue: {max_waiting: 1, timeout_ms: 9}": [],
}


@pytest.mark.parametrize("settings", OF_A_RULE)
def test_of_a_rule(settings: str) -> None:
    assert problems(rule=settings) == OF_A_RULE[settings]


WITHOUT_FAILS = (
    "has no effect without max_fails"
    " (expected max_fails: 1, say, which is nginx's default and not this program's)"
)
BESIDE = (
    "stands beside address, which says it all (expected address: IP:port alone, or ip and port)"
)
OF_A_BACKEND = {
    "fail_timeout_s: 5": [f"f:2: backends[0].fail_timeout_s: {WITHOUT_FAILS}"],
    "fail_timeout_max_s: 50": [f"f:2: backends[0].fail_timeout_max_s: {WITHOUT_FAILS}"],
    "max_fails: 1, fail_timeout_max_s: 5": [
        "f:2: backends[0].fail_timeout_max_s: 5 is below fail_timeout_s (expected at least 10)"
    ],
    "max_fails: 0, fail_timeout_s: 5": [],
    "max_fails: 1, fail_timeout_s: 5, fail_timeout_max_s: 5": [],
    "ip: 10.0.1.11": [f"f:2: backends[0].ip: {BESIDE}"],
    "port: 81": [f"f:2: backends[0].port: {BESIDE}"],
}


@pytest.mark.parametrize("settings", OF_A_BACKEND)
def test_of_a_backend(settings: str) -> None:
    assert problems(backend=f", {settings}") == OF_A_BACKEND[settings]


@pytest.mark.parametrize(("weight", "accepted"), [(52_428, True), (52_429, False)])
def test_a_ring_has_room_for_so_many_points(weight: int, accepted: bool) -> None:
    """More would take minutes and gigabytes, at the start and at each change of a weight."""
    found = problems(f", weight: {weight}", "strategy: {type: ketama}")
    expected = (
        "f:6: rules[0].strategy: the weights sum up to 52429, and each unit is 160 points"
        " (expected at most 52428 in all)"
    )
    assert found == ([] if accepted else [expected])
    assert problems(f", weight: {weight}", "strategy: {type: maglev}") == []


@pytest.mark.parametrize("key", ["1", "true", "~"])
def test_keys_are_text(key: str) -> None:
    (problem,) = problems(rule=f"{key}: 2")
    assert problem.startswith("f:6: rules[0].")
    assert problem.endswith("is not text (expected a name, quoted if need be)")
