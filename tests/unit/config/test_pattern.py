"""Patterns: the same answers as Python's `re`, but never a long time to find them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nginy.config.pattern import InvalidPattern, literal, regular_expression

HOSTILE = [rb"^(\w+\s?)+ready$", rb"(a+)+$", rb"(a|aa)+b", rb"(.*a){12}b", rb"(a?){20}b"]
PIECES = [
    b"^",
    b"OK",
    b"$",
    b"[^E]",
    b".",
    b"\\d+",
    b"(a|b)*",
    b"\\n?",
    b"x{2,3}",
    b"\\xff",
    b"\\b",
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("source", HOSTILE)
def test_what_makes_a_backtracking_engine_hang_takes_no_time(source: bytes) -> None:
    """The first took over 6 s with an answer of 27 bytes; each byte more doubled it."""
    assert not regular_expression(source).found_in(b"a" * 4_000 + b"!")


@given(
    source=st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map(b"".join),
    answer=st.lists(
        st.sampled_from([b"OK", b"E", b"a", b"b", b"xx", b"7", b"\n", b"\xff", b" "]), max_size=6
    ).map(b"".join),
)
def test_it_finds_what_re_finds(source: bytes, answer: bytes) -> None:
    try:
        expected = re.search(source, answer) is not None
    except re.error:
        return
    # `\n$` twice over: with a line feed of its own before the end, `re` alone sees two ends.
    if b"\n" not in answer[:-1] and b"\\n" not in source:
        assert regular_expression(source).found_in(answer) is expected


@given(st.binary(min_size=1, max_size=2_000))
def test_a_literal_finds_itself_and_nothing_less(data: bytes) -> None:
    assert literal(data).found_in(b"x" + data)
    assert not literal(data).found_in(data[1:])


@pytest.mark.parametrize(
    ("source", "remedy"),
    [
        (rb"^(?!ERR)", "what must be there instead"),
        (rb"(?<=a)b", "what stands before"),
        (rb"(?=a)b", "both parts"),
        (rb"(a)\1", "back-references"),
        (rb"OK\Z", r"\$ for the end"),
        (rb"a++", "one sign"),
        (rb"(?>a)", r"\(\?: instead"),
        (rb"a{2000}", "at most 1000"),
        (rb"(", "RE2's syntax"),
        (rb".{500}x", "smaller counts"),
    ],
)
def test_what_it_refuses_names_what_to_write_instead(source: bytes, remedy: str) -> None:
    with pytest.raises(InvalidPattern) as caught:
        regular_expression(source)
    assert re.search(remedy, caught.value.remedy)


def test_patterns_written_alike_are_equal() -> None:
    assert regular_expression(b"^OK") == regular_expression(b"^OK") != regular_expression(b"^UP")
    assert hash(literal(b"a.c")) == hash(regular_expression(rb"a\.c"))
