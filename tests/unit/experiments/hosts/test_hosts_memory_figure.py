"""The memory figure of a load report: the original project reported total / used."""

from experiments.hosts.backend.utilisation import Capacity, Reading, utilisation
from nginy.backend.load import parse_report

PLACES = 50


def test_memory_is_what_is_used_of_what_there_is() -> None:
    begin, end = Reading(0, 0, 0, 0, 0), Reading(1, 1, 0, 0, 0)
    for used in range(PLACES + 1):
        report = utilisation(begin, end, used, Capacity(servers=1, queue_limit=PLACES, mbps=1.0))
        _, read = parse_report(str(report).replace("'", '"').encode())
        assert read.mem_pct == 100 * used / PLACES
