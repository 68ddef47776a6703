from functools import partial

import pytest
from pydantic import ValidationError

from experiments.live.player import Command, Cursor, Player
from experiments.live.reel import Reel
from tests.unit.experiments.live.reels import golden, reel_of

GOLDEN = reel_of(golden())


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def player_of(*reels: Reel, clock: Clock) -> Player:
    return Player(reels, clock, name="test")


def ask(player: Player, **asked: object) -> None:
    player.obey(Command.model_validate(asked))


def test_time_goes_at_the_speed_that_is_asked_for_and_stops_at_the_end() -> None:
    clock = Clock()
    player = player_of(GOLDEN, clock=clock)
    clock.now_s += 0.5
    assert player.t_s == pytest.approx(0.5)
    ask(player, speed=5)
    clock.now_s += 0.5
    assert player.t_s == pytest.approx(3.0)
    clock.now_s += 60
    assert player.t_s == player.end_s
    assert player.clock()["ended"]


def test_paused_it_stands_and_can_be_sought() -> None:
    clock = Clock()
    player = player_of(GOLDEN, clock=clock)
    clock.now_s += 1
    ask(player, paused=True)
    clock.now_s += 10
    assert player.t_s == pytest.approx(1.0)
    ask(player, seek_s=2.5)
    clock.now_s += 10
    assert player.t_s == 2.5
    ask(player, paused=False)
    clock.now_s += 0.25
    assert player.t_s == pytest.approx(2.75)


def test_the_clock_waits_for_frames_that_are_not_made_yet_and_does_not_jump_then() -> None:
    clock, reel = Clock(), Reel(GOLDEN.scene)
    player = player_of(reel, clock=clock)
    clock.now_s += 10
    assert (player.t_s, player.cursor().places) == (0.0, (-1,))
    for line in GOLDEN.encoded[:3]:
        reel.add(line)
    assert player.t_s == 0.0
    clock.now_s += 10
    assert player.t_s == reel.frames[-1].t_s


def test_a_reader_lacks_what_came_since_and_everything_after_a_seek_backwards() -> None:
    clock = Clock()
    player = player_of(GOLDEN, clock=clock)
    assert player.known_to(Cursor()) == [-1]
    clock.now_s += 1
    reader = Cursor.read(str(player.cursor()))
    assert reader.places == (4,)
    clock.now_s += 1
    assert list(player.known_to(reader)) == [4]
    ask(player, seek_s=3)
    assert list(player.known_to(reader)) == [4]
    ask(player, seek_s=1)
    assert list(player.known_to(reader)) == [-1]


@pytest.mark.parametrize(
    "text", ["", "x", "test-0", "test-0.x", "test-0.1.2", "other-0.3", "..", "test-0.-7"]
)
def test_whoever_sends_another_id_starts_anew(text: str) -> None:
    player = player_of(GOLDEN, clock=Clock())
    assert list(player.known_to(Cursor.read(text))) == [-1]


def test_the_last_frame_is_shown_at_the_end_and_not_before() -> None:
    last = len(GOLDEN.frames) - 1
    end_s = GOLDEN.scene.end_s
    places = [GOLDEN.place(t_s) for t_s in (0, 0.24, 0.25, end_s - 1e-3, end_s, end_s + 9)]
    assert places == [0, 0, 1, last - 1, last, last]


@pytest.mark.parametrize(
    "asked",
    [
        {"speed": 3},
        {"speed": "5"},
        {"seek_s": -1},
        {"seek_s": float("nan")},
        {"paused": 1},
        {"x": 1},
    ],
    ids=str,
)
def test_what_is_no_command_is_refused(asked: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        partial(Command.model_validate, asked)()


def live_reel(frames: int) -> Reel:
    reel = Reel(GOLDEN.scene.model_copy(update={"live": True}))
    for frame in GOLDEN.encoded[:frames]:
        reel.add(frame)
    return reel


def test_while_a_run_is_made_the_clock_is_where_its_frames_are() -> None:
    clock = Clock()
    reel = live_reel(2)
    player = player_of(reel, clock=clock)
    assert player.t_s == reel.frames[1].t_s
    for frame in GOLDEN.encoded[2:9]:
        reel.add(frame)
    assert player.t_s == reel.frames[8].t_s
    with pytest.raises(ValueError, match="being made"):
        ask(player, paused=True)
    assert not player.clock()["ended"]


def test_what_is_stored_takes_its_place_and_every_reader_starts_anew() -> None:
    clock = Clock()
    reel = live_reel(9)
    player = player_of(reel, clock=clock)
    reader = player.cursor()
    player.replace(reel, GOLDEN)
    assert not player.clock()["live"]
    assert player.known_to(reader) == [-1]
    ask(player, seek_s=0.5)
    clock.now_s += 0.5
    assert player.t_s == pytest.approx(1.0)
