import json
import subprocess
from collections.abc import Sequence

from experiments.lab.kernel_counters import (
    HostCounters,
    host_counters,
    parse_queue_drops,
    parse_retransmitted,
)

SNMP = """\
Ip: Forwarding DefaultTTL
Ip: 1 64
Tcp: RtoAlgorithm ActiveOpens RetransSegs InErrs
Tcp: 1 12 345 0
Udp: InDatagrams
Udp: 3
"""
QDISCS = json.dumps([{"kind": "tbf", "root": True, "drops": 6}, {"kind": "bfifo", "drops": 6}])


class FakeHosts:
    def run(
        self, host: str, argv: Sequence[str], timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        told = {
            ("cat", "/proc/net/snmp"): SNMP.replace("345", {"c1": "7", "lb": "0"}[host]),
            ("tc", "-j", "-s", "qdisc", "show", "dev", f"{host}-eth0"): QDISCS,
        }
        return subprocess.CompletedProcess(argv, 0, stdout=told[tuple(argv)])


def test_the_column_is_found_by_its_name() -> None:
    assert parse_retransmitted(SNMP) == 345


def test_a_drop_below_the_root_is_not_counted_twice() -> None:
    assert parse_queue_drops(QDISCS) == 6
    assert parse_queue_drops('[{"kind": "noqueue", "root": true, "drops": 0}]') == 0


def test_each_host_is_read_inside_its_own_namespace() -> None:
    assert host_counters(FakeHosts(), {"c1": "c1-eth0", "lb": "lb-eth0"}) == {
        "c1": HostCounters(7, 6),
        "lb": HostCounters(0, 6),
    }
