"""Every mistake has its own error, with the line, the key and what would be right."""

import pytest

from nginy.config.load import parse
from nginy.config.strategies import STRATEGIES
from nginy.errors import ConfigError

# Lines 1 to 9 of the file every mistake is made in; "@" is replaced by a mistake.
TEMPLATE = """\
backends:
  - {id: srv-1, address: "10.0.1.11:81"}
  - {id: srv-2, address: "10.0.1.12:82"}
clusters:
  main: [srv-1, srv-2]
rules:
  - clients: ["0.0.0.0/0:8080"]
    targets: [main]
    strategy: {type: random}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f")
    return [str(problem) for problem in caught.value.problems]


def test_the_template_is_right() -> None:
    assert len(parse(TEMPLATE, "f").backends) == 2


HEX = "0x" + 5000 * "f"
NINES = 5000 * "9"

MISTAKES = {
    "duplicate backend": (
        "clusters:",
        '  - {id: srv-1, address: "10.0.1.13:83"}\nclusters:',
        "f:4: backends[2].id: backend 'srv-1' is defined twice, first on line 2"
        " (expected a unique id)",
    ),
    "backend and cluster": (
        "clusters:",
        '  - {id: main, address: "10.0.1.13:83"}\nclusters:',
        "f:4: backends[2].id: 'main' is also the name of a cluster, on line 6"
        " (expected different names, as targets may be either)",
    ),
    "duplicate cluster": (
        "  main: [srv-1, srv-2]\n",
        "  main: [srv-1, srv-2]\n  main: [srv-1]\n",
        "f:6: clusters.main: written twice, first on line 5 (expected one of them)",
    ),
    "duplicate key": (
        "    targets: [main]\n",
        "    targets: [main]\n    targets: [srv-1]\n",
        "f:9: rules[0].targets: written twice, first on line 8 (expected one of them)",
    ),
    "unknown target": (
        "targets: [main]",
        "targets: [srv-1, mian]",
        "f:8: rules[0].targets[1]: unknown target 'mian'; did you mean 'main'?"
        " (expected a cluster or a backend)",
    ),
    "unknown member": (
        "main: [srv-1, srv-2]",
        "main: [srv-1, srv2]",
        "f:5: clusters.main[1]: unknown backend 'srv2'; did you mean 'srv-2'?"
        " (expected the id of a backend)",
    ),
    "cluster in cluster": (
        "  main: [srv-1, srv-2]\n",
        "  main: [srv-1, srv-2]\n  both: [main]\n",
        "f:6: clusters.both[0]: 'main' is a cluster (expected the id of a backend)",
    ),
    "empty cluster": (
        "[srv-1, srv-2]",
        "[]",
        "f:5: clusters.main: the cluster is empty (expected ids of backends)",
    ),
    "empty targets": (
        "targets: [main]",
        "targets: []",
        "f:8: rules[0].targets: is empty (expected ids of clusters or backends)",
    ),
    "no targets": (
        "    targets: [main]\n",
        "",
        "f:7: rules[0].targets: is empty (expected ids of clusters or backends)",
    ),
    "empty clients": (
        '["0.0.0.0/0:8080"]',
        "[]",
        "f:7: rules[0].clients: is empty (expected a list of CIDR:port)",
    ),
    "bad CIDR": (
        "0.0.0.0/0:8080",
        "0.0.0.0/33:8080",
        "f:7: rules[0].clients[0]: '0.0.0.0/33' is not a network"
        " (expected a CIDR such as 10.0.0.0/8)",
    ),
    "host bits": (
        "0.0.0.0/0:8080",
        "10.0.0.1/24:8080",
        "f:7: rules[0].clients[0]: '10.0.0.1/24' has host bits set"
        " (expected 10.0.0.0/24, or 10.0.0.1/32 for one host)",
    ),
    "no client port": (
        '"0.0.0.0/0:8080"',
        "10.0.0.0/8",
        "f:7: rules[0].clients[0]: '10.0.0.0/8' cannot be read"
        " (expected CIDR:port, such as 10.0.0.0/8:8080)",
    ),
    "bad client port": (
        "0.0.0.0/0:8080",
        "0.0.0.0/0:0",
        "f:7: rules[0].clients[0]: '0' is not a port (expected a number from 1 to 65535)",
    ),
    "bad address": (
        "10.0.1.12:82",
        "10.0.1.256:82",
        "f:3: backends[1].address: '10.0.1.256' is not an IP address"
        " (expected one such as 10.0.1.11)",
    ),
    "no name as address": (
        "10.0.1.12:82",
        "web..example:82",
        "f:3: backends[1].address: 'web..example' is not an IP address"
        " (expected one such as 10.0.1.11)",
    ),
    "name with the port apart": (
        'address: "10.0.1.12:82"',
        "ip: web.example, port: 82",
        "f:3: backends[1].ip: 'web.example' is not an IP address"
        " (expected one such as 10.0.1.11; a name goes into address, as name:port)",
    ),
    "relative Unix socket": (
        "10.0.1.12:82",
        "unix:run/web.sock",
        "f:3: backends[1].address: 'run/web.sock' is not the path of a socket"
        " (expected unix:/path, absolute, of at most 107 bytes)",
    ),
    "Unix socket with a long path": (
        "10.0.1.12:82",
        f"unix:/{107 * 'x'}",
        f"f:3: backends[1].address: '/{107 * 'x'}' is not the path of a socket"
        " (expected unix:/path, absolute, of at most 107 bytes)",
    ),
    "Unix socket with an agent": (
        'address: "10.0.1.12:82"',
        'address: "unix:/run/web.sock", agent_check: {port: 1}',
        "f:3: backends[1].agent_check: an agent is asked at the backend's host, and a Unix socket"
        " has none (expected an IP address or a name as the backend's address)",
    ),
    "Unix socket checked by UDP": (
        'address: "10.0.1.12:82"',
        'address: "unix:/run/web.sock", health_check: {type: udp, send: ping}',
        "f:3: backends[1].health_check.type: type does not go with a Unix socket, which is checked"
        " by connecting to it (expected type: tcp or command, without port)",
    ),
    "Unix socket checked at a port": (
        'address: "10.0.1.12:82"',
        'address: "unix:/run/web.sock", health_check: {port: 83}',
        "f:3: backends[1].health_check.port: port does not go with a Unix socket, which is checked"
        " by connecting to it (expected type: tcp or command, without port)",
    ),
    "Unix socket checked by UDP like all": (
        '"10.0.1.12:82"}\n',
        '"unix:/run/web.sock"}\nhealth_check: {type: udp, send: ping}\n',
        "f:3: backends[1].address: the global health_check has type set to what a Unix socket"
        " cannot do (expected a health_check of its own: tcp or command)",
    ),
    "Unix socket for UDP": (
        'address: "10.0.1.12:82"}\nclusters:\n  main: [srv-1, srv-2]\nrules:\n  - ',
        'address: "unix:/run/web.sock"}\nclusters:\n  main: [srv-1, srv-2]\nrules:\n'
        "  - protocol: udp\n    ",
        "f:9: rules[0].targets: 'srv-2' is a Unix socket, which a UDP rule cannot use"
        " (expected backends at IP:port or name:port)",
    ),
    "called like an address of a name": (
        'address: "10.0.1.12:82"}\n',
        'address: "web.example:82"}\n  - {id: srv-2@10.0.0.1, address: "10.0.0.1:82"}\n',
        "f:4: backends[2].id: 'srv-2' is resolved, and its addresses are called srv-2@ADDRESS"
        " (expected one that does not begin srv-2@)",
    ),
    "no address port": (
        "10.0.1.12:82",
        "10.0.1.12",
        "f:3: backends[1].address: '10.0.1.12' cannot be read"
        " (expected IP:port, name:port or unix:/path)",
    ),
    "bare IPv6 address": (
        "10.0.1.12:82",
        "2001:db8::1:82",
        "f:3: backends[1].address: '2001:db8::1:82' cannot be read"
        " (expected IP:port, name:port or unix:/path)",
    ),
    "bad port apart": (
        'address: "10.0.1.12:82"',
        "ip: 10.0.1.12, port: 70000",
        "f:3: backends[1].port: 70000 is not a port (expected a number from 1 to 65535)",
    ),
    "no address": (
        ', address: "10.0.1.12:82"',
        "",
        "f:3: backends[1].address: is missing"
        " (expected IP:port, such as 10.0.1.11:8081, name:port or unix:/path)",
    ),
    "no id": (
        "clusters:",
        '  - {address: "10.0.1.13:83"}\nclusters:',
        "f:4: backends[2].id: is missing (expected a unique name)",
    ),
    "empty name": (
        "rules:\n",
        "access_log: ''\nrules:\n",
        "f:6: access_log: is empty (expected text)",
    ),
    "weight below 0": (
        "id: srv-2",
        "weight: -1, id: srv-2",
        "f:3: backends[1].weight: -1 is not valid (expected greater than or equal to 0)",
    ),
    "text as number": (
        "id: srv-2",
        "weight: heavy, id: srv-2",
        "f:3: backends[1].weight: 'heavy' is not valid (expected a whole number)",
    ),
    "unknown key": (
        "id: srv-2",
        "wieght: 2, id: srv-2",
        "f:3: backends[1].wieght: unknown setting; did you mean 'weight'? (expected one of id,"
        " address, ip, weight, backup, max_connections, max_fails, fail_timeout_s,"
        " fail_timeout_max_s, down, slow_start, health_check, agent_check)",
    ),
    "unknown top key": (
        "clusters:",
        "timeout: {}\nclusters:",
        "f:4: timeout: unknown setting; did you mean 'timeouts'? (expected one of backends,"
        " clusters, rules, timeouts, retries, bind_addresses, access_log, status_socket,"
        " health_check, agent_check, slow_start, limits, dns, healthcheck_addr, iperf_addr)",
    ),
    "unknown nested key": (
        "    targets: [main]\n",
        "    targets: [main]\n    timeouts:\n      connect_timeout: 5\n",
        "f:10: rules[0].timeouts.connect_timeout: unknown setting; did you mean"
        " 'connect_timeout_ms'? (expected one of connect_timeout_ms, idle_timeout_ms,"
        " half_closed_timeout_ms, backend_finished_timeout_ms, keepalive_idle_s,"
        " keepalive_interval_s, keepalive_count, user_timeout_ms)",
    ),
    "unknown strategy": (
        "type: random",
        "type: least_con",
        "f:9: rules[0].strategy.type: unknown strategy 'least_con'; did you mean 'least_conn'?"
        f" (expected one of {', '.join(STRATEGIES)})",
    ),
    "strategy parameter": (
        "type: random",
        "type: random, seed: 1",
        "f:9: rules[0].strategy.seed: unknown setting (expected one of type)",
    ),
    "strategy as text": (
        "{type: random}",
        "random",
        "f:9: rules[0].strategy: 'random' is not a mapping (expected {type: random})",
    ),
    "unknown protocol": (
        "    targets: [main]\n",
        "    targets: [main]\n    protocol: sctp\n",
        "f:9: rules[0].protocol: 'sctp' is not valid (expected 'tcp' or 'udp')",
    ),
    "rebind for TCP": (
        "    targets: [main]\n",
        "    targets: [main]\n    live_connections: {on_drain: rebind}\n",
        "f:9: rules[0].live_connections.on_drain: a TCP connection cannot move to another backend"
        " (expected keep, close or close_spread)",
    ),
    "clients of two rules": (
        "    strategy: {type: random}\n",
        "    strategy: {type: random}\n"
        '  - {clients: ["10.0.0.0/8:8080", "0.0.0.0/0:8080"], targets: [main]}\n',
        "f:10: rules[1].clients[1]: 0.0.0.0/0:8080 belongs to rules[0] already"
        " (expected each CIDR:port in one rule)",
    ),
    "duplicate rule name": (
        "    strategy: {type: random}\n",
        '    name: web\n  - {clients: ["10.0.0.0/8:8080"], targets: [main], name: web}\n',
        "f:10: rules[1].name: 'web' is the name of rules[0] too (expected a unique name)",
    ),
    "a name that is another rule's place": (
        "    strategy: {type: random}\n",
        '    name: rules[1]\n  - {clients: ["10.0.0.0/8:8080"], targets: [main]}\n',
        "f:10: rules[1].name: 'rules[1]' is the name of rules[0] too (expected a unique name)",
    ),
    "a space too many": (
        '"0.0.0.0/0:8080"',
        "0.0.0.0/0: 8080",
        "f:7: rules[0].clients[0]: {'0.0.0.0/0': 8080} cannot be read"
        " (expected CIDR:port, such as 10.0.0.0/8:8080)",
    ),
    "an entry without content": (
        "clusters:",
        "  -\nclusters:",
        "f:4: backends[2]: no value is not valid (expected a mapping)",
    ),
    "nothing to bind": (
        "clusters:",
        "bind_addresses: []\nclusters:",
        "f:4: bind_addresses: is empty (expected at least one entry)",
    ),
    "a status socket that depends on where the process was started": (
        "clusters:",
        "status_socket: lb.sock\nclusters:",
        "f:4: status_socket: 'lb.sock' is not a path from the root"
        " (expected one such as /run/lb.sock, or off)",
    ),
    "a status socket that is false": (
        "clusters:",
        "status_socket: false\nclusters:",
        "f:4: status_socket: False is not a path from the root"
        " (expected one such as /run/lb.sock, or off)",
    ),
    "alias to itself": (
        "main: [srv-1, srv-2]",
        "main: &main [*main]",
        "f:5: clusters.main[0]: the alias refers to a value that contains it",
    ),
    "clients of an interface": (
        "0.0.0.0/0:8080",
        "[fe80::%eth0/10]:8080",
        "f:7: rules[0].clients[0]: 'fe80::%eth0/10' names an interface"
        " (expected the network alone)",
    ),
    "merged mapping": (
        'address: "10.0.1.12:82"}',
        'address: "10.0.1.12:82", <<: {weight: 2}}',
        "f:3: backends[1].<<: merging mappings is not supported (expected plain keys)",
    ),
    "tag that does not fit": (
        'address: "10.0.1.12:82"}',
        'address: "10.0.1.12:82", down: !!bool maybe}',
        "f:3: backends[1].down: 'maybe' is not valid (expected true or false)",
    ),
    "tag of nothing": (
        'address: "10.0.1.12:82"}',
        'address: "10.0.1.12:82", weight: !!int ""}',
        "f:3: backends[1].weight: '' is not valid (expected a whole number)",
    ),
    "timeout for ever": (
        "    targets: [main]\n",
        f"    targets: [main]\n    timeouts: {{idle_timeout_ms: {10**400}}}\n",
        f"f:9: rules[0].timeouts.idle_timeout_ms: {10**400} is not valid"
        " (expected less than or equal to 2147483647)",
    ),
    "number too long to print": (
        'address: "10.0.1.12:82"}',
        f'address: "10.0.1.12:82", weight: -{HEX}}}',
        f"f:3: backends[1].weight: '-{HEX}' is not valid (expected a whole number)",
    ),
    "port too long to read": (
        "10.0.1.12:82",
        f"10.0.1.12:{NINES}",
        f"f:3: backends[1].address: '{NINES}' is not a port (expected a number from 1 to 65535)",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_one_mistake_is_one_error(mistake: str) -> None:
    old, new, message = MISTAKES[mistake]
    assert TEMPLATE.count(old) == 1
    assert problems(TEMPLATE.replace(old, new)) == [message]


HEALTH_MISTAKES = {
    "no pairs": (
        "{send: 'hex:abc'}",
        "send: 'hex:abc' is not hexadecimal (expected pairs of digits such as hex:0a0b)",
    ),
    "no digits": (
        "{expect: 'hex:'}",
        "expect: 'hex:' is not hexadecimal (expected pairs of digits such as hex:0a0b)",
    ),
    "no text": ("{send: 7}", "send: 7 cannot be read (expected text, or hex:0a0b)"),
    "empty text": ("{expect: ''}", "expect: '' cannot be read (expected text, or hex:0a0b)"),
    "no pattern": (
        "{expect: 'regex:(OK'}",
        "expect: not a regular expression: missing ): (OK"
        " (expected one in RE2's syntax (github.com/google/re2/wiki/Syntax))",
    ),
    "udp without a question": (
        "{type: udp}",
        "send: a udp check needs something to send (expected text or hex:...)",
    ),
    "command without one": (
        "{type: command}",
        "command: belongs to type: command, and that needs it"
        " (expected a list such as [/bin/check])",
    ),
    "command of another type": (
        "{command: [/bin/true]}",
        "command: belongs to type: command, and that needs it"
        " (expected a list such as [/bin/check])",
    ),
    "command that is sent something": (
        "{type: command, command: [/bin/true], send: ping}",
        "send: has no effect with type: command (expected type tcp or udp)",
    ),
    "unknown type": (
        "{type: http}",
        "type: 'http' is not valid (expected 'tcp', 'udp' or 'command')",
    ),
    "a pattern that backtracks": (
        "{expect: 'regex:^(?!ERR)'}",
        "expect: not a regular expression: invalid perl operator: (?! (expected what must be"
        " there instead, such as ^[^E] or ^(OK|UP); RE2 has no look-around)",
    ),
    "never": ("{interval_s: 0}", "interval_s: 0 is not valid (expected greater than 0)"),
    "rise 0": ("{rise: 0}", "rise: 0 is not valid (expected greater than or equal to 1)"),
    "jitter": (
        "{jitter_pct: 101}",
        "jitter_pct: 101 is not valid (expected less than or equal to 100)",
    ),
}


@pytest.mark.parametrize("mistake", HEALTH_MISTAKES)
def test_one_mistake_in_a_health_check_is_one_error(mistake: str) -> None:
    settings, message = HEALTH_MISTAKES[mistake]
    text = TEMPLATE.replace("clusters:", f"health_check: {settings}\nclusters:")
    assert problems(text) == [f"f:4: health_check.{message}"]
    text = TEMPLATE.replace("id: srv-2", f"health_check: {settings}, id: srv-2")
    assert problems(text) == [f"f:3: backends[1].health_check.{message}"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{min_ttl_s: 400}", "min_ttl_s: 400 exceeds max_ttl_s (expected at most 300)"),
        (
            "{nameservers: [ns.example]}",
            "nameservers[0]: 'ns.example' cannot be read"
            " (expected IP:port, such as 10.0.1.11:8081 or [2001:db8::1]:80)",
        ),
        (
            '{nameservers: ["10.0.0.1:0"]}',
            "nameservers[0]: '0' is not a port (expected a number from 1 to 65535)",
        ),
    ],
)
def test_mistakes_in_dns(settings: str, message: str) -> None:
    assert problems(TEMPLATE + f"dns: {settings}\n") == [f"f:10: dns.{message}"]


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file() -> None:
    text = (
        TEMPLATE.replace("id: srv-2", "id: srv-1, weight: -1")
        .replace("targets: [main]", "targets: [mian, srv-1]")
        .replace("type: random", "type: rnd")
        + "retries: {max_tries: 0}\n"
    )
    assert [problem.split(": ")[1] for problem in problems(text)] == [
        "backends[1].weight",
        "backends[1].id",
        "clusters.main[1]",
        "rules[0].targets[0]",
        "rules[0].strategy.type",
        "retries.max_tries",
    ]
