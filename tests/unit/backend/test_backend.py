"""A backend: what keeps it from being chosen, and who is told."""

import pytest

from nginy.address import Address
from nginy.backend.backend import Backend, Obstacle
from nginy.backend.penalty import Penalty
from nginy.backend.slow_start import SlowStart
from nginy.backend.wishes import Admin, Origin


class Listener:
    """Writes down what it is told."""

    def __init__(self, backend: Backend) -> None:
        self.seen: list[tuple[str, object]] = []
        backend.watchers.append(self)
        backend.load_watchers.append(self)

    def state_changed(self, backend: Backend, now: float) -> None:
        self.seen.append(("state", backend.obstacle(now)))

    def share_changed(self, backend: Backend, now: float) -> None:
        self.seen.append(("share", backend.share))

    def load_changed(self, backend: Backend, now: float) -> None:
        self.seen.append(("load", backend.active))


def make(weight: int = 1, **settings: object) -> Backend:
    return Backend("b", Address("192.0.2.1", 80), weight, **settings)  # type: ignore[arg-type]


def test_the_weightiest_obstacle_is_named() -> None:
    backend = make(max_connections=1, penalty=Penalty(max_fails=1))
    assert backend.available(0.0)
    backend.opened(0.0)
    assert backend.obstacle(0.0) is Obstacle.FULL
    backend.failed(0.0)
    assert backend.obstacle(0.0) is Obstacle.PENALISED
    backend.set_admin(Admin.DRAIN, 0.0, Origin.FILE)
    assert backend.obstacle(0.0) is Obstacle.DRAINING
    backend.set_healthy(False, 0.0)
    assert backend.obstacle(0.0) is Obstacle.UNHEALTHY
    assert backend.obstacle(0.0, heed_health=False) is Obstacle.DRAINING
    backend.set_admin(Admin.DOWN, 0.0, Origin.FILE)
    assert backend.obstacle(0.0) is Obstacle.DOWN
    backend.remove(0.0)
    assert backend.obstacle(0.0) is Obstacle.REMOVED


def test_weight_0_drains_and_keeps_the_place_in_hashes() -> None:
    backend = make(weight=3)
    backend.set_weight(0, 0.0, Origin.FILE)
    assert backend.obstacle(0.0) is Obstacle.DRAINING
    assert (backend.place_weight, backend.share) == (3, 1)
    backend.set_weight(2, 0.0, Origin.FILE)
    assert backend.available(0.0)
    assert (backend.place_weight, backend.share) == (2, 200)


@pytest.mark.parametrize(
    ("limit", "leases", "available"), [(0, 9, True), (2, 1, True), (2, 2, False)]
)
def test_connection_limit(limit: int, leases: int, available: bool) -> None:
    backend = make(max_connections=limit)
    for _ in range(leases):
        backend.opened(0.0)
    assert backend.available(0.0) is available


def test_watchers_hear_of_full_and_of_room() -> None:
    backend = make(max_connections=2)
    listener = Listener(backend)
    backend.opened(0.0)
    backend.opened(0.0)
    backend.released(0.0)
    backend.released(0.0)
    full, room = ("state", Obstacle.FULL), ("state", None)
    loads = [("load", n) for n in (1, 2, 1, 0)]
    assert listener.seen == [loads[0], loads[1], full, loads[2], room, loads[3]]


def test_a_lower_limit_counts_at_once_and_frees_only_below_it() -> None:
    backend = make(max_connections=5)
    for _ in range(3):
        backend.opened(0.0)
    listener = Listener(backend)
    backend.set_max_connections(2, 0.0, Origin.FILE)
    backend.released(0.0)
    backend.released(0.0)
    states = [what for kind, what in listener.seen if kind == "state"]
    assert states == [Obstacle.FULL, Obstacle.FULL, None]


def test_recovery_starts_slowly_and_a_new_weight_does_not_end_that() -> None:
    backend = make(weight=4, slow_start=SlowStart(10.0, floor=0.1))
    assert backend.share == 400
    backend.set_healthy(False, 0.0)
    backend.set_healthy(True, 100.0)
    assert backend.share == 40
    assert backend.ramp(105.0)
    assert backend.share == 220
    backend.set_weight(2, 105.0, Origin.FILE)
    assert backend.share == 110
    assert not backend.ramp(110.0)
    assert backend.share == 200


def test_a_success_after_a_penalty_starts_slowly_and_is_told() -> None:
    backend = make(penalty=Penalty(max_fails=1), slow_start=SlowStart(10.0, floor=0.5))
    backend.failed(0.0)
    backend.opened(20.0)
    listener = Listener(backend)
    backend.succeeded(20.0)
    assert listener.seen == [("share", 50), ("state", None)]


def test_who_was_switched_off_starts_slowly_and_who_was_drained_does_not() -> None:
    backend = make(weight=4, slow_start=SlowStart(10.0, floor=0.25))
    backend.set_admin(Admin.DRAIN, 0.0, Origin.FILE)
    backend.set_admin(Admin.READY, 1.0, Origin.FILE)
    assert backend.share == 400
    backend.set_admin(Admin.DOWN, 2.0, Origin.FILE)
    backend.set_admin(Admin.READY, 3.0, Origin.FILE)
    assert backend.share == 100


def test_the_trial_after_a_penalty_is_told_so_that_others_stay_away() -> None:
    backend = make(penalty=Penalty(max_fails=1, fail_timeout_s=10.0))
    backend.failed(0.0)
    listener = Listener(backend)
    backend.opened(11.0)
    assert listener.seen == [("load", 1), ("state", Obstacle.PENALISED)]


def test_when_its_obstacle_began() -> None:
    backend = make(max_connections=2)
    backend.opened(1.0)
    assert backend.obstacle_since is None
    backend.opened(2.0)
    assert backend.obstacle_since == 2.0
    backend.set_max_connections(1, 3.0, Origin.FILE)
    backend.released(4.0)
    assert backend.obstacle_since == 2.0, "full all the time"
    backend.set_healthy(False, 5.0)
    backend.set_weight(5, 6.0, Origin.FILE)
    assert backend.obstacle_since == 5.0
    backend.set_healthy(True, 7.0)
    assert backend.obstacle_since == 7.0
    backend.released(8.0)
    assert backend.obstacle_since is None
    backend.remove(9.0)
    assert backend.obstacle_since == 9.0


def test_an_obstacle_it_was_made_with_has_no_beginning() -> None:
    backend = make(weight=0)
    backend.set_max_connections(5, 3.0, Origin.FILE)
    assert backend.obstacle_since is None
    backend.set_admin(Admin.DOWN, 4.0, Origin.FILE)
    assert backend.obstacle_since == 4.0


def test_a_penalty_that_time_ended_is_not_continued_by_the_next_one() -> None:
    backend = make(penalty=Penalty(max_fails=1, fail_timeout_s=10.0))
    backend.failed(0.0)
    assert backend.obstacle_since == 0.0
    backend.opened(50.0)
    assert backend.obstacle_since == 50.0, "the trial keeps others away"
    backend.failed(51.0)
    assert backend.obstacle_since == 51.0
