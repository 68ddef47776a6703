"""Settings of backends and balancer, with units in the names and their defaults."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from experiments.plan.base import SettingsModel
from nginy.config.guard_settings import (
    AgentCheckSettings,
    HealthCheckSettings,
    LiveSettings,
    QueueSettings,
    SlowStartSettings,
    UdpSettings,
)
from nginy.config.schema import Retries
from nginy.config.settings import Count, Seconds


class BackendSettings(SettingsModel):
    """The servers. `server`: `emulated`, or a real program in each backend's host that answers
    `GET /<bytes>` over HTTP/1.1 with so many bytes: `nginx`, or `command`, whose `argv` may have
    `{address}`, `{port}`, and `{files}`, a folder with a file of that name and size.

    `servers`, `queue_limit`, `speeds` are of emulated ones. `speeds` and `weights` give one value
    per backend; empty: all 1.
    """

    server: Literal["emulated", "nginx", "command"] = "emulated"
    argv: tuple[str, ...] = ()
    servers: int = Field(1, ge=1, le=1000)
    queue_limit: int = Field(1000, ge=0)
    speeds: tuple[Annotated[float, Field(gt=0, le=1000)], ...] = ()
    weights: tuple[Annotated[int, Field(ge=1)], ...] = ()

    @model_validator(mode="after")
    def _command_is_known(self) -> "BackendSettings":
        if (self.server == "command") != bool(self.argv):
            raise ValueError(
                f"argv {list(self.argv)} with server {self.server}: expected with server: command, "
                "and only there: argv: [PROGRAM, --port, '{port}', ...]"
            )
        try:
            _ = [each.format(address="", port=0, files="") for each in self.argv]
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f"argv {list(self.argv)}: {error} is no place that is filled in: {{address}}, "
                "{port}, {files}; write {{ and }} for braces"
            ) from None
        return self


class BalancerSettings(SettingsModel):
    """What the balancer under test is configured with besides its algorithm, in nginy's words.

    `auto`: checked over a port of their own if the scenario has faults, else not; agents are asked
    if a backend is drained; backends push load reports if the algorithm is one that reads them.
    """

    health_check: HealthCheckSettings | Literal["auto"] | None = "auto"
    agent_check: AgentCheckSettings | Literal["auto"] | None = "auto"
    load_reports: bool | Literal["auto"] = "auto"
    max_fails: Count = 0
    fail_timeout_s: Seconds = 10.0
    max_connections: Count = 0
    slow_start: SlowStartSettings = SlowStartSettings()
    queue: QueueSettings = QueueSettings()
    live_connections: LiveSettings = LiveSettings()
    retries: Retries = Retries()
    all_down: Literal["refuse", "try_all"] = "refuse"
    udp: UdpSettings = UdpSettings()
