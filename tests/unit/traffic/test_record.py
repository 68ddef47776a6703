"""Close records: names, units, nulls."""

import orjson

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.traffic.close_reason import CloseReason
from nginy.traffic.record import ConnectionContext, close_record


def context() -> ConnectionContext:
    return ConnectionContext(
        7, "tcp", Address("::", 80), Address("2001:db8::1", 5000), opened_s=10.0
    )


def test_served_connection():
    served = context()
    b1, b2 = (Backend(name, Address("10.0.0.1", port)) for name, port in (("b1", 1), ("b2", 2)))
    served.rule_name = "web"
    served.tried = [b1, b2]
    served.backend = b2
    served.upstream_local = Address("10.0.0.9", 40000)
    served.queued_s = 0.25
    served.connect_began_s = 10.5
    served.connected_s = 10.502
    served.first_byte_s = 10.51
    served.closed_s = 12.0
    served.bytes_up, served.bytes_down = 3, 4
    served.close_reason = CloseReason.COMPLETED
    assert close_record(served) == {
        "schema_version": 1,
        "id": "7",
        "protocol": "tcp",
        "rule": "web",
        "listener": "[::]:80",
        "client": "[2001:db8::1]:5000",
        "backend": "b2",
        "backend_address": "10.0.0.1:2",
        "upstream_local": "10.0.0.9:40000",
        "opened_s": 10.0,
        "closed_s": 12.0,
        "queued_ms": 250.0,
        "connect_ms": 2.0,
        "first_byte_ms": 10.0,
        "duration_ms": 2000.0,
        "bytes_up": 3,
        "bytes_down": 4,
        "datagrams_up": None,
        "datagrams_down": None,
        "dropped": None,
        "backends_tried": ["b1", "b2"],
        "close_reason": "completed",
        "fault": "nobody",
    }


def test_connection_that_reached_nobody():
    closed = context()
    closed.closed_s = 10.25
    closed.close_reason = CloseReason.NO_RULE
    record = close_record(closed)
    absent = {name for name, value in record.items() if value is None}
    assert absent == {
        "rule", "backend", "backend_address", "upstream_local", "connect_ms", "first_byte_ms",
        "datagrams_up", "datagrams_down", "dropped",
    }  # fmt: skip
    assert record["backends_tried"] == []
    assert record["duration_ms"] == 250.0
    assert orjson.loads(orjson.dumps(record)) == record
