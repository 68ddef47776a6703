"""Strands: steps run at once, an error stays in its own strand."""

import pytest

from nginy.engine.strand import Strand, suspended


def test_runs_to_the_first_wait_at_once_and_on_when_resumed():
    said = []
    ended = []

    async def talk() -> None:
        said.append("begun")
        said.append(await suspended())
        said.append(await suspended())

    strand = Strand(ended.append)
    strand.start(talk())
    assert said == ["begun"]
    strand.resume(1)
    assert said == ["begun", 1]
    assert ended == []
    strand.resume(2)
    assert said == ["begun", 1, 2]
    assert ended == [strand]


def test_throw_raises_at_the_wait():
    caught = []

    async def careful() -> None:
        try:
            await suspended()
        except KeyError as error:
            caught.append(error)

    ended = []
    strand = Strand(ended.append)
    strand.start(careful())
    error = KeyError("x")
    strand.throw(error)
    assert caught == [error]
    assert ended == [strand]


def test_a_fault_is_logged_and_ends_the_strand(caplog):
    async def faulty() -> None:
        await suspended()
        raise RuntimeError("a bug")

    ended = []
    strand = Strand(ended.append)
    strand.start(faulty())
    strand.resume(None)
    assert ended == [strand]
    assert "a bug" in caplog.text


def test_a_signal_to_exit_is_not_swallowed():
    async def stop() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        Strand(lambda _strand: None).start(stop())
