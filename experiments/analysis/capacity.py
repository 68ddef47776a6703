"""What each backend could have taken, by weight or speed, and only while it was up. Pure."""

from collections.abc import Iterable, Sequence

from experiments.plan.faults import Fault


def capacities(
    backends: Sequence[str],
    shares: Sequence[float],
    faults: Iterable[Fault],
    window_s: tuple[float, float],
) -> tuple[float, ...]:
    """By backend: its share times the mean of what was left of it in the window.

    `shares` are those of a healthy backend, in any unit. A backend that is to be left (killed,
    paused, drained, cut off) can take nothing, a slow one its factor, until it is restored; times
    are those of the schedule.
    """
    due = sorted(faults, key=lambda fault: fault.at_s)
    return tuple(
        share * _left([fault for fault in due if name in fault.hosts], window_s)
        for name, share in zip(backends, shares, strict=True)
    )


def _left(faults: Sequence[Fault], window_s: tuple[float, float]) -> float:
    """Mean over the window of the part of a backend that is left, from 0 to 1 (or the factor of one
    that is made faster)."""
    begin_s, end_s = window_s
    area, since_s, down, speed = 0.0, begin_s, False, 1.0
    for fault in faults:
        at_s = min(max(fault.at_s, begin_s), end_s)
        area += (at_s - since_s) * (0.0 if down else speed)
        since_s = at_s
        if fault.kind is None:
            down, speed = False, 1.0
        elif fault.action == "slow":
            speed = fault.factor
        elif fault.kind.leaves:
            down = True
    area += (end_s - since_s) * (0.0 if down else speed)
    return area / (end_s - begin_s)
