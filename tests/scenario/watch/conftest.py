"""What is said of backends is looked at from the lowest level."""

import pytest


@pytest.fixture(autouse=True)
def _log_level(caplog) -> None:
    caplog.set_level("DEBUG", logger="nginy")
