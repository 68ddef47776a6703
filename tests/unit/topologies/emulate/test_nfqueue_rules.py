from topologies.emulate.nfqueue import rules
from topologies.emulate.port import Port
from topologies.shapes.shape import Link, LinkSpec


def test_every_impaired_link_has_one_queue_for_each_direction_and_never_a_bypass():
    ports = [
        Port(Link(f"c{i}", "s1", LinkSpec(delay_ms=1)), 10 + i, f"c{i}-eth0", 9, f"s1-eth{i}")
        for i in (1, 2)
    ]
    text = rules(ports)
    assert text.startswith("*mangle\n")
    assert text.endswith("COMMIT\n")
    assert "bypass" not in text
    numbered = [line.split() for line in text.splitlines() if "NFQUEUE" in line]
    assert [line[-1] for line in numbered] == ["0", "1", "2", "3"]
    assert [line[1] for line in numbered] == ["PREROUTING", "FORWARD"] * 2
    assert "--physdev-out s1-eth2" in text
