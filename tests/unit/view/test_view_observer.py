"""Asking again and again: the window of rates, who is gone and comes back, who does not answer."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from nginy.view.ask import Document, NobodyThere
from nginy.view.observer import MARKS, REST, SILENT_S, WINDOW_S, History, Observer
from tests.rules import one_rule
from tests.unit.view.documents import document, serve


def documents(count: int, step_s: float) -> list[dict[str, Any]]:
    """Of a process with ten new connections between two."""
    one = one_rule({}, {})
    made = []
    for number in range(count):
        one.now = number * step_s
        made.append(document(one))
        serve(one, 10)
    return made


def seconds_of_rates(found: Sequence[dict[str, Any]], history: History) -> list[float]:
    frames = [history.frame(each) for each in found]
    return [frame.rules[0].rates.seconds for frame in frames if frame.rules[0].rates]


def test_rates_are_over_the_window_once_it_is_full() -> None:
    assert seconds_of_rates(documents(9, 1.0), History()) == [1, 2, 3, 4, 5, 5, 5, 5]


def test_who_is_asked_seldom_has_rates_over_one_interval() -> None:
    assert seconds_of_rates(documents(4, 60.0), History()) == [60, 60, 60]


def test_who_is_asked_often_is_not_remembered_more_often() -> None:
    history = History()
    found = seconds_of_rates(documents(400, 0.05), history)
    assert max(found) <= WINDOW_S + WINDOW_S / MARKS
    assert found[-1] >= WINDOW_S - WINDOW_S / MARKS
    assert len(history._marks) <= MARKS + 1


class Asked:
    """A process that answers, is gone, or hangs; its clock moves when it is asked."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.takes_s = 0.0
        self.gone = False
        self.hangs = asyncio.Event()
        self.hangs.set()
        self.documents: Iterator[Document] = iter(documents(1000, 1.0))

    async def ask(self) -> Document:
        await self.hangs.wait()
        self.now_s += self.takes_s
        if self.gone:
            raise NobodyThere("no process answers at /s")
        return next(self.documents)

    def clock(self) -> float:
        return self.now_s


def scene(steps: Callable[[Asked, Observer], Any]) -> None:
    async def run() -> None:
        asked = Asked()
        await steps(asked, Observer(asked.ask, asked.clock))

    asyncio.run(run())


def test_who_is_gone_is_said_with_the_age_of_the_last_frame_and_goes_on_when_back() -> None:
    async def steps(asked: Asked, observer: Observer) -> None:
        await observer.look()
        asked.gone = True
        asked.now_s = 3.0
        await observer.look()
        seen = observer.seen()
        assert (seen.problem, seen.age_s) == ("no process answers at /s", 3.0)
        assert seen.frame is not None
        asked.gone = False
        await observer.look()
        seen = observer.seen()
        assert (seen.problem, seen.age_s, seen.number) == ("", 0.0, 3)

    scene(steps)


def test_an_answer_that_makes_no_sense_is_said_and_asked_for_again() -> None:
    async def steps(asked: Asked, observer: Observer) -> None:
        good = asked.documents
        asked.documents = iter([{"rules": [{}], "started_at": "", "uptime_s": 1.0, "dropped": {}}])
        await observer.look()
        assert observer.seen().problem.startswith("the answer is no status that can be read")
        asked.documents = good
        await observer.look()
        assert observer.seen().problem == ""

    scene(steps)


def test_an_answer_that_does_not_come_is_said() -> None:
    async def steps(asked: Asked, observer: Observer) -> None:
        await observer.look()
        asked.hangs.clear()
        looking = asyncio.create_task(observer.look())
        await asyncio.sleep(0)
        assert observer.seen().problem == ""
        asked.now_s += SILENT_S + 1
        assert observer.seen().problem == "no answer for 3 s"
        asked.hangs.set()
        await looking
        assert observer.seen().problem == ""

    scene(steps)


def test_whoever_waits_for_news_gets_them() -> None:
    async def steps(asked: Asked, observer: Observer) -> None:
        waiting = asyncio.create_task(observer.news(60.0))
        await asyncio.sleep(0)
        await observer.look()
        await asyncio.wait_for(waiting, 10)

    scene(steps)


def test_who_takes_long_to_answer_is_asked_less_often() -> None:
    async def run() -> None:
        asked = Asked()
        asked.takes_s = 0.5
        pauses: list[float] = []

        async def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 2:
                raise asyncio.CancelledError

        task = asyncio.create_task(Observer(asked.ask, asked.clock, pause).follow(1.0))
        await asyncio.wait([task])
        assert pauses == [0.5 * REST] * 2

    asyncio.run(run())
