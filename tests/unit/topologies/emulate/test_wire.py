import pytest

from topologies.emulate import wire
from topologies.verify.blast import FRAME_BYTES, message

# /proc/net/dev of a virtual host, columns as Linux prints them.
TABLE = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo
    lo:       0       0    0    0    0     0          0         0        0       0    0    0
c1-eth0: 1514000    1000    0    0    0     0          0         0    98000    1001    0    7
"""


def test_the_row_of_one_interface():
    assert wire.parse(TABLE, "c1-eth0") == (1_514_000, 1000, 1001, 7)


def test_an_interface_that_is_not_there():
    with pytest.raises(KeyError):
        wire.parse(TABLE, "eth0")


def test_blasted_packets_fill_a_frame_and_carry_a_right_checksum():
    packet = message(FRAME_BYTES)
    assert len(packet) == FRAME_BYTES - 14 - 20
    words = [int.from_bytes(packet[i : i + 2]) for i in range(0, len(packet), 2)]
    assert sum(words) % 0xFFFF == 0
