"""What the file, an agent and the operator each want of a backend, and what follows from it.

No origin overwrites another's wish; what holds is derived from all of them:

- admin: the most restrictive of all. So an agent's `ready` ends the agent's own drain and not the
  operator's (HAProxy's ends both).
- weight: the API's, else the agent's, else the file's. A 0 in the file drains whatever the agent
  says: a percentage of it is 0 as well.
- max_connections: the API's, else the agent's, else the file's.

Whether a backend is healthy is nobody's wish: see `Health`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum


class Admin(Enum):
    """Whether a backend may be used, the most restrictive last."""

    READY = "ready"
    DRAIN = "drain"
    DOWN = "down"


RESTRICTION = {admin: rank for rank, admin in enumerate(Admin)}


class Origin(Enum):
    """Who may want something of a backend, the weightiest last."""

    FILE = "file"
    AGENT = "agent"
    API = "api"
    """The operator, while the process runs."""


@dataclass(slots=True)
class Wish:
    """What one origin wants. None: it leaves that to the others."""

    admin: Admin = Admin.READY
    weight: int | None = None
    max_connections: int | None = None


class Wishes(dict[Origin, Wish]):
    """Of one backend, by origin; who has said nothing wants nothing. The file has said all."""

    def __init__(self, file: Wish) -> None:
        """Nobody but the file has spoken."""
        super().__init__({Origin.FILE: file})

    def __missing__(self, origin: Origin) -> Wish:
        """A wish to be filled in."""
        self[origin] = wish = Wish()
        return wish

    @property
    def admin(self) -> Admin:
        """What holds."""
        return max((wish.admin for wish in self.values()), key=RESTRICTION.__getitem__)

    @property
    def weight(self) -> int:
        """What holds."""
        drained = self[Origin.FILE].weight == 0
        return _first(
            wish.weight
            for origin, wish in self._weightiest_first()
            if not (drained and origin is Origin.AGENT)
        )

    @property
    def max_connections(self) -> int:
        """What holds."""
        return _first(wish.max_connections for _, wish in self._weightiest_first())

    @property
    def withdrawn_by(self) -> tuple[Origin, ...]:
        """Who wants it drained or down; nobody if it is neither."""
        admin, drained = self.admin, self.weight == 0
        return tuple(
            origin
            for origin, wish in self.items()
            if (wish.admin is admin is not Admin.READY) or (drained and wish.weight == 0)
        )

    def _weightiest_first(self) -> Iterator[tuple[Origin, Wish]]:
        return ((origin, self[origin]) for origin in reversed(Origin) if origin in self)


def _first(values: Iterator[int | None]) -> int:
    return next(value for value in values if value is not None)
