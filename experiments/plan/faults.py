"""Faults on a schedule, as a scenario file writes them. Pure.

    faults:
      - {at: 5 s, kill: b2}
      - {at: 5 s, slow: b1 x0.25}
      - {at: 8 s, loss: c1 20 %}
      - {at: 9 s, partition: [b1, b3]}
      - {at: 12 s, restore: b2}
      - {at: 15 s, flap: b4, period: 2 s, duty: 50 %, until: 25 s}

`at` counts from the start of load. What there is, to whom it is done and what it takes: `KINDS`.
`restore`: whatever was done to that backend, its link, or those hosts, is undone. `flap` stands for
cutting the host's link for `duty` of every `period`; `chaos` of a scenario for a random schedule.
Both are written out, so a run's manifest has the schedule itself and repeats it.
"""

import random
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

from experiments.plan.base import SettingsModel

Subject = Literal["backend", "link", "hosts", "balancer"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing that can be done.

    `unit`: of the value that it takes, as a file writes it (`x` before it); none without one.
    `leaves`: new connections are to go elsewhere, so there is something to detect. `ready`: what is
    left of the backend's capacity is still offered by it.
    """

    subject: Subject
    about: str
    unit: str = ""
    leaves: bool = False


KINDS: Mapping[str, Kind] = {
    "kill": Kind("backend", "SIGKILL", leaves=True),
    "pause": Kind("backend", "SIGSTOP: it accepts, and nobody is at work", leaves=True),
    "slow": Kind("backend", "its speed times this, also for what it is serving", "x"),
    "drain": Kind("backend", "its agent answers `drain`", leaves=True),
    "hang": Kind("backend", "it takes requests and never answers; its health port does"),
    "reset_after": Kind("backend", "it resets each connection after so much of an answer", "bytes"),
    "lie": Kind("backend", "its load reports and probes say this times the truth", "x"),
    "report_delay": Kind("backend", "its load reports are of so long ago", "s"),
    "loss": Kind("link", "both directions lose so many packets", "%"),
    "delay": Kind("link", "both directions take so long", "ms"),
    "rate": Kind("link", "both directions carry so much (where there was a rate)", "Mbit/s"),
    "cut": Kind("link", "it loses everything, and tells nobody", leaves=True),
    "partition": Kind("hosts", "the links of these hosts are cut", leaves=True),
    "restart": Kind("balancer", "SIGTERM, and another process in its place at once"),
}
RESTORE = "restore"
ACTIONS = (*KINDS, RESTORE)

_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(s|ms)?")
_NUMBER = r"(\d+(?:\.\d+)?)"


class Fault(BaseModel):
    """One entry; its JSON form is the file's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_s: float = Field(ge=0)
    """Seconds after the start of load."""
    action: str
    subject: str
    """A backend, a link or the host at its end, a balancer; several hosts are joined by `+`."""
    value: float | None = None
    """In the kind's unit."""

    @model_validator(mode="before")
    @classmethod
    def _from_file(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "action" in data:
            return data
        if "at" not in data or len(data) != 2 or not (actions := data.keys() & set(ACTIONS)):
            raise ValueError(
                "expected {at: 5 s, ACTION: backend}, ACTION being one of "
                f"{', '.join(ACTIONS)} (slow: b1 x0.25, loss: c1 20 %)"
            )
        action = actions.pop()
        subject, value = _about(action, data[action])
        return {"at_s": _seconds(data["at"]), "action": action, "subject": subject, "value": value}

    @model_serializer
    def _to_file(self) -> dict[str, Any]:
        return {"at": f"{self.at_s:g} s", self.action: self._words()}

    def _words(self) -> str | list[str]:
        if "+" in self.subject:
            return self.hosts
        if self.value is None:
            return self.subject
        unit = KINDS[self.action].unit
        return f"{self.subject} " + (
            f"x{self.value:g}" if unit == "x" else f"{self.value:g} {unit}"
        )

    @property
    def hosts(self) -> list[str]:
        """All that it is about."""
        return self.subject.split("+")

    @property
    def kind(self) -> Kind | None:
        """None of `restore`."""
        return KINDS.get(self.action)

    @property
    def factor(self) -> float:
        """Of the backend's speed; 1 where it is not about that."""
        return self.value or 1.0 if self.action == "slow" else 1.0

    def __str__(self) -> str:
        """`kill b2`, `slow b1 x0.25`, `partition b1, b2`."""
        words = self._words()
        return f"{self.action} {words if isinstance(words, str) else ', '.join(words)}"


def _about(action: str, about: Any) -> tuple[str, float | None]:
    """Subject and value of `b1 x0.25`, `c1 20 %`, `[b1, b2]`."""
    if action == "partition" or (action == RESTORE and isinstance(about, list)):
        names = about if isinstance(about, list) else [about]
        return "+".join(map(str, names)), None
    unit = KINDS[action].unit if action in KINDS else ""
    if not unit:
        return str(about).strip(), None
    value = rf"x\s*{_NUMBER}" if unit == "x" else rf"{_NUMBER}\s*{re.escape(unit)}"
    found = re.fullmatch(rf"(\S+)\s+{value}", str(about).strip())
    if found is None:
        example = "b1 x0.25" if unit == "x" else f"b1 20 {unit}"
        raise ValueError(f"{action}: {about!r} is not somebody and a value such as {example}")
    return found[1], float(found[2])


def _seconds(text: object, key: str = "at") -> float:
    """Of `5`, `5 s`, `250 ms`."""
    found = _TIME.fullmatch(str(text).strip())
    if found is None:
        raise ValueError(f"{key}: {text!r} is not a time such as 5 s")
    return float(found[1]) / (1000 if found[2] == "ms" else 1)


class Chaos(SettingsModel):
    """Faults at random: Poisson at `rate_per_min`, each of `kinds` with equal probability on a
    backend or client that is well then, undone after `lasting_s`."""

    rate_per_min: float = Field(6, gt=0, le=600)
    kinds: tuple[str, ...] = ("kill", "pause", "slow", "cut")
    lasting_s: float = Field(5, gt=0)


_CHAOS_VALUES = {"slow": 0.25, "loss": 20.0, "delay": 100.0, "reset_after": 1000.0}
_CHAOS_VALUES |= {"lie": 0.1, "report_delay": 2.0}


def chaos_schedule(
    chaos: Chaos, backends: Sequence[str], duration_s: float, seed: int
) -> list[Fault]:
    """The same for the same seed. Raises ValueError for a kind that cannot be drawn."""
    drawable = [name for name, kind in KINDS.items() if kind.subject in ("backend", "link")]
    drawable.remove("rate")
    if unknown := [name for name in chaos.kinds if name not in drawable]:
        raise ValueError(f"chaos.kinds: {', '.join(unknown)}: expected {', '.join(drawable)}")
    rng = random.Random(f"chaos/{seed}")
    at_s = 0.0
    found: list[Fault] = []
    well_from = dict.fromkeys(backends, 0.0)
    while True:
        at_s += rng.expovariate(chaos.rate_per_min / 60)
        if at_s + chaos.lasting_s >= duration_s:
            return found
        action = rng.choice(chaos.kinds)
        well = [name for name, from_s in well_from.items() if from_s < at_s]
        if len(well) > 1:  # somebody must be left to serve
            name, over_s = rng.choice(well), round(at_s + chaos.lasting_s, 3)
            well_from[name] = over_s + 1.0
            value = _CHAOS_VALUES.get(action)
            found.append(Fault(at_s=round(at_s, 3), action=action, subject=name, value=value))
            found.append(Fault(at_s=over_s, action=RESTORE, subject=name))


def written_out(entries: Any) -> Any:
    """Entries of a file with each `flap` as what it stands for. Raises ValueError."""
    if not isinstance(entries, list | tuple):
        return entries
    return [
        fault
        for entry in entries
        for fault in (_flaps(entry) if isinstance(entry, dict) and "flap" in entry else [entry])
    ]


def _flaps(entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if entry.keys() != {"at", "flap", "period", "duty", "until"}:
        raise ValueError(
            "expected {at: 5 s, flap: b2, period: 2 s, duty: 50 %, until: 25 s}, "
            f"not {', '.join(map(str, entry))}"
        )
    period_s, until_s = _seconds(entry["period"], "period"), _seconds(entry["until"], "until")
    found = re.fullmatch(rf"{_NUMBER}\s*%", str(entry["duty"]).strip())
    if found is None or not 0 < (duty := float(found[1]) / 100) < 1 or not period_s:
        raise ValueError(f"flap: period {entry['period']!r}, duty {entry['duty']!r}: expected 50 %")
    at_s = _seconds(entry["at"])
    while at_s + duty * period_s < until_s:
        yield {"at": f"{at_s:g} s", "cut": entry["flap"]}
        yield {"at": f"{at_s + duty * period_s:g} s", RESTORE: entry["flap"]}
        at_s += period_s


@dataclass(frozen=True, slots=True)
class There:
    """Who is in the network."""

    backends: Collection[str]
    balancers: Collection[str]
    hosts: Collection[str]
    links: Collection[str]
    limited: Collection[str]
    """Links by name, and hosts by their link's, that have a rate."""

    def of(self, subject: Subject) -> Collection[str]:
        """Who it can be done to."""
        if subject == "link":
            return [*self.hosts, *self.links]
        return {"backend": self.backends, "balancer": self.balancers, "hosts": self.hosts}[subject]


def check_faults(faults: Sequence[Fault], there: There, duration_s: float) -> None:
    """Raise ValueError, naming the entry, where the schedule makes no sense.

    That is: somebody unknown, a time after the load has ended, `restore` of what is well, and
    anything but `restore` for a backend that was killed.
    """
    suffering: dict[str, set[str]] = {}
    for fault in sorted(faults, key=lambda fault: fault.at_s):
        where = f"faults: {fault} at {fault.at_s:g} s"
        _check_subject(fault, there, where)
        if fault.at_s >= duration_s:
            raise ValueError(f"{where}: the load ends at {duration_s:g} s")
        ailments = suffering.setdefault(fault.subject, set())
        if fault.action == RESTORE:
            if not ailments:
                raise ValueError(f"{where}: nothing was done to it before")
            ailments.clear()
        elif "kill" in ailments:
            raise ValueError(f"{where}: it is killed and not restored by then")
        elif fault.action != "restart":
            ailments.add(fault.action)


def _check_subject(fault: Fault, there: There, where: str) -> None:
    kind = fault.kind
    known = there.of(kind.subject) if kind else [*there.hosts, *there.links]
    if unknown := [name for name in fault.hosts if name not in known]:
        what = kind.subject if kind and kind.subject != "hosts" else "host"
        raise ValueError(f"{where}: unknown {what} {unknown[0]}; there are: {', '.join(known)}")
    if fault.action == "loss" and not 0 <= (fault.value or 0) <= 100:
        raise ValueError(f"{where}: expected 0 to 100 %")
    if fault.action in ("slow", "lie", "rate") and not 0 < (fault.value or 0) <= 10_000:
        raise ValueError(f"{where}: expected a value above 0")
    if fault.action == "rate" and fault.subject not in there.limited:
        raise ValueError(f"{where}: that link has no rate_mbps to be changed")


def links_of(fault: Fault, link_of: Mapping[str, str]) -> list[str]:
    """Names of the links that it is about; `link_of` gives that of a host's or link's name."""
    kind = fault.kind
    if kind is not None and kind.subject not in ("link", "hosts"):
        return []
    return [link_of[name] for name in fault.hosts if name in link_of]


def changing_links(faults: Sequence[Fault], link_of: Mapping[str, str]) -> frozenset[str]:
    """Links that are changed at some time."""
    return frozenset(
        link
        for fault in faults
        if fault.action not in (RESTORE, "rate")
        for link in links_of(fault, link_of)
    )
