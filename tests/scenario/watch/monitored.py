"""A backend with its monitor, what was logged of it, and a port that comes and goes."""

import random
import socket

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.health import make_health
from nginy.backend.pool import make_backend
from nginy.config.schema import BackendSettings
from nginy.watch.health_monitor import HealthMonitor
from tests.scenario.watch.small_servers import closed_port

FAST = {"interval_s": 0.01, "timeout_s": 5.0}


def settings(address: Address, **more: object) -> BackendSettings:
    return BackendSettings.model_validate({"id": "b1", "address": address, **more})


def checked(address: Address, **check: object) -> tuple[Backend, HealthMonitor]:
    given = settings(address, health_check={"timeout_s": 5.0, **check})
    backend = make_backend(given)
    assert given.health_check is not None
    health = make_health(given)
    return backend, HealthMonitor(backend, health, given.health_check, random.Random(1), new=False)


def logged(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("nginy")]


def levels(caplog) -> list[str]:
    return [record.levelname for record in caplog.records if record.name.startswith("nginy")]


class Switch:
    """A port that is listened to or not."""

    def __init__(self) -> None:
        self.address = closed_port()
        self._server: socket.socket | None = None

    def on(self) -> None:
        self._server = socket.create_server(self.address)

    def off(self) -> None:
        if self._server is not None:
            self._server.close()
