"""Long work in steps: one per turn, one work after the other, and none is stopped by another."""

from collections.abc import Callable, Iterator

import pytest

from nginy.address import Address
from nginy.backend.wishes import Origin
from nginy.traffic.background import Background
from tests.rules import one_rule


class Turns(list[Callable[[float], None]]):
    def take(self) -> None:
        due, self[:] = self[:], []
        for callback in due:
            callback(0.0)


def test_one_step_per_turn_and_one_work_after_the_other() -> None:
    turns, done = Turns(), list[str]()
    background = Background(turns.append)

    def work(name: str) -> Iterator[None]:
        for number in range(2):
            done.append(f"{name}{number}")
            yield

    background.add(work("a"))
    background.add(work("b"))
    seen = []
    while turns:
        assert len(turns) == 1
        turns.take()
        seen.append(len(done))
    assert done == ["a0", "a1", "b0", "b1"]
    assert seen == [1, 2, 2, 3, 4, 4]


def test_a_work_that_raises_does_not_stop_the_next() -> None:
    turns, done = Turns(), list[str]()
    background = Background(turns.append)

    def bad() -> Iterator[None]:
        yield
        raise ZeroDivisionError

    def good() -> Iterator[None]:
        done.append("good")
        yield

    background.add(bad())
    background.add(good())
    turns.take()
    with pytest.raises(ZeroDivisionError):
        turns.take()
    while turns:
        turns.take()
    assert done == ["good"]
    background.add(good())
    turns.take()
    assert done == ["good", "good"]


@pytest.mark.parametrize("backup", [False, True])
def test_a_rules_table_is_renewed_in_the_background(backup: bool) -> None:
    world = one_rule({}, {}, {"backup": backup}, strategy={"type": "ketama"})
    clients = [Address(f"10.9.{i % 250}.{i}", 1) for i in range(250)]

    def picks() -> list[str]:
        chosen = [world.rule.pick(client, 0.0, ()) for client in clients]
        return [backend.id for backend in chosen if backend]

    before = picks()
    world.backend(1).set_weight(9, 0.0, Origin.FILE)
    assert picks() == before
    world.settle()
    assert picks().count("b1") > 1.3 * before.count("b1")
