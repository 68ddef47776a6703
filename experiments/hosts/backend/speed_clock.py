"""A clock that runs faster or slower on command: what a server gets done by when. Pure."""

from bisect import bisect_right


class SpeedClock:
    """Maps real time to work time, in seconds, and back.

    Work time passes `factor` times as fast as real time. Until the first `change` both are equal.
    A job that needs 10 ms of work takes 40 ms while the factor is 0.25; one in the middle of its
    service when the factor changes is slowed for what remains of it.
    """

    def __init__(self) -> None:
        """At factor 1."""
        # Where each factor began: in real time, in work time.
        self._real_s = [0.0]
        self._work_s = [0.0]
        self._factors = [1.0]

    @property
    def factor(self) -> float:
        """The one in force."""
        return self._factors[-1]

    def change(self, now_s: float, factor: float) -> None:
        """From `now_s` on, work passes `factor` times as fast as real time.

        Raises ValueError if the factor is not above 0 or time runs backwards.
        """
        if not 0 < factor < float("inf") or now_s < self._real_s[-1]:
            raise ValueError(f"no such change of speed: {factor} at {now_s} s")
        work_s = self.work(now_s)
        self._real_s.append(now_s)
        self._work_s.append(work_s)
        self._factors.append(factor)

    def work(self, real_s: float) -> float:
        """Work time at a real time that is not before the last change."""
        return self._work_s[-1] + self._factors[-1] * (real_s - self._real_s[-1])

    def real(self, work_s: float) -> float:
        """When that work time was, or at the present factor will be."""
        era = max(bisect_right(self._work_s, work_s) - 1, 0)
        return self._real_s[era] + (work_s - self._work_s[era]) / self._factors[era]
