"""The timer wheel under a hand-set clock."""

from hypothesis import given
from hypothesis import strategies as st

from nginy.engine.timers import TimerWheel

TICK_S = 0.05


def never_again(_now: float) -> None:
    return None


@given(
    start=st.floats(0, 1e6),
    delays=st.lists(st.floats(0, 100), min_size=1, max_size=20),
    steps=st.lists(st.floats(0.001, 10), min_size=1, max_size=50),
)
def test_never_early_and_at_most_a_tick_late(start, delays, steps):
    wheel = TimerWheel(TICK_S, start)
    asked: dict[int, float] = {}
    for index, delay in enumerate(delays):
        wheel.add(start + delay, lambda now, index=index: asked.setdefault(index, now) and None)
    now = start
    for step in steps:
        now += step
        wheel.advance(now)
        for index, delay in enumerate(delays):
            if index in asked:
                assert asked[index] >= start + delay
            else:
                assert now < start + delay + TICK_S * 1.001
    assert len(wheel) == len(delays) - len(asked)


def test_a_later_deadline_keeps_it_on_the_wheel():
    wheel = TimerWheel(TICK_S, 0.0)
    asked = []

    def twice(now: float) -> float | None:
        asked.append(now)
        return 2.0 if len(asked) == 1 else None

    wheel.add(1.0, twice)
    wheel.advance(1.0)
    wheel.advance(1.9)
    assert asked == [1.0]
    wheel.advance(2.0)
    assert asked == [1.0, 2.0]
    assert len(wheel) == 0


def test_cancelled_is_not_asked():
    wheel = TimerWheel(TICK_S, 0.0)
    asked = []
    timer = wheel.add(1.0, asked.append)
    timer.cancel()
    timer.cancel()
    wheel.advance(10.0)
    assert asked == []
    assert len(wheel) == 0


def test_one_may_cancel_another_of_the_same_tick():
    wheel = TimerWheel(TICK_S, 0.0)
    asked = []

    def first_wins(name: str):
        def check(_now: float) -> None:
            asked.append(name)
            for timer in timers:
                timer.cancel()

        return check

    timers = [wheel.add(1.0, first_wins(name)) for name in "ab"]
    wheel.advance(2.0)
    assert len(asked) == 1
    assert len(wheel) == 0


def test_a_deadline_in_the_past_is_asked_at_the_next_tick():
    wheel = TimerWheel(0.25, 100.0)
    asked = []
    wheel.add(1.0, asked.append)
    wheel.advance(100.0)
    assert asked == []
    wheel.advance(100.25)
    assert len(asked) == 1


def test_a_fault_takes_its_own_timer_off_and_no_other(caplog):
    wheel = TimerWheel(0.05, 0.0)
    asked: list[str] = []

    def faulty(now: float) -> float:
        asked.append("faulty")
        raise RuntimeError("a bug")

    def sound(now: float) -> float | None:
        asked.append("sound")
        return now + 1.0 if len(asked) < 20 else None

    for check in (sound, faulty, sound, faulty, sound):
        wheel.add(0.1, check)
    wheel.advance(0.2)
    assert sorted(asked) == ["faulty"] * 2 + ["sound"] * 3
    assert len(wheel) == 3
    assert "a bug" in caplog.text


def test_time_in_which_the_process_stood_still_is_not_counted():
    wheel = TimerWheel(TICK_S, 0.0)
    asked: dict[str, float] = {}
    wheel.add(10.0, lambda now: asked.setdefault("placed", now) and None)
    wheel.advance(1.0)
    wheel.add(11.0, lambda now: asked.setdefault("new", now) and None)
    wheel.postpone(600.0, 600.0)
    wheel.add(602.0, lambda now: asked.setdefault("later", now) and None)
    now = 601.0
    while len(wheel):
        wheel.advance(now)
        now += TICK_S
    assert 610.0 - TICK_S <= asked["placed"] <= 610.0 + TICK_S
    assert 611.0 - TICK_S <= asked["new"] <= 611.0 + TICK_S
    assert 602.0 <= asked["later"] <= 602.0 + TICK_S * 1.001
