"""What is measured again, how often, and for how long."""

from types import SimpleNamespace

from topologies.emulate import wire
from topologies.emulate.port import Port
from topologies.shapes.shape import LinkSpec
from topologies.shapes.shapes import star
from topologies.verify import calibrate, checks, saturate

SHAPE = star(2, 1, client_link=LinkSpec(rate_mbps=100))
PORTS = tuple(Port(link, 0, "", 0, "") for link in SHAPE.links)
NETWORK = SimpleNamespace(shape=SHAPE, ports=PORTS)


def measurer(slow):
    """Measures 100 Mbit/s everywhere but for the values of `slow`, by direction, in turn."""
    asked = []

    def measure(network, ports, attempt):
        asked.append((attempt, [port.link.end for port in ports]))
        directions = [direction for port in ports for direction in port.link.directions]
        return [
            checks.between(
                direction,
                "rate",
                100.0,
                slow[direction].pop(0) if slow.get(direction) else 100.0,
                (90.0, 110.0),
                " Mbit/s",
            )
            for direction in directions
        ]

    return asked, measure


def test_only_what_failed_is_measured_again_and_longer():
    asked, measure = measurer({"c1->s1": [88.85, 70.0]})
    tried = calibrate._patiently(measure, NETWORK)
    assert asked == [(1, ["c1", "c2", "lb", "b1"]), (2, ["c1"]), (3, ["c1"])]
    assert all(checks.best(rows).ok for rows in tried)
    assert checks.repeated(tried)["c1->s1"]["rate"] == [88.85, 70.0, 100.0]
    assert set(checks.repeated(tried)) == {"c1->s1", "s1->c1"}


def test_a_slow_link_is_measured_five_times_and_a_fast_one_once():
    asked, measure = measurer({"c1->s1": [50.0] * 9, "c2->s1": [130.0] * 9})
    tried = calibrate._patiently(measure, NETWORK)
    assert [attempt for attempt, _ in asked] == [1, 2, 3, 4, 5]
    assert asked[1][1] == ["c1"]
    failed = {rows[0].link: len(rows) for rows in tried if not checks.best(rows).ok}
    assert failed == {"c1->s1": 5, "c2->s1": 1}


def test_a_counter_that_took_long_to_read_has_no_time(monkeypatch):
    times = iter([1.0, 1.0002, 1.010, 1.030, 1.040, 1.0402])
    monkeypatch.setattr(saturate.time, "monotonic", lambda: next(times))
    monkeypatch.setattr(wire, "at_switch", lambda port: wire.Traffic(7, 0, 0, 0))
    blast = saturate._Blast(NETWORK, PORTS[0], "c1->s1", 1)
    for _ in range(3):
        blast.sample()
    assert [round(time_s, 4) for time_s, _ in blast.samples] == [1.0001, 1.0401]
