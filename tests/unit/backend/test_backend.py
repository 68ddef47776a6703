"""Passive failure detection: nginx's max_fails and fail_timeout."""

import pytest

from nginy.address import Address
from nginy.backend.backend import Backend


def make(**settings: float) -> Backend:
    return Backend("b", Address("192.0.2.1", 80), **settings)  # type: ignore[arg-type]


def attempt(backend: Backend, now: float, *, ok: bool) -> None:
    backend.chosen(now)
    if ok:
        backend.succeeded(now)
    else:
        backend.failed(now)


def test_never_penalised_by_default() -> None:
    backend = make()
    for now in range(100):
        attempt(backend, now, ok=False)
        assert backend.available(now)


def test_left_alone_for_fail_timeout_after_max_fails() -> None:
    backend = make(max_fails=2, fail_timeout_s=10.0)
    attempt(backend, 0.0, ok=False)
    assert backend.available(0.0)
    attempt(backend, 3.0, ok=False)
    assert not backend.available(3.0)
    assert not backend.available(13.0)
    assert backend.available(13.1)


def test_one_failure_after_the_penalty_puts_it_back() -> None:
    backend = make(max_fails=3, fail_timeout_s=10.0)
    for now in (0.0, 1.0, 2.0):
        attempt(backend, now, ok=False)
    attempt(backend, 20.0, ok=False)
    assert not backend.available(29.9)
    assert backend.available(30.1)


def test_one_success_after_the_penalty_clears_the_count() -> None:
    backend = make(max_fails=2, fail_timeout_s=10.0)
    attempt(backend, 0.0, ok=False)
    attempt(backend, 0.0, ok=False)
    attempt(backend, 10.5, ok=True)
    attempt(backend, 11.0, ok=False)
    assert backend.available(11.0)
    attempt(backend, 11.5, ok=False)
    assert not backend.available(11.5)


def test_a_success_soon_after_a_failure_does_not_clear_the_count() -> None:
    """Only a trial after fail_timeout does: a backend that fails every other time is found."""
    backend = make(max_fails=2, fail_timeout_s=10.0)
    attempt(backend, 0.0, ok=False)
    attempt(backend, 1.0, ok=True)
    attempt(backend, 2.0, ok=False)
    assert not backend.available(2.0)


@pytest.mark.parametrize(
    ("limit", "active", "available"), [(0, 999, True), (2, 1, True), (2, 2, False)]
)
def test_connection_limit(limit: int, active: int, available: bool) -> None:
    backend = make(max_connections=limit)
    backend.active = active
    assert backend.available(0.0) is available


def test_down_is_never_available() -> None:
    assert not make(down=True).available(0.0)
