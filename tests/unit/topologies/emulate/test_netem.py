import json

import pytest

from topologies.emulate import netem
from topologies.emulate.netem import counted, words_for
from topologies.emulate.port import Port
from topologies.errors import LinkDead, NetworkError
from topologies.shapes.shape import Link, LinkSpec


def test_netem_gets_delay_jitter_and_loss_in_units_that_cannot_be_misread():
    words = words_for(LinkSpec(delay_ms=10.5, jitter_ms=2, loss_pct=0.5))
    assert "delay 10500us 2000us" in words
    assert "loss 0.500000%" in words
    assert "duplicate 2.000000%" in words_for(LinkSpec(duplicate_pct=2))


def test_netem_always_gets_the_rate_that_keeps_packets_in_order():
    assert words_for(LinkSpec(loss_pct=1)).endswith("rate 100gbit")


@pytest.mark.parametrize("spec", [LinkSpec(delay_ms=1000, rate_mbps=1000), LinkSpec(loss_pct=1)])
def test_nothing_overflows_netem_since_that_would_count_as_loss(spec):
    smallest_frames_in_a_second_at_10_gbit = 10e9 / 8 / 64
    assert words_for(spec).startswith("limit ")
    assert int(words_for(spec).split()[1]) > 10 * smallest_frames_in_a_second_at_10_gbit


def test_a_full_queue_is_congestion_and_not_loss():
    counts = {"packets": 900, "drops": 70, "qlen": 30}
    alone = counted({"netem": counts})
    assert (alone.seen, alone.dropped) == (1000, 70)
    limited = counted({"netem": counts, "tbf": {"drops": 50}, "ingress": {"drops": 0}})
    assert (limited.seen, limited.dropped) == (1000, 20)


class Kernel:
    """Stands in for tc: remembers what it was asked, shows one kind of qdisc."""

    def __init__(self, monkeypatch, *, knows_seed=True):
        self.asked = []
        self.kind = "netem"
        self._knows_seed = knows_seed
        monkeypatch.setattr(netem, "execute", self.execute)
        link = Link.of("c1", "s1", LinkSpec(delay_ms=5, loss_pct=1))
        self.links = netem.NetemLinks((Port(link, 1, "c1-eth0", 2, "s1-eth1"),), seed=1)
        self.added = [words for words in self.asked if "qdisc add" in words and "root" in words]
        self.asked.clear()

    def execute(self, pid, argv, **_):
        if "seed" in argv and not self._knows_seed:
            raise NetworkError('What is "seed"?')
        self.asked.append(" ".join(argv))
        counts = {"kind": self.kind, "packets": 0, "drops": 0, "qlen": 0}
        return json.dumps([counts] if "show" in argv else [])


def test_watching_the_links_under_load_costs_no_processes_but_counting_misses_no_qdisc(monkeypatch):
    kernel = Kernel(monkeypatch)
    kernel.links.check_alive()
    assert kernel.asked == []
    kernel.kind = "noqueue"
    with pytest.raises(LinkDead, match="c1-s1"):
        kernel.links.counters()


def test_draws_begin_again_by_the_same_words_and_seed(monkeypatch):
    kernel = Kernel(monkeypatch)
    kernel.links.restart_draws()
    assert len(kernel.added) == 2
    assert len({words.split("seed ")[1] for words in kernel.added}) == 2
    assert kernel.asked == [words.replace(" add ", " change ") for words in kernel.added]


def test_where_netem_has_no_seed_nothing_else_is_changed(monkeypatch):
    kernel = Kernel(monkeypatch, knows_seed=False)
    assert len(kernel.added) == 2
    kernel.links.restart_draws()
    assert kernel.asked == []
