from topologies.emulate.nfqueue import Direction, rules
from topologies.emulate.port import Port
from topologies.shapes.shape import Link, LinkSpec


def test_every_impaired_direction_has_one_queue_and_never_a_bypass():
    links = (
        Link.of("c1", "s1", LinkSpec(delay_ms=1)),
        Link("c2", "s1", LinkSpec(), LinkSpec(loss_pct=1)),
        Link("s2", "s1", changes=True),
    )
    ports = [
        Port(link, 10 + place, f"{link.end}-eth0", 9, f"s1-eth{place}")
        for place, link in enumerate(links)
    ]
    text = rules([Direction(port, name) for port in ports for name in port.emulated])
    assert text.startswith("*mangle\n")
    assert text.endswith("COMMIT\n")
    assert "bypass" not in text
    numbered = [line.split() for line in text.splitlines() if "NFQUEUE" in line]
    assert [line[-1] for line in numbered] == ["0", "1", "2", "3", "4"]
    hooks = ["PREROUTING", "FORWARD", "FORWARD", "PREROUTING", "FORWARD"]
    assert [line[1] for line in numbered] == hooks
    assert [text.count(f"--physdev-out s1-eth{place}") for place in range(3)] == [1, 1, 1]


def test_what_waits_at_a_switch_has_passed_a_queue_there_whichever_end_of_a_trunk_it_is():
    link = Link.of("s2", "s1", LinkSpec(rate_mbps=10))
    trunk = Port(link, 8, "s2-eth1", 9, "s1-eth1", trunk=True)
    assert trunk.emulated == link.directions
    assert [Direction(trunk, name).pid for name in trunk.emulated] == [8, 9]
    text = rules([Direction(trunk, name) for name in trunk.emulated])
    assert [text.count(f"FORWARD -m physdev --physdev-is-bridged --physdev-out {name}")
            for name in ("s2-eth1", "s1-eth1")] == [1, 1]  # fmt: skip
    host = Port(Link.of("c1", "s1", LinkSpec(rate_mbps=10)), 8, "c1-eth0", 9, "s1-eth1")
    assert host.emulated == ("s1->c1",)
