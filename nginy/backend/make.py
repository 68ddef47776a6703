"""Backends from their settings."""

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.health import Health
from nginy.backend.penalty import Penalty
from nginy.backend.slow_start import SlowStart
from nginy.backend.wishes import Admin
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


def make_health(settings: BackendSettings) -> Health:
    """Its health before the first check."""
    check = settings.health_check
    if check is None:
        return Health()
    return Health(check.rise, check.fall, initially_up=check.initial == "up")


def at_host(settings: BackendSettings, host: str) -> BackendSettings:
    """The backend that the address `host` of a name is: `web@10.0.0.1`, alike in all else."""
    address = Address(host, settings.address.port)
    return settings.model_copy(update={"id": f"{settings.id}@{host}", "address": address})
