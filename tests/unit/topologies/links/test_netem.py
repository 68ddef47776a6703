from topologies.links.netem import counted, words_for
from topologies.shape import LinkSpec


def test_netem_gets_delay_jitter_and_loss_in_units_that_cannot_be_misread():
    words = words_for(LinkSpec(delay_ms=10.5, jitter_ms=2, loss_pct=0.5))
    assert "delay 10500us 2000us" in words
    assert "loss 0.500000%" in words


def test_netem_always_gets_the_rate_that_keeps_packets_in_order():
    assert words_for(LinkSpec(loss_pct=1)).endswith("rate 100gbit")


def test_the_limit_grows_with_what_is_under_way():
    def limit(spec):
        return int(words_for(spec).split()[1])

    # 100 Mbit/s for 50 ms is 625 000 bytes, 6250 frames of 100 bytes; twice that, and a floor.
    assert limit(LinkSpec(delay_ms=50, rate_mbps=100)) == 1000 + 12_500
    assert limit(LinkSpec(loss_pct=1)) == 1000


def test_a_full_queue_is_congestion_and_not_loss():
    netem = {"packets": 900, "drops": 70, "qlen": 30}
    alone = counted({"netem": netem})
    assert (alone.seen, alone.dropped) == (1000, 70)
    limited = counted({"netem": netem, "tbf": {"drops": 50}, "ingress": {"drops": 0}})
    assert (limited.seen, limited.dropped) == (1000, 20)
