"""Backends from their settings."""

from nginy.backend.backend import Admin, Backend
from nginy.backend.penalty import Penalty
from nginy.backend.slow_start import SlowStart
from nginy.config.schema import BackendSettings


def make_backend(settings: BackendSettings) -> Backend:
    """The backend that `settings` describe, as it is at process start."""
    check = settings.health_check
    return Backend(
        id=settings.id,
        address=settings.address,
        weight=settings.weight,
        max_connections=settings.max_connections,
        backup=settings.backup,
        penalty=Penalty(settings.max_fails, settings.fail_timeout_s, settings.fail_timeout_max_s),
        slow_start=SlowStart(settings.slow_start.duration_s, settings.slow_start.floor_pct / 100),
        admin=Admin.DOWN if settings.down else Admin.READY,
        healthy=check is None or check.initial == "up",
    )
