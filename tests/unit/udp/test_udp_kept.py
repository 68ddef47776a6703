"""Datagrams that are kept: in order, within bounds, the first one always."""

from hypothesis import given
from hypothesis import strategies as st

from nginy.udp.sessions import KEPT_BYTES, KEPT_DATAGRAMS, Kept

sizes = st.integers(0, 65_507)


@given(st.lists(sizes, min_size=1, max_size=40))
def test_the_first_are_kept_within_bounds(sizes):
    kept = Kept()
    datagrams = [bytes([number]) * size for number, size in enumerate(sizes)]
    for datagram in datagrams:
        kept.add(memoryview(datagram))
    assert len(kept) <= KEPT_DATAGRAMS
    taken = kept.take()
    assert taken[0] == datagrams[0]
    assert sum(map(len, taken)) <= max(KEPT_BYTES, len(datagrams[0]))
    remaining = iter(datagrams)
    assert all(any(datagram == other for other in remaining) for datagram in taken), "in order"


def test_what_fits_is_all_kept():
    kept = Kept()
    for number in range(KEPT_DATAGRAMS):
        kept.add(b"%d" % number)
    assert kept.take() == [b"%d" % number for number in range(KEPT_DATAGRAMS)]


def test_what_was_taken_is_gone_and_its_room_is_free():
    kept = Kept()
    kept.add(bytes(KEPT_BYTES))
    kept.take()
    assert kept.take() == []
    kept.add(b"1")
    kept.add(bytes(KEPT_BYTES - 1))
    assert len(kept) == 2


def test_the_last_one_replaces_all():
    kept = Kept()
    kept.add(b"1")
    kept.add(b"2")
    kept.replace(b"3")
    assert kept.take() == [b"3"]


def test_it_is_a_copy():
    buffer = bytearray(b"old")
    kept = Kept()
    kept.add(memoryview(buffer))
    buffer[:] = b"new"
    assert kept.take() == [b"old"]
