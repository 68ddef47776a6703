"""What agents say, word by word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nginy.backend.agent import LONGEST_REASON, AgentAnswer, IncompleteLine, parse_agent_answer
from nginy.backend.wishes import Admin


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"75%\n", AgentAnswer(weight_pct=75)),
        (b"0%\n", AgentAnswer(weight_pct=0)),
        (b"weight:5\n", AgentAnswer(weight=5)),
        (b"maxconn:30\r\n", AgentAnswer(max_connections=30)),
        (b"ready\n", AgentAnswer(admin=Admin.READY)),
        (b"drain\n", AgentAnswer(admin=Admin.DRAIN)),
        (b"maint\n", AgentAnswer(admin=Admin.DOWN)),
        (b"up\n", AgentAnswer(up=True)),
        (b"down\n", AgentAnswer(up=False)),
        (b"fail\n", AgentAnswer(up=False)),
        (b"stopped\n", AgentAnswer(up=False)),
        (b"DOWN# disk full \n", AgentAnswer(up=False, reason="disk full")),
        (
            b"up, ready\t50%,maxconn:7 #fine, 10% down\nweight:9\n",
            AgentAnswer(
                Admin.READY, True, weight_pct=50, max_connections=7, reason="fine, 10% down"
            ),
        ),
        (b"drain ready\n", AgentAnswer(admin=Admin.READY)),
        (b"50% weight:3\n", AgentAnswer(weight=3)),
        (b"weight:3 50%\n", AgentAnswer(weight_pct=50)),
        (b"\n", AgentAnswer()),
        (b"up bogus 7 -5% 1e3% weight: weight:x maxconn:-1 99999999999%\n",
         AgentAnswer(up=True, unknown=("bogus", "7", "-5%", "1e3%", "weight:", "weight:x",
                                       "maxconn:-1", "99999999999%"))),
        ("٥%\n".encode(), AgentAnswer(unknown=("٥%",))),
        (b"weight:4294967296\n", AgentAnswer(unknown=("weight:4294967296",))),
    ],
)  # fmt: skip
def test_words(line: bytes, answer: AgentAnswer) -> None:
    assert parse_agent_answer(line) == answer


def test_its_words_write_no_line_and_no_escape_sequence_into_a_log() -> None:
    said = "disk\rx\x1b[2J\u2028\u202e für # ".encode()
    answer = parse_agent_answer(b"down #" + said.replace(b"\r", b"\v") + b"\n")
    assert answer.reason == r"disk\x0bx\x1b[2J\u2028\u202e für #"
    assert len(parse_agent_answer(b"down #" + b"x" * 1000 + b"\n").reason) == LONGEST_REASON


@pytest.mark.parametrize("data", [b"", b"weight:1", b"up #and so o"])
def test_a_line_that_does_not_end_is_none(data: bytes) -> None:
    """It may be the first half of `weight:10`."""
    with pytest.raises(IncompleteLine):
        parse_agent_answer(data)


@pytest.mark.parametrize(
    ("said", "configured", "weight"),
    [
        (AgentAnswer(), 100, None),
        (AgentAnswer(weight_pct=75), 100, 75),
        (AgentAnswer(weight_pct=200), 100, 200),
        (AgentAnswer(weight_pct=0), 100, 0),
        (AgentAnswer(weight_pct=50), 1, 1),
        (AgentAnswer(weight_pct=50), 0, 0),
        (AgentAnswer(weight_pct=2**31 - 1), 2**31 - 1, 2**31 - 1),
        (AgentAnswer(weight=0), 100, 0),
        (AgentAnswer(weight=2**31 - 1), 100, 1000),
        (AgentAnswer(weight=2**31 - 1), 5000, 5000),
        (AgentAnswer(weight_pct=100_000), 100, 1000),
        (AgentAnswer(weight=7), 100, 7),
    ],
)
def test_weight(said: AgentAnswer, configured: int, weight: int | None) -> None:
    assert said.weight_of(configured) == weight


@given(st.binary(max_size=200))
def test_whatever_it_says_is_an_answer_or_incomplete(data: bytes) -> None:
    try:
        answer = parse_agent_answer(data)
    except IncompleteLine:
        assert not set(b"\r\n") & set(data)
        return
    assert answer.weight is None or answer.weight >= 0
    assert answer.weight is None or answer.weight_pct is None
