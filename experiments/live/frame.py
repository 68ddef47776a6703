"""What page and terminal show: the scene, which stays, and the frame of one moment. Pure data.

Who makes them needs pandas (`aggregate.py`), who shows them only this file, so the process that
serves the page stays small. As JSON lines: a scene, then its frames. What is not known is null.
"""

from pydantic import BaseModel, ConfigDict

SCHEMA_VERSION = 1

MOST_FRAMES = 600
"""Of a run: what a late reader is sent at once stays bounded, however long the run was."""


class Shown(BaseModel):
    """Frozen, and nothing but what is declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Reading(Shown):
    """A latency; `censored`: no answer came within that time, so it is that or longer."""

    ms: float | None = None
    censored: bool = False


class Latency(Shown):
    """Percentiles of what ended in the window, and how much of it was never answered."""

    p50: Reading
    p95: Reading
    p99: Reading
    requests: int
    unanswered: int


class Fairness(Shown):
    """Jain's index over what each backend could take, beside chance; null of too few requests.

    `low`: one in a thousand random assignments is below it, which is what `evenness` judges by.
    """

    jain: float | None = None
    mean: float | None = None
    low: float | None = None
    evenness: str = ""


class BackendFrame(Shown):
    """One backend; `state` is what was done to it, and `since_s` when. `share` is of the requests
    in the window. `open`, `queue`, `busy` are its own samples, null where it is silent."""

    name: str
    state: str
    since_s: float
    up: bool
    requests: int
    share: float | None
    rps: float
    p50: Reading
    p99: Reading
    failed: int
    open: int | None
    queue: int | None
    busy: int | None


class Totals(Shown):
    """Over the measured interval, so far; at the end the numbers of the run's table."""

    requests: int
    unanswered: int
    completed_rps: float | None
    p50: Reading
    p95: Reading
    p99: Reading
    fairness: Fairness


class Event(Shown):
    """Something that was done, at `t_s` seconds."""

    t_s: float
    label: str


class Frame(Shown):
    """The run at `t_s` seconds after the start of load, as far as it was known then."""

    t_s: float
    window_s: float
    in_flight: int
    unanswered_so_far: int
    """Since the start of load, warm-up included."""
    latency: Latency
    backends: tuple[BackendFrame, ...]
    fairness: Fairness
    totals: Totals
    events: tuple[Event, ...]
    """All until now."""


class Measured(Shown):
    """One value of one direction of a link: what was asked, what was found."""

    direction: str
    quantity: str
    asked: str
    measured: str
    ok: bool


class SceneLink(Shown):
    """A cable; `asked` in few words, empty where nothing is asked of it."""

    name: str
    ends: tuple[str, str]
    asked: str
    measured: tuple[Measured, ...]


class SceneHost(Shown):
    """A host or a switch."""

    name: str
    role: str
    address: str


class SceneCheck(Shown):
    """One check of the verdict."""

    name: str
    ok: bool
    detail: str


class Scene(Shown):
    """What does not change while the run is shown."""

    schema_version: int = SCHEMA_VERSION
    run_id: str
    title: str
    offered: str
    algorithm: str
    protocol: str
    seed: int
    warmup_s: float
    duration_s: float
    step_s: float
    """Between two frames."""
    end_s: float
    """When the last request ended: of the last frame, which has all that is known."""
    timeout_ms: float
    weights: dict[str, float]
    hosts: tuple[SceneHost, ...]
    links: tuple[SceneLink, ...]
    valid: bool | None
    """None: the run has no verdict."""
    statement: str
    checks: tuple[SceneCheck, ...]
    live: bool = False
    """It is being made, and takes faults by hand."""


def is_scene(line: bytes) -> bool:
    """Of a line of JSON, which is a frame if not."""
    return line.startswith(b'{"schema_version"')


def told(reading: Reading) -> str:
    """`12.3 ms`, `≥ 2000 ms` where it is censored, `–` where there is nothing."""
    if reading.ms is None:
        return "–"
    digits = 1 if reading.ms < 1000 and not reading.censored else 0
    return f"{'≥ ' if reading.censored else ''}{reading.ms:.{digits}f} ms"
