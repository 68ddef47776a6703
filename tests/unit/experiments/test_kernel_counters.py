import subprocess
from collections.abc import Sequence

from experiments.kernel_counters import parse_retransmitted, retransmitted_segments

SNMP = """\
Ip: Forwarding DefaultTTL
Ip: 1 64
Tcp: RtoAlgorithm ActiveOpens RetransSegs InErrs
Tcp: 1 12 345 0
Udp: InDatagrams
Udp: 3
"""


class FakeHosts:
    def run(
        self, host: str, argv: Sequence[str], timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        assert argv == ["cat", "/proc/net/snmp"]
        text = SNMP.replace("345", {"c1": "7", "lb": "0"}[host])
        return subprocess.CompletedProcess(argv, 0, stdout=text)


def test_the_column_is_found_by_its_name() -> None:
    assert parse_retransmitted(SNMP) == 345


def test_each_host_is_read_inside_its_own_namespace() -> None:
    assert retransmitted_segments(FakeHosts(), ["c1", "lb"]) == {"c1": 7, "lb": 0}
