"""Prequal: backends are probed, and the fastest that is not hot is chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.load import LoadReport
from nginy.backend.pool import Outcome
from nginy.balancer.base import Balancer
from nginy.balancer.draws import DrawList
from nginy.balancer.probe_pool import PooledAnswer, ProbePool, reuse_budget, rounded
from nginy.balancer.roster import Eligible, Tried
from nginy.config.strategies import PrequalSettings

ERROR_STEP = 0.2
"""How far one attempt moves a backend's share of errors."""
SUSPECT_SHARE = 0.25
"""Above this share of errors a backend is a suspect: after two failures in a row, say."""
FORGIVEN_SHARE = 0.01
"""Below this share of errors nothing is remembered."""
SUSPECT_S = 10.0
"""For so long after its last failure; then it is given another chance (nginx's fail_timeout)."""


@dataclass(slots=True)
class _Errors:
    """One backend's failed attempts."""

    share: float = 0.0
    failed_at: float = 0.0


class Prequal(Balancer[PrequalSettings]):
    """By probe answers: below the quantile of requests in flight the least latency wins.

    Every pick has `probes_per_pick` backends probed, drawn uniformly, off the connection's way. Of
    the answers (16 at most, 1 s old at most, each used a limited number of times) those with more
    requests in flight than the `hot_quantile` of the recent ones are hot; of the cold ones the
    least latency wins, else the fewest requests in flight. Each pick adds one to what its backend
    answered, and drops answers, the oldest and the worst in turn. With fewer than two answers a
    usable backend is drawn by chance. A load report with in_flight and latency_ms is an answer.
    With no more backends than the pool has room for, the paper's reuse formula has no meaning: the
    pool then holds one answer per backend and each is used once.
    A backend of which more than a quarter of the recent attempts failed counts only where nobody
    else has answered, until 10 s have passed: its empty queue would attract everybody (the paper
    names the problem, the cure is this program's).
    The latency that a backend answers must be of requests at about its present load, as in the
    paper. In simulation (20 equal servers at 80 %) that gave a mean response of 17 ms, the plain
    median of the last nine requests 322 ms, and chance 51 ms: what lags behind starts herds.
    Weights: none; latency and requests in flight tell what a backend can carry. An unavailable
    backend is not probed, and its answers are dropped. Cost: O(pool_size), whatever n is.
    Source: Wydrowski, Kleinberg, Rumble, Archer, "Load is not what you should balance: Introducing
    Prequal", NSDI 2024 (arXiv 2312.10172).
    """

    wants_probes = True

    def prepare(self) -> None:
        """No answers yet."""
        settings = self.settings
        self._pool = ProbePool(settings.hot_quantile, settings.max_age_s)
        self._draws = self.roster.followed_by(DrawList())
        self._errors: dict[Backend, _Errors] = {}
        # A setting of pydantic's is slower to read than an attribute.
        self._removed_per_pick = settings.removed_per_pick
        self._probes_per_pick = settings.probes_per_pick
        self._owed = 0
        self._followed: tuple[int, float] | None = None
        """Requests in flight and latency, as the last pick saw them; None: it drew by chance."""
        self._probed_at = float("-inf")

    def rebuild(self, backends: Sequence[Backend], now: float) -> None:
        """Answers of backends that stay are kept."""
        answers = self._pool.answers
        super().rebuild(backends, now)
        self._pool.answers = [one for one in answers if one.backend in self.roster.usable]
        for backend in self._errors.keys() - self.roster.position.keys():
            del self._errors[backend]

    def left(self, backend: Backend, now: float) -> None:
        """What it answered is dropped."""
        self._pool.forget(backend)

    def choose(self, client: Address, now: float, eligible: Eligible, tried: Tried) -> Backend:
        """By the answers, or by chance."""
        self._pool.expire(now)
        answer = self._pool.best(tried, self._suspects(now) if self._errors else ())
        self._followed = None
        if answer is not None:
            self._followed = (answer.in_flight, answer.latency_s)
            self._pool.use(answer)
        self._pool.remove(rounded(self._removed_per_pick, self.rng))
        self._owed += rounded(self._probes_per_pick, self.rng)
        return self._draws.draw(self.rng, eligible) if answer is None else answer.backend

    def probes_due(self, now: float) -> Sequence[Backend]:
        """What the picks since the last call owe; some anyway when there were none for a while."""
        idle = now - self._probed_at >= self.settings.idle_probe_s
        if idle and not self._owed and self.settings.probes_per_pick:
            # Fewer than two answers are no choice.
            self._owed = max(2, ceil(self.settings.probes_per_pick))
        if not self._owed:
            return ()
        due = self._draws.sample(self.rng, self._owed)
        self._owed = 0
        self._probed_at = now
        return due

    def probed(self, backend: Backend, in_flight: int, latency_s: float, now: float) -> None:
        """An answer."""
        if backend not in self.roster.usable:
            return
        settings, count = self.settings, len(self._draws)
        budget = reuse_budget(
            settings.pool_size,
            count,
            settings.probes_per_pick,
            settings.removed_per_pick,
            settings.delta,
        )
        answer = PooledAnswer(backend, in_flight, latency_s, now, rounded(budget, self.rng))
        self._pool.add(answer, min(settings.pool_size, count))

    def reported(self, backend: Backend, report: LoadReport, now: float) -> None:
        """An answer without a probe, if the report says as much."""
        if report.in_flight is not None and report.latency_s is not None:
            self.probed(backend, report.in_flight, report.latency_s, now)

    def closed(self, backend: Backend, outcome: Outcome, now: float) -> None:
        """Learn whether it fails."""
        errors = self._errors.get(backend)
        if errors is None:
            if not outcome.failed or backend not in self.roster.position:
                return
            errors = self._errors[backend] = _Errors()
        errors.share += ERROR_STEP * (outcome.failed - errors.share)
        if outcome.failed:
            errors.failed_at = now
        elif errors.share < FORGIVEN_SHARE:
            del self._errors[backend]

    def _suspects(self, now: float) -> set[Backend]:
        """Of those who have answered."""
        return {
            answer.backend for answer in self._pool.answers if self._suspect(answer.backend, now)
        }

    def _suspect(self, backend: Backend, now: float) -> bool:
        errors = self._errors.get(backend)
        if errors is None or errors.share <= SUSPECT_SHARE:
            return False
        return now - errors.failed_at < SUSPECT_S

    def scores(self, client: Address | None, now: float) -> Mapping[Backend, str]:
        """The newest answer of each."""
        self._pool.expire(now)
        known = {answer.backend: answer for answer in self._pool.answers}
        return {
            backend: self._score(known[backend], now) if backend in known else "no fresh answer"
            for backend in self.roster.in_order()
        }

    def _score(self, answer: PooledAnswer, now: float) -> str:
        heat = "hot" if answer.in_flight > self._pool.threshold else "cold"
        if self._suspect(answer.backend, now):
            heat += ", suspect (it failed lately)"
        return f"{answer.in_flight} in flight, {answer.latency_s * 1e3:.4g} ms: {heat}"

    def reason(self, client: Address, chosen: Backend, now: float) -> str:
        """How the last pick, which led to `chosen`, was made."""
        if self._followed is None:
            return "fewer than two fresh probe answers, so it was drawn by chance"
        in_flight, latency_s = self._followed
        said = f"{in_flight} in flight, {latency_s * 1e3:.4g} ms"
        if in_flight > self._pool.threshold:
            return f"all that answered are hot, and it has the fewest in flight: {said}"
        return f"of those that are not hot it has the least latency: {said}"
