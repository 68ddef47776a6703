"""Any lives of attempts in any order of events: what is counted is right all the way."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.wishes import Admin, Origin
from nginy.traffic.attempt import BackendWithdrawn
from nginy.traffic.close_reason import CloseReason, ConnectionEnd
from tests.rules import REFUSED, Carrier, World, one_rule

MAX_WAITING = 3
BACKENDS = 3
WITHDRAWN = BackendWithdrawn("given up while connecting", "withdrawn")

numbers = st.integers(1, BACKENDS)
picks = st.integers(0, 100)
policies = st.sampled_from(["keep", "close", "close_spread"])


class Lives(RuleBasedStateMachine):
    """Attempts of one rule that has every limit there is."""

    @initialize(
        strategy=st.sampled_from(["round_robin", "least_conn", "least_bytes", "join_idle_queue"]),
        all_down=st.sampled_from(["refuse", "try_all"]),
        down=policies,
        drain=policies,
        protocol=st.sampled_from(["tcp", "udp"]),
    )
    def begin(self, strategy: str, all_down: str, down: str, drain: str, protocol: str) -> None:
        udp = protocol == "udp"
        self.world: World = one_rule(
            {"max_connections": 2, "max_fails": 1, "fail_timeout_s": 2.0},
            {"max_connections": 1, "weight": 3},
            {"max_connections": 1, "backup": True},
            strategy={"type": strategy},
            all_down=all_down,
            protocol=protocol,
            limits={"max_connections": 8, "max_connections_per_source": 3},
            live_connections={
                "on_down": "rebind" if udp else down, "on_drain": drain, "spread_s": 1.0
            },
            retries={"max_tries": 2, "total_timeout_ms": 3000},
            **({} if udp else {"queue": {"max_waiting": MAX_WAITING, "timeout_ms": 1500}}),
        )  # fmt: skip
        self.waits = not udp
        self.carriers: list[Carrier] = []
        self.begun = 0

    def one(self, pick: int, *, leased: bool | None = None) -> Carrier | None:
        """One that lives; with `leased`, one that holds a backend, or does not."""
        fit = [
            each for each in self.carriers if leased is None or (each.backend is not None) == leased
        ]
        return fit[pick % len(fit)] if fit else None

    def backend(self, number: int) -> Backend:
        return self.world.backend(number)

    @rule(source=st.integers(0, 3))
    def arrives(self, source: int) -> None:
        self.begun += 1
        try:
            carrier = Carrier(self.world, Address(f"10.9.0.{source}", 1))
        except ConnectionEnd:  # by a limit: who is counted is checked below
            return
        self.carriers.append(carrier)
        carrier.choose(waits=self.waits)

    @rule(pick=picks)
    def is_reached(self, pick: int) -> None:
        carrier = self.one(pick, leased=True)
        if carrier is not None and carrier.attempt.connected_s is None:
            carrier.reach()

    @rule(pick=picks, error=st.sampled_from([REFUSED, WITHDRAWN]))
    def fails(self, pick: int, error: Exception) -> None:
        carrier = self.one(pick, leased=True)
        if carrier is not None and carrier.attempt.connected_s is None:
            carrier.fail(error)
            carrier.choose(waits=self.waits)

    @rule(pick=picks, up=st.integers(0, 9), down=st.integers(0, 9))
    def carries(self, pick: int, up: int, down: int) -> None:
        carrier = self.one(pick, leased=True)
        if carrier is not None and carrier.attempt.connected_s is not None:
            carrier.carry(up, down)
            carrier.report()

    @rule(pick=picks)
    def moves(self, pick: int) -> None:
        """As a session does that leaves a backend that refuses, or its client speaks again."""
        carrier = self.one(pick)
        if carrier is not None and not self.waits:
            carrier.rebind()
            carrier.choose(waits=False)

    @rule(pick=picks)
    def is_closed(self, pick: int) -> None:
        carrier = self.one(pick)
        if carrier is not None:
            carrier.close()
            carrier.close(CloseReason.SHUTDOWN)

    @rule(number=numbers, healthy=st.booleans())
    def is_checked(self, number: int, healthy: bool) -> None:
        self.backend(number).set_healthy(healthy, self.world.now)

    @rule(number=numbers, admin=st.sampled_from(Admin))
    def is_administered(self, number: int, admin: Admin) -> None:
        self.backend(number).set_admin(admin, self.world.now, Origin.FILE)

    @rule(number=numbers, weight=st.integers(0, 3))
    def is_weighed(self, number: int, weight: int) -> None:
        self.backend(number).set_weight(weight, self.world.now, Origin.FILE)

    @rule(number=numbers, limit=st.integers(0, 3))
    def is_limited(self, number: int, limit: int) -> None:
        self.backend(number).set_max_connections(limit, self.world.now, Origin.FILE)

    @rule(seconds=st.floats(0.01, 2.0))
    def time_passes(self, seconds: float) -> None:
        self.world.advance(seconds)

    @precondition(lambda self: self.world.soon)
    @rule()
    def the_event_is_over(self) -> None:
        self.world.settle()

    @invariant()
    def counts_agree(self) -> None:
        self.carriers = [each for each in self.carriers if not each.attempt.closed]
        world, carriers = self.world, self.carriers
        world.assert_consistent()
        leased = [each.backend for each in carriers if each.backend is not None]
        assert world.pool.open_leases == len(leased)
        for backend in world.pool.values():
            assert backend.active == leased.count(backend.id) == world.rule.live.on(backend)
        assert world.rule.admission.open == len(carriers)
        assert len(world.records) == self.begun - len(carriers)

    @invariant()
    def each_waits_or_has_a_backend(self) -> None:
        if self.waits:
            assert len(self.world.rule.queue) == sum(not each.backend for each in self.carriers)
            assert len(self.world.rule.queue) <= MAX_WAITING

    @invariant()
    def tallies_are_the_records(self) -> None:
        """Bytes are said twice, by backend and by attempt: the sums are the same."""
        live = self.world.rule.live
        tallies = [live.gone, *map(live.tally, live.backends)]
        contexts = [*self.world.records, *(vars(each.attempt) for each in self.carriers)]
        for way in ("bytes_up", "bytes_down"):
            carried = sum(context.get(way, 0) for context in contexts)
            assert sum(getattr(tally, way) for tally in tallies) == carried

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        for carrier in self.carriers:
            carrier.close(CloseReason.SHUTDOWN)
        self.world.advance(0.1)
        self.world.assert_nothing_left()
        assert len({record["id"] for record in self.world.records}) == self.begun


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
