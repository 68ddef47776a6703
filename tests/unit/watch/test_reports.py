"""Which backends a load report is about."""

import pytest

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.load import LoadReport
from nginy.watch.reports import MOST_AT_ONCE, AmbiguousReport, Reports


def test_reports_are_matched_by_address_and_an_id_narrows_that_down() -> None:
    one, two, away, named = (
        Backend(backend_id, Address(host, 80))
        for backend_id, host in [
            ("one", "10.0.0.1"),
            ("two", "10.0.0.1"),
            ("away", "10.0.0.2"),
            ("web@10.0.0.3", "10.0.0.3"),
        ]
    )
    unix = Backend("unix", Address("/run/unix", 0))
    reports = Reports([])
    reports.know([one, two, away, named, unix])
    assert reports.find("10.0.0.1", None) == [one, two]
    assert reports.find("10.0.0.1", "two") == [two]
    assert reports.find("10.0.0.1", "away") == []
    assert reports.find("10.0.0.9", None) == []
    assert reports.find("10.0.0.3", "web") == [named]
    assert reports.find("/run/unix", None) == []
    reports.know([two])
    assert reports.find("10.0.0.1", None) == [two]


class Hearer:
    """In place of an algorithm."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, LoadReport]] = []

    def reported(self, backend: Backend, report: LoadReport, now: float) -> None:
        self.heard.append((backend.id, report))


def at_one_host(count: int) -> tuple[Reports, Hearer]:
    hearer = Hearer()
    reports = Reports([hearer])  # type: ignore[list-item]
    reports.know(Backend(f"b{n}", Address("10.0.0.1", 1 + n)) for n in range(count))
    return reports, hearer


BUSY = LoadReport(10.0, 20.0, 30.0, 40.0, in_flight=3, latency_s=0.5)


def test_without_an_id_utilisation_is_the_hosts_and_requests_are_nobodys() -> None:
    reports, hearer = at_one_host(2)
    assert reports.deliver("10.0.0.1", None, BUSY, 0.0)
    host = LoadReport(10.0, 20.0, 30.0, 40.0)
    assert hearer.heard == [("b0", host), ("b1", host)]
    assert reports.deliver("10.0.0.1", "b1", BUSY, 0.0)
    assert hearer.heard[2:] == [("b1", BUSY)]
    assert not reports.deliver("10.0.0.1", "b2", BUSY, 0.0)


def test_without_an_id_the_only_backend_of_a_host_is_meant_with_all_it_says() -> None:
    reports, hearer = at_one_host(1)
    reports.deliver("10.0.0.1", None, BUSY, 0.0)
    assert hearer.heard == [("b0", BUSY)]


def test_a_line_without_an_id_costs_no_more_than_a_bounded_number_of_backends() -> None:
    reports, hearer = at_one_host(MOST_AT_ONCE + 1)
    with pytest.raises(AmbiguousReport, match=f"^{MOST_AT_ONCE + 1} backends are there"):
        reports.deliver("10.0.0.1", None, BUSY, 0.0)
    assert not hearer.heard
    assert reports.deliver("10.0.0.1", "b1", BUSY, 0.0)
