"""The close record: one JSON object per connection, the schema that experiments read."""

from nginy.traffic.context import ConnectionContext

SCHEMA_VERSION = 1

Record = dict[str, str | int | float | list[str] | None]


def close_record(context: ConnectionContext) -> Record:
    """The record of a closed connection.

    `opened_s` and `closed_s` are seconds on CLOCK_MONOTONIC, `*_ms` durations: `connect_ms` of the
    attempt that succeeded, `first_byte_ms` from the start of that attempt until the backend's
    first byte was passed on (nginx's `$upstream_first_byte_time`), `duration_ms` from accept to
    close, of which `queued_ms` were spent waiting while every backend was full.
    Null: it did not happen. `close_reason` is a value of `CloseReason`.

    Of a UDP session, `connect_ms` is null, and the times are those of the last backend;
    `datagrams_up`, `datagrams_down` and `dropped` (not passed on) are null for TCP.
    """
    backend = context.backend
    began_s = context.connect_began_s
    udp = context.protocol == "udp"
    return {
        "schema_version": SCHEMA_VERSION,
        "id": context.id,
        "protocol": context.protocol,
        "rule": context.rule,
        "listener": str(context.listener),
        "client": str(context.client),
        "backend": backend.id if backend else None,
        "backend_address": str(backend.address) if backend else None,
        "upstream_local": str(context.upstream_local) if context.upstream_local else None,
        "opened_s": context.opened_s,
        "closed_s": context.closed_s,
        "queued_ms": round(context.queued_s * 1e3, 3),
        "connect_ms": _ms(began_s, context.connected_s),
        "first_byte_ms": _ms(began_s, context.first_byte_s),
        "duration_ms": _ms(context.opened_s, context.closed_s),
        "bytes_up": context.bytes_up,
        "bytes_down": context.bytes_down,
        "datagrams_up": context.datagrams_up if udp else None,
        "datagrams_down": context.datagrams_down if udp else None,
        "dropped": context.dropped if udp else None,
        "backends_tried": [tried.id for tried in context.tried],
        "close_reason": context.close_reason.value,
    }


def _ms(begin_s: float, end_s: float | None) -> float | None:
    return None if end_s is None else round((end_s - begin_s) * 1e3, 3)
