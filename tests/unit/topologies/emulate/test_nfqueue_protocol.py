import struct

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.topologies.emulate.nfqueue_messages import announced, timestamp
from topologies.emulate import nfqueue_protocol as protocol

QUEUES = st.integers(0, 2**16 - 1)
IDS = st.integers(0, 2**32 - 1)


def _parts(message):
    """Length, type, flags, family, queue, attribute length, attribute type and payload."""
    length, kind, flags, _, _ = struct.unpack_from("=IHHII", message)
    family, _, queue = struct.unpack_from("!BBH", message, 16)
    attribute_length, attribute = struct.unpack_from("=HH", message, 20)
    return length, kind, flags, family, queue, attribute_length, attribute, message[24:]


@given(queue=QUEUES, packet_id=IDS, decision=st.sampled_from([0, 1]))
def test_verdicts_are_laid_out_as_the_kernel_reads_them(queue, packet_id, decision):
    for make, kind in ((protocol.verdict, 0x301), (protocol.verdict_up_to, 0x303)):
        message = make(queue, packet_id, decision)
        assert _parts(message)[:7] == (len(message), kind, 1, 0, queue, 12, 2)
        assert struct.unpack("!II", _parts(message)[7]) == (decision, packet_id)


def test_configuration_asks_for_an_acknowledgement():
    for message, attribute, payload in (
        (protocol.bind(7), 1, b"\x01\x00\x00\x00"),
        (protocol.copy_metadata(7), 2, b"\x00\x00\x00\x00\x01"),
        (protocol.copy_packets(7), 2, b"\x00\x00\xff\xff\x02"),
        (protocol.queue_length(7, 1024), 3, b"\x00\x00\x04\x00"),
    ):
        length, kind, flags, _, queue, attribute_length, found, rest = _parts(message)
        assert (length, kind, flags, queue, found) == (len(message), 0x302, 5, 7, attribute)
        assert attribute_length == 4 + len(payload)
        assert rest == payload.ljust(-(-len(payload) // 4) * 4, b"\x00")


@given(queue=QUEUES, packet_id=IDS)
def test_a_packet_is_read_from_its_fixed_places(queue, packet_id):
    # nlmsghdr, nfgenmsg, then NFQA_PACKET_HDR (type 1): id, protocol, hook, as the kernel sends.
    message = bytearray(
        struct.pack("=IHHII", 60, 0x300, 0, 0, 0)
        + struct.pack("!BBH", 2, 0, queue)
        + struct.pack("=HH", 11, 1)
        + struct.pack("!IHBx", packet_id, 0x0800, 0)
    )
    assert protocol.packet(message) == (queue, packet_id)
    assert protocol.error(message) is None


# The buffer is used again: behind a message stands what is left of longer ones.
_REST = struct.pack("=HH", 20, 4) * 20


def test_a_packets_time_is_found_among_what_else_is_said_of_it():
    for before in ([], [(5, b"\0\0\0\2"), (8, bytes(11))]):
        said = [*before, timestamp(1_700_000_000.25), (13, b"\0\0\0\1")]
        message = announced(7, 3, *said) + _REST
        place = protocol.timestamp_place(message)
        assert place is not None
        assert protocol.timestamp_s(message, place) == 1_700_000_000.25
        assert protocol.timestamp_s(message, 20) is None
        assert protocol.packet(message) == (3, 7)


def test_a_packet_without_a_time_is_seen_to_have_none():
    message = announced(7, 3, (5, b"\0\0\0\2")) + _REST
    assert protocol.timestamp_place(message) is None
    struct.pack_into("=H", message, 20, 0)  # a length that leads nowhere
    assert protocol.timestamp_place(message) is None


def test_errors_and_acknowledgements_are_told_apart():
    def answer(code):
        return struct.pack("=IHHIIi", 36, 2, 0, 0, 0, code) + bytes(16)

    assert protocol.error(answer(0)) == 0
    assert protocol.error(answer(-1)) == 1
    assert protocol.packet(bytearray(answer(-1))) is None


def test_overflows_are_summed_over_queue_and_socket():
    table = (
        "    0  12345    10 1     0     3     4     4711  1\n"
        "    1  12345     0 1     0     0     0        0  1\n"
    )
    assert protocol.overflows(table) == {0: 7, 1: 0}
    assert protocol.overflows("") == {}


@given(st.binary(min_size=1, max_size=1500))
def test_a_packet_itself_is_found_behind_what_is_said_of_it(content):
    message = announced(7, 3, (5, b"\0\0\0\2"), timestamp(1.5), (10, content))
    assert protocol.payload(message + _REST) == content
    assert protocol.payload(announced(7, 3, timestamp(1.5))) == b""
