"""Which backends a load report is about."""

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.watch.load_listener import Reports


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
