"""What every test shares: tests that need root run, skip with the reason, or (in CI) fail."""

import os

import pytest


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root") is None or os.geteuid() == 0:
        return
    reason = "builds a virtual network, which needs root (sudo make test)"
    if os.environ.get("CI"):
        pytest.fail(f"in CI this test must run, but it {reason}")
    pytest.skip(reason)
