"""The clock of a replay: speed, pause, seek, and what a reader lacks. Time is handed in."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from experiments.live.reel import Reel

SPEEDS = (1, 2, 5, 10, 20)


class Command(BaseModel):
    """What a viewer asks of the clock; what is left out stays."""

    model_config = ConfigDict(extra="forbid", strict=True)

    paused: bool | None = None
    speed: Literal[1, 2, 5, 10, 20] | None = None
    seek_s: float | None = Field(None, ge=0, le=1e6)


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a reader has come: the last frame that it has got of each run, in the stretch
    `epoch`. A seek backwards begins another one."""

    epoch: str = ""
    places: tuple[int, ...] = ()

    @classmethod
    def read(cls, text: str) -> "Cursor":
        """From an event's id; whoever sends nonsense starts anew."""
        epoch, *places = text.split(".")
        if not all(re.fullmatch(r"-1|\d{1,9}", place, re.ASCII) for place in places):
            return cls()
        return cls(epoch, tuple(map(int, places)))

    def __str__(self) -> str:
        """As an event's id."""
        return ".".join([self.epoch, *map(str, self.places)])


class Player:
    """One clock for all runs beside each other: they have the same arrivals at the same time."""

    def __init__(
        self, reels: Sequence[Reel], now: Callable[[], float], *, name: str, speed: int = 1
    ) -> None:
        """Starts at 0, running. `name`: of this process, so that no reader of an earlier one goes
        on where that one was."""
        self.reels = tuple(reels)
        self._now = now
        self._name = name
        self._stretch = 0
        self.speed = speed
        self.paused = False
        self._at_s = 0.0
        self._since_s = now()

    @property
    def live(self) -> bool:
        """Whether a run is being made: the clock is then where its frames are."""
        return any(reel.scene.live for reel in self.reels)

    def replace(self, live: Reel, stored: Reel) -> None:
        """The run has been made: `stored` has it from the beginning."""
        self._at_s = self.t_s
        self.reels = tuple(stored if reel is live else reel for reel in self.reels)
        self._stretch += 1

    @property
    def end_s(self) -> float:
        """Of the longest run."""
        return max(reel.scene.end_s for reel in self.reels)

    @property
    def t_s(self) -> float:
        """Where the clock stands, in seconds of the run; it waits for frames not made yet."""
        now_s = self._now()
        gone_s = 0.0 if self.paused else (now_s - self._since_s) * self.speed
        gone_s = math.inf if self.live else gone_s
        made_s = min(reel.made_s for reel in self.reels)
        self._at_s = max(self._at_s, min(self._at_s + gone_s, self.end_s, made_s))
        self._since_s = now_s
        return self._at_s

    @property
    def epoch(self) -> str:
        """Of the stretch that is being played."""
        return f"{self._name}-{self._stretch}"

    def obey(self, command: Command) -> None:
        """Change the clock. Raises ValueError while a run is being made."""
        if self.live:
            raise ValueError("a run that is being made cannot be halted or sought in")
        t_s = self.t_s
        if command.seek_s is not None:
            self._at_s = min(command.seek_s, self.end_s)
            self._stretch += self._at_s < t_s
        self.speed = command.speed or self.speed
        self.paused = self.paused if command.paused is None else command.paused

    def clock(self) -> dict[str, Any]:
        """For the page."""
        t_s = self.t_s
        return {
            "t_s": round(t_s, 3),
            "end_s": self.end_s,
            "speed": self.speed,
            "paused": self.paused,
            "ended": t_s >= self.end_s and not self.live,
            "stretch": self.epoch,
            "live": self.live,
        }

    def cursor(self) -> Cursor:
        """Of a reader that has everything up to now."""
        t_s = self.t_s
        return Cursor(self.epoch, tuple(reel.place(t_s) for reel in self.reels))

    def known_to(self, reader: Cursor) -> Sequence[int]:
        """By run, the last frame that this reader need not be sent; -1 where it starts anew."""
        same = reader.epoch == self.epoch and len(reader.places) == len(self.reels)
        return reader.places if same else [-1] * len(self.reels)
