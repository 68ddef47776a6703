"""Links do what they were asked; and one that does not is found out, and named."""

import json
import os
import re
import signal
import subprocess
import time
from dataclasses import replace
from itertools import pairwise

import pytest

from topologies.build.network import Network
from topologies.emulate import probe
from topologies.errors import LinkDead
from topologies.machine.namespaces import execute, members, namespace_inode
from topologies.shapes.shape import Link, LinkSpec
from topologies.shapes.shapes import dumbbell, star
from topologies.verify import checks
from topologies.verify.calibrate import calibrate, finish
from topologies.verify.quality import send_stamped

pytestmark = pytest.mark.root

CLIENT = LinkSpec(delay_ms=10, rate_mbps=20)
LOSSY = LinkSpec(loss_pct=20)


@pytest.fixture(params=probe.METHODS)
def method(request):
    problem = probe.problem_of(request.param)
    if problem is not None:
        pytest.skip(f"{request.param} does not work here: {problem}")
    return request.param


def test_delay_loss_and_calibration(method):
    shape = star(1, 1, client_link=CLIENT, backend_link=LOSSY)
    with Network(shape, seed=3, link_method=method) as network:
        assert network.link_method == method
        calibration = calibrate(network)
        assert calibration.reasons == []

        ping = ["ping", "-n", "-c5", "-i0.02", network.address("lb")]
        times = re.findall(r"time=([\d.]+)", network.run("c1", ping, timeout_s=20).stdout)
        assert len(times) == 5
        assert all(float(time_ms) > 19.8 for time_ms in times)

        arrived = len(send_stamped(network, "b1", "lb", 500, 5000))
        counted = network.link_counters()["b1->s1"]
        assert counted.seen == 500
        assert 0 < counted.dropped == 500 - arrived

        finished = finish(calibration, network)
        named = {check.link for check in finished.checks}
        assert {"c1-s1", "c1->s1", "s1->c1", "b1->s1", "s1->b1", "lb-s1", "lb"} <= named
        assert finished.reasons == []


def test_losses_come_in_bursts_packets_overtake_and_links_change(method):
    bursts = LinkSpec(loss_pct=20, loss_burst_packets=5)
    overtaking = LinkSpec(delay_ms=20, reorder_pct=20)
    shape = star(1, 1, client_link=overtaking, backend_link=bursts)
    with Network(shape, seed=3, link_method=method) as network:
        assert network.facts()["losses_repeatable"] or method == "netem"
        kept = [number for number, _ in send_stamped(network, "b1", "lb", 3000, 5000)]
        gaps = [later - earlier - 1 for earlier, later in pairwise(kept) if later > earlier + 1]
        # One after the other, 20 % would be lost in rows of 1.25 packets.
        assert 3.5 < sum(gaps) / len(gaps) < 7
        assert kept == sorted(kept)

        came = [number for number, _ in send_stamped(network, "c1", "lb", 500, 1000)]
        assert len(came) == 500
        overtook = sum(later < earlier for earlier, later in pairwise(came))
        assert 40 < overtook < 160

        network.change_links({"b1->s1": LinkSpec(loss_pct=60)})
        assert 40 < len(send_stamped(network, "b1", "lb", 200, 5000)) < 120
        network.change_links({"b1->s1": LinkSpec(loss_pct=0.0001)})
        assert len(send_stamped(network, "b1", "lb", 200, 5000)) == 200


def test_packets_are_doubled_on_the_way_to_the_switch_and_from_it(method):
    """Counted where they arrive, and by calibration; copies have the links to come before them."""
    doubling = LinkSpec(delay_ms=5, jitter_ms=2, duplicate_pct=20)
    shape = star(1, 1, client_link=doubling, backend_link=LinkSpec(duplicate_pct=10, loss_pct=5))
    with Network(shape, seed=3, link_method=method) as network:
        calibration = calibrate(network)
        assert calibration.reasons == []
        asked = {row.link for row in calibration.checks if row.quantity == checks.TWICE}
        assert asked == {"c1->s1", "s1->c1", "b1->s1", "s1->b1"}

        for sender, receiver in (("c1", "lb"), ("lb", "c1")):
            arrived = send_stamped(network, sender, receiver, 2000, 2000, most=4000)
            came = [number for number, _ in arrived]
            assert came == sorted(came), "a copy follows its packet"
            assert set(came) == set(range(2000))
            assert 320 < len(came) - 2000 < 480
        both = len(send_stamped(network, "c1", "b1", 2000, 2000, most=8000))
        # 1.2 on the one link; 1.045 on the other, for the copies of the first as well.
        assert 2380 < both < 2640
        assert finish(calibration, network).reasons == []


def test_the_queue_of_a_bottleneck_fills_and_overflows(method):
    """TCP fills it, so that a ping takes as long as the queue is; half of that at least, since
    cubic falls back when it overflows."""
    asked = LinkSpec(rate_mbps=20, queue_packets=200)
    with Network(dumbbell(2, 2, bottleneck=asked), seed=3, link_method=method) as network:
        server = network.popen("b1", ["iperf3", "-s", "-1", "--forceflush"], stdout=-1, text=True)
        while "listening" not in server.stdout.readline():
            assert server.poll() is None
        words = ["iperf3", "-c", network.address("b1"), "-t", "9", "-J"]
        flow = network.popen("c1", words, stdout=-1, text=True)
        ping = ["ping", "-n", "-c70", "-i0.1", network.address("b2")]
        shown = network.run("c2", ping, timeout_s=60).stdout
        report = json.loads(flow.communicate(timeout=60)[0])
        server.communicate(timeout=20)
    times_ms = sorted(float(each) for each in re.findall(r"time=([\d.]+)", shown))
    full_ms = 200 * 1514 * 8 / 20e3
    assert 0.5 * full_ms < times_ms[len(times_ms) // 2] < 1.3 * full_ms
    assert report["end"]["sum_sent"]["retransmits"] > 0


def test_the_same_seed_loses_and_doubles_the_same_packets():
    kept = []
    for seed in (3, 4):
        shape = star(1, 1, backend_link=replace(LOSSY, duplicate_pct=10))
        with Network(shape, seed=seed, link_method="nfqueue") as network:
            for _ in range(2):
                network.restart_draws()
                arrived = send_stamped(network, "b1", "lb", 300, 5000, most=600)
                kept.append([number for number, _ in arrived])
    assert kept[0] == kept[1] != kept[2] == kept[3]


def test_sabotaged_links_are_found_and_named():
    shape = star(1, 1, client_link=CLIENT)
    with Network(shape, seed=3, link_method="nfqueue") as network:
        healthy = calibrate(network)
        assert healthy.reasons == []

        port = network.port("c1")
        execute(port.end_pid, ["tc", "qdisc", "del", "dev", port.end_interface, "root"])
        found = calibrate(network)
        assert not found.valid
        assert [reason.split(" asked")[0] for reason in found.reasons] == ["c1->s1: rate"]

        execute(port.switch_pid, ["iptables", "-w", "5", "-t", "mangle", "-F"])
        assert any(each.startswith("c1->s1: median delay") for each in calibrate(network).reasons)
        send_stamped(network, "c1", "lb", 500, 5000)
        assert any(each.startswith("c1->s1: bypassed") for each in finish(healthy, network).reasons)


@pytest.mark.parametrize(
    ("real", "asked", "reason", "attempts"),
    [
        (replace(CLIENT, rate_mbps=10), CLIENT, "c1->s1: rate", 5),
        (replace(CLIENT, rate_mbps=30), CLIENT, "c1->s1: rate", 1),
        (replace(CLIENT, delay_ms=12), CLIENT, "c1->s1: median delay", 5),
        (replace(CLIENT, delay_ms=0, loss_pct=0.001), CLIENT, "c1->s1: median delay", 1),
        (CLIENT, replace(CLIENT, loss_pct=20), "c1->s1: loss of", 1),
    ],
    ids=["half the rate", "too fast", "too late", "no delay", "no loss"],
)
def test_a_link_that_is_another_than_was_asked_fails_however_often_it_is_measured(
    real, asked, reason, attempts
):
    with Network(star(1, 1, client_link=real), seed=3, link_method="nfqueue") as network:
        network.shape = star(1, 1, client_link=asked)
        network.ports = tuple(
            replace(port, link=Link.of("c1", "s1", asked)) if port.link.end == "c1" else port
            for port in network.ports
        )
        found = calibrate(network)
    assert any(each.startswith(reason) for each in found.reasons)
    link, _, quantity = reason.partition(": ")
    tried = found.attempts.get(link, {}).get(quantity, [None])
    assert len(tried) == attempts


def test_a_late_emulator_is_reported_and_refused_only_where_precision_is_wanted():
    with Network(star(1, 1, client_link=CLIENT), seed=3, link_method="nfqueue") as network:
        healthy = calibrate(network)
        (emulator,) = _emulators(network)
        ping = ["ping", "-n", "-i0.01", "-c50", network.address("lb")]
        pinging = network.popen("c1", ping, stdout=subprocess.PIPE, text=True)
        pinging.stdout.readline()
        pinging.stdout.readline()  # the first answer: packets are under way
        os.kill(emulator, signal.SIGSTOP)
        time.sleep(0.2)
        os.kill(emulator, signal.SIGCONT)
        pinging.communicate(timeout=20)
        assert finish(healthy, network).reasons == []
        strict = finish(healthy, network, strict=True)
    assert not strict.valid
    assert strict.disturbed
    assert any(each.startswith("c1->s1: p99 lateness") for each in strict.reasons)
    told = {each.quantity: each.measured for each in strict.checks if each.link == "c1->s1"}
    assert told["maximum lateness"] > 50


def test_a_dead_emulator_stops_its_links_and_is_reported():
    with Network(star(1, 1, client_link=CLIENT), seed=3, link_method="nfqueue") as network:
        healthy = calibrate(network)
        network.check_alive()
        _kill_emulator(network)
        with pytest.raises(LinkDead, match="c1-s1"):
            network.check_alive()
        ping = ["ping", "-c1", "-W1", network.address("lb")]
        assert network.run("c1", ping, timeout_s=10).returncode != 0
        finished = finish(healthy, network)
        assert not finished.valid
        assert "c1-s1" in finished.reasons[-1]


def _kill_emulator(network):
    for pid in _emulators(network):
        os.kill(pid, signal.SIGKILL)


def _emulators(network):
    """What lives in the switch's namespace beside the switch itself."""
    switch = network.port("c1").switch_pid
    return [pid for pid in members()[namespace_inode(switch)] if pid != switch]
