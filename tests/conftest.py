"""What every test shares: tests that need root run, skip with the reason, or (in CI) fail."""

import os
import resource

import pytest
from hypothesis import settings

# hypothesis' deadline of 200 ms per example is a timing assertion: on a busy machine it fails.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_configure() -> None:
    """As many open files as nginy itself would take: 1024, the usual soft limit, are too few."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root") is None or os.geteuid() == 0:
        return
    reason = "builds a virtual network, which needs root (sudo make test)"
    if os.environ.get("CI"):
        pytest.fail(f"in CI this test must run, but it {reason}")
    pytest.skip(reason)
