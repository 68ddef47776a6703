"""Frames from two or more status documents: what grew, what is new, gone, or began anew."""

from copy import deepcopy
from typing import Any

import pytest

from nginy.backend.wishes import Origin
from nginy.traffic.close_reason import CloseReason
from nginy.traffic.ledger import Drop
from nginy.view.frame import MOST_BACKENDS, MOST_RULES, BackendFrame, Frame, RuleFrame, frame
from nginy.view.marks import mark
from tests.rules import Carrier, World, one_rule, world
from tests.unit.view.documents import STARTED, document, fail, serve

LATER = "2026-01-01T00:10:00.000000+00:00"


def pair(**rule: Any) -> World:
    return one_rule({}, {"weight": 3}, strategy={"type": "round_robin"}, **rule)


def framed(*documents: dict[str, Any]) -> Frame:
    """Of the last one."""
    return frame([mark(each) for each in documents[:-1]], documents[-1])


def rule_of(shown: Frame) -> RuleFrame:
    (rule,) = shown.rules
    return rule


def backends(shown: Frame) -> dict[str, BackendFrame]:
    return {each.id: each for each in rule_of(shown).backends}


def without(found: dict[str, Any], name: str) -> dict[str, Any]:
    changed = deepcopy(found)
    (rule,) = changed["rules"]
    rule["backends"] = [each for each in rule["backends"] if each["id"] != name]
    return changed


def test_the_first_frame_has_counts_and_no_rates() -> None:
    one = pair()
    serve(one, 8)
    shown = framed(document(one))
    assert (rule_of(shown).rates, shown.dropped_per_s, rule_of(shown).fairness) == (None,) * 3
    assert [each.picked for each in rule_of(shown).backends] == [2, 6]
    assert {each.got_pct for each in rule_of(shown).backends} == {None}


def test_rates_are_what_grew_in_the_seconds_between() -> None:
    one = pair()
    serve(one, 100)
    before = document(one)
    one.now += 4 - 40 * 0.002
    serve(one, 40, up=50, down=200)
    shown = framed(before, document(one))
    rates = rule_of(shown).rates
    assert rates is not None
    assert (rates.seconds, rates.picked) == (4.0, 40)
    assert rates.picked_per_s == pytest.approx(10)
    assert rates.closed_per_s == pytest.approx(10)
    assert rates.up_bytes_per_s == pytest.approx(500)
    assert rates.down_bytes_per_s == pytest.approx(2000)
    assert rates.connect_ms == pytest.approx(2)
    b1, b2 = backends(shown)["b1"], backends(shown)["b2"]
    assert b1.rates is not None
    assert b1.rates.picked_per_s == pytest.approx(2.5)
    assert (b1.share_pct, b1.got_pct, b2.got_pct) == (25, 25, 75)


def test_the_time_to_connect_is_that_of_the_window_not_of_all_the_time_before() -> None:
    one = one_rule({})
    for _ in range(1000):
        carrier = Carrier(one)
        carrier.choose()
        one.now += 1.0
        carrier.reach()
        carrier.close()
    before = document(one)
    serve(one, 10)
    (shown,) = rule_of(framed(before, document(one))).backends
    assert shown.rates is not None
    assert shown.rates.connect_ms == pytest.approx(2)


def test_bytes_of_connections_that_live_flow_too() -> None:
    one = one_rule({})
    carrier = Carrier(one)
    carrier.choose()
    carrier.reach()
    before = document(one)
    one.now += 2
    carrier.carry(10, 4000)
    rates = rule_of(framed(before, document(one))).rates
    assert rates is not None
    assert (rates.down_bytes_per_s, rates.picked_per_s) == (2000, 0)


def test_what_fails_and_is_refused_is_counted_and_troubles_its_backend() -> None:
    one = pair(access=[{"deny": "10.9.0.0/16"}])
    two = pair()
    earlier = [document(one), document(two)]
    for each in (one, two):
        each.now += 2
    with pytest.raises(Exception, match=CloseReason.DENIED.value):
        Carrier(one)
    fail(two, 4)
    (denied, failed) = (
        rule_of(framed(before, document(now)))
        for before, now in zip(earlier, (one, two), strict=True)
    )
    assert denied.rates is not None
    assert failed.rates is not None
    assert (denied.rates.refused_per_s, denied.rates.picked_per_s) == (0.5, 0)
    assert failed.rates.failed_per_s == 2
    assert [each.troubled for each in failed.backends] == [True, True]
    assert [each.troubled for each in denied.backends] == [False, False]


def test_another_process_is_never_subtracted_from_the_one_before() -> None:
    old, new = pair(), pair()
    serve(old, 10)
    old.now = 100.0
    before = document(old)
    new.now = 102.0
    serve(new, 50)
    restarted = document(new, LATER, began_s=100.0)
    assert rule_of(framed(before, restarted)).rates is None
    new.now += 1
    serve(new, 20)
    rates = rule_of(framed(before, restarted, document(new, LATER, began_s=100.0))).rates
    assert rates is not None
    assert rates.picked == 20


def test_counts_that_began_anew_have_rates_over_the_time_since() -> None:
    """The same process, so by the counts alone: of a backend that was removed and added again."""
    one = pair()
    serve(one, 40)
    first = document(one)
    again = pair()
    documents = [first]
    for _ in range(2):
        again.now = documents[-1]["uptime_s"] + 1.0
        serve(again, 8)
        documents.append(document(again))
    assert rule_of(framed(*documents[:2])).rates is None
    shown = rule_of(framed(*documents))
    assert shown.rates is not None
    assert shown.rates.picked == 8
    assert shown.rates.seconds == pytest.approx(1.016)


def test_a_backend_that_appears_has_rates_over_its_own_time() -> None:
    one = pair()
    documents = []
    for _ in range(3):
        serve(one, 8)
        documents.append(document(one))
        one.now += 1
    first, *rest = documents
    assert backends(framed(without(first, "b2"), rest[0]))["b2"].rates is None
    shown = backends(framed(without(first, "b2"), *rest))
    assert shown["b2"].rates is not None
    assert shown["b1"].rates is not None
    assert (shown["b2"].rates.picked, shown["b1"].rates.picked) == (6, 4)
    assert shown["b1"].rates.seconds == pytest.approx(2 * shown["b2"].rates.seconds, abs=0.002)


def test_who_went_and_came_back_is_not_compared_with_before() -> None:
    one = pair()
    documents = []
    for _ in range(3):
        serve(one, 8)
        documents.append(document(one))
        one.now += 1
    documents[1] = without(documents[1], "b2")
    assert backends(framed(*documents))["b2"].rates is None


def test_a_backend_that_goes_is_named() -> None:
    one = pair()
    before = document(one)
    one.now += 1
    shown = framed(before, without(document(one), "b2"))
    assert rule_of(shown).gone == ("b2",)
    assert list(backends(shown)) == ["b1"]
    one.now += 1
    after = without(document(one), "b2")
    assert rule_of(framed(without(document(one), "b2"), after)).gone == ()


def test_a_rule_that_appears_has_no_rates_yet() -> None:
    one = pair()
    before = document(one)
    one.now += 1
    now = document(one)
    now["rules"].append({**deepcopy(now["rules"][0]), "name": "new"})
    old, new = framed(before, now).rules
    assert old.rates is not None
    assert new.rates is None


UDP = """
backends:
  - {id: b1, address: "10.0.0.1:53"}
rules:
  - {name: dns, clients: ["0.0.0.0/0:53"], protocol: udp, targets: [b1]}
"""


def test_udp_sessions_and_what_was_dropped() -> None:
    one = world(UDP)
    before = document(one)
    one.now += 2
    for _ in range(6):
        carrier = Carrier(one)
        carrier.choose()
    one.ledger.dropped[Drop.RATE] += 3
    shown = framed(before, document(one))
    rule = rule_of(shown)
    assert rule.rates is not None
    assert (rule.protocol, rule.rates.picked_per_s, rule.open) == ("udp", 3, 6)
    assert rule.rates.connect_ms is None
    assert shown.dropped_per_s == 1.5
    assert shown.open == {"tcp": 0, "udp": 6}


def test_fairness_is_over_what_was_picked_since_the_shares_changed() -> None:
    one = pair()
    documents = [document(one)]
    serve(one, 400)
    one.now += 1
    documents.append(document(one))
    found = rule_of(framed(*documents)).fairness
    assert found is not None
    assert (found.jain, found.picks) == (pytest.approx(1), 400)
    one.backend(1).set_weight(3, one.now, Origin.AGENT)
    one.now += 1
    documents.append(document(one))
    assert rule_of(framed(*documents)).fairness is None, "the picks were by other shares"
    serve(one, 100)
    documents.append(document(one))
    found = rule_of(framed(*documents)).fairness
    assert found is not None
    assert (found.jain, found.picks) == (pytest.approx(1), 100)


def test_a_backend_that_is_down_does_not_count_as_unfair() -> None:
    one = one_rule({}, {}, {}, strategy={"type": "round_robin"})
    one.backend(3).set_healthy(False, one.now)
    before = document(one)
    one.now += 1
    serve(one, 200)
    shown = framed(before, document(one))
    found = rule_of(shown).fairness
    assert found is not None
    assert (found.jain, rule_of(shown).usable) == (1, 2)
    down = backends(shown)["b3"]
    assert (down.state, down.share_pct, down.got_pct, down.troubled) == ("unhealthy", 0, 0, True)
    assert down.since_s == pytest.approx(one.now)


def test_of_many_backends_those_in_trouble_are_shown_first() -> None:
    one = one_rule(*({} for _ in range(MOST_BACKENDS + 10)))
    one.backend(MOST_BACKENDS + 7).set_healthy(False, 0.0)
    rule = rule_of(framed(document(one)))
    assert [each.id for each in rule.backends][:3] == [f"b{MOST_BACKENDS + 7}", "b1", "b2"]
    assert (len(rule.backends), rule.left_out) == (MOST_BACKENDS, 10)


def test_of_many_rules_so_many_are_shown() -> None:
    found = document(pair())
    found["rules"] = [{**found["rules"][0], "name": str(number)} for number in range(30)]
    shown = framed(found)
    assert (len(shown.rules), shown.left_out) == (MOST_RULES, 30 - MOST_RULES)


def test_two_documents_of_the_same_moment_give_no_rates() -> None:
    one = pair()
    shown = framed(document(one), document(one))
    assert rule_of(shown).rates is None
    assert (shown.dropped_per_s, shown.started_at) == (None, STARTED)
