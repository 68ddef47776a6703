"""A run's scene and frames as they come from who makes them, and what a chart needs of each."""

import math
from dataclasses import dataclass, field
from typing import Any

from experiments.live.frame import Frame, Reading, Scene


@dataclass
class Reel:
    """Frames of one run, in order of time; they may still be coming."""

    scene: Scene
    done: bool = False
    """No more will come."""
    problem: str = ""
    """Why they ended early."""
    frames: list[Frame] = field(default_factory=list)
    encoded: list[str] = field(default_factory=list)
    """The same as JSON: a frame is sent many times."""
    points: list[dict[str, Any]] = field(default_factory=list)

    def add(self, line: str) -> None:
        """The next frame, as JSON."""
        frame = Frame.model_validate_json(line)
        self.frames.append(frame)
        self.encoded.append(line.strip())
        self.points.append(point_of(frame))

    @property
    def made_s(self) -> float:
        """Until when there are frames; of a run that has them all, for ever."""
        if self.done:
            return math.inf
        return self.frames[-1].t_s if self.frames else 0.0

    def place(self, t_s: float) -> int:
        """Number of the last frame at or before `t_s`; -1 while there is none."""
        last = len(self.frames) - 1
        if last >= 0 and t_s >= self.frames[last].t_s:
            return last  # the end is on no step
        return min(math.floor(t_s / self.scene.step_s + 1e-9), last)


def point_of(frame: Frame) -> dict[str, Any]:
    """What charts draw of a frame: numbers only, a list each over the backends."""
    latency, fairness = frame.latency, frame.fairness
    return {
        "t": round(frame.t_s, 3),
        "p50": _ms(latency.p50),
        "p95": _ms(latency.p95),
        "p99": _ms(latency.p99),
        "lost": frame.unanswered_so_far,
        "rps": [each.rps for each in frame.backends],
        "queue": [each.queue for each in frame.backends],
        "busy": [each.busy for each in frame.backends],
        "jain": fairness.jain,
        "low": fairness.low,
        "mean": fairness.mean,
    }


def _ms(reading: Reading) -> float | None:
    return None if reading.ms is None else round(reading.ms, 2)
