"""What file, agent and operator want of a backend: nobody overwrites another's word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nginy.address import Address
from nginy.backend.backend import Backend, Obstacle
from nginy.backend.slow_start import SlowStart
from nginy.backend.wishes import Admin, Origin

FILE, AGENT, API = Origin
READY, DRAIN, DOWN = Admin


def make(**settings: object) -> Backend:
    return Backend("b", Address("192.0.2.1", 80), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("operator", [FILE, API])
@pytest.mark.parametrize("wanted", [DRAIN, DOWN])
def test_an_agents_ready_does_not_end_what_the_operator_wants(
    operator: Origin, wanted: Admin
) -> None:
    backend = make()
    backend.set_admin(wanted, 0.0, operator)
    for said in (READY, DRAIN, READY):
        backend.set_admin(said, 0.0, AGENT)
        assert backend.admin is wanted
    backend.set_admin(READY, 0.0, operator)
    assert backend.admin is READY


def test_what_the_operator_ends_is_not_what_the_agent_wants() -> None:
    backend = make()
    backend.set_admin(DRAIN, 0.0, AGENT)
    backend.set_admin(DOWN, 0.0, API)
    backend.set_admin(READY, 0.0, API)
    assert backend.admin is DRAIN


def test_one_that_the_file_has_down_stays_down() -> None:
    backend = make(admin=DOWN)
    for origin in (AGENT, API):
        backend.set_admin(READY, 0.0, origin)
    assert backend.obstacle(0.0) is Obstacle.DOWN


def test_weight_and_limit_are_the_apis_else_the_agents_else_the_files() -> None:
    backend = make(weight=10, max_connections=100)

    def says(value: int | None, origin: Origin) -> tuple[int, int]:
        backend.set_weight(value, 0.0, origin)
        backend.set_max_connections(value, 0.0, origin)
        return backend.weight, backend.max_connections

    assert says(5, AGENT) == (5, 5)
    assert says(20, FILE) == (5, 5)
    assert says(7, API) == (7, 7)
    assert says(6, AGENT) == (7, 7)
    assert says(None, API) == (6, 6)
    assert says(0, AGENT) == (0, 0)
    assert says(None, AGENT) == (20, 20)


def test_a_weight_of_0_in_the_file_drains_whatever_the_agent_says() -> None:
    backend = make(weight=0)
    backend.set_weight(5, 0.0, AGENT)
    assert backend.obstacle(0.0) is Obstacle.DRAINING
    backend.set_weight(3, 0.0, API)
    assert backend.weight == 3
    backend.set_weight(None, 0.0, API)
    backend.set_weight(2, 0.0, FILE)
    assert backend.weight == 5


def test_a_wish_that_changes_nothing_is_told_to_nobody() -> None:
    told: list[str] = []

    class Listener:
        def state_changed(self, backend: Backend, now: float) -> None:
            told.append("state")

        def share_changed(self, backend: Backend, now: float) -> None:
            told.append("share")

    backend = make(admin=DOWN, weight=3, max_connections=2, slow_start=SlowStart(10.0))
    backend.watchers.append(Listener())
    backend.set_admin(DRAIN, 5.0, AGENT)
    backend.set_admin(READY, 5.0, AGENT)
    backend.set_weight(3, 5.0, AGENT)
    backend.set_max_connections(2, 5.0, API)
    assert told == []
    assert backend.share == 300


@given(st.lists(st.tuples(st.sampled_from(Origin), st.sampled_from(Admin)), max_size=20))
def test_the_most_restrictive_of_the_last_words_holds(words: list[tuple[Origin, Admin]]) -> None:
    backend = make()
    for origin, admin in words:
        backend.set_admin(admin, 0.0, origin)
    last = set(dict(words).values())
    assert backend.admin is (DOWN if DOWN in last else DRAIN if DRAIN in last else READY)


numbers = st.none() | st.integers(0, 3)


@given(
    st.integers(0, 3),
    st.lists(st.tuples(st.sampled_from([AGENT, API]), numbers), max_size=20),
)
def test_the_weightiest_word_holds(configured: int, words: list[tuple[Origin, int | None]]) -> None:
    backend = make(weight=configured, max_connections=configured)
    for origin, value in words:
        backend.set_weight(value, 0.0, origin)
        backend.set_max_connections(value, 0.0, origin)
    last = dict(words)
    agent = configured if last.get(AGENT) is None else last[AGENT]
    limit = agent if last.get(API) is None else last[API]
    assert backend.max_connections == limit
    if configured or last.get(API) is not None:
        assert backend.weight == limit
    else:
        assert backend.weight == 0
