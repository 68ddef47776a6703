import pytest

from topologies.emulate import rate
from topologies.shapes.shape import LinkSpec
from topologies.verify.saturate import steady_rate_mbps


def test_the_queue_holds_a_bandwidth_delay_product_and_at_least_100_frames():
    assert rate.queue_bytes(LinkSpec(rate_mbps=1)) == 100 * 1514
    # 100 Mbit/s over 2 x 20 ms is 500 000 bytes.
    assert rate.queue_bytes(LinkSpec(rate_mbps=100, delay_ms=20)) == 500_000


def test_the_bucket_holds_a_millisecond_and_at_least_two_frames():
    assert rate.burst_bytes(1) == 2 * 1514
    assert rate.burst_bytes(800) == 100_000


def test_tc_is_told_bits_and_bytes_without_rounding_the_rate():
    words = rate.tbf(LinkSpec(rate_mbps=0.5))
    assert words[:3] == ["tbf", "rate", "500000bit"]


@pytest.mark.parametrize("ask", [rate.queue_bytes, rate.tbf])
def test_a_link_without_a_rate_has_no_queue(ask):
    with pytest.raises(ValueError, match="without a rate"):
        ask(LinkSpec(delay_ms=1))


def test_the_steady_rate_leaves_out_the_first_burst_and_the_idle_ends():
    # 10^5 bytes at once, then 10^4 bytes each 10 ms: 8 Mbit/s.
    samples = [(0.0, 0), (0.01, 0)]
    samples += [(0.02 + step / 100, 100_000 + 10_000 * step) for step in range(31)]
    samples += [(1.0, samples[-1][1]), (2.0, samples[-1][1])]
    assert steady_rate_mbps(samples) == pytest.approx(8)


def test_a_link_on_which_nothing_moved_has_no_rate():
    assert steady_rate_mbps([(0.0, 5), (1.0, 5), (2.0, 5)]) is None
    assert steady_rate_mbps([]) is None
