"""Backups and the last resort, with real connections."""

from time import monotonic

from nginy.backend.wishes import Admin, Origin


def set_healthy(balancer, name, healthy):
    backend = balancer.server.pool[name]
    balancer.call(lambda: backend.set_healthy(healthy, monotonic()))


def served_by(balancer, backend):
    """One connection that `backend` answers."""
    client = balancer.connect()
    upstream = backend.accept()
    client.sendall(b"x")
    assert upstream.recv(1) == b"x"
    client.close()
    upstream.close()


def test_a_backup_serves_only_while_no_primary_can(proxy, peer):
    primary, backup = peer(), peer()
    balancer = proxy([{"address": primary.address}, {"address": backup.address, "backup": True}])
    for _ in range(3):
        served_by(balancer, primary)
    set_healthy(balancer, "b1", False)
    for _ in range(3):
        served_by(balancer, backup)
    set_healthy(balancer, "b1", True)
    served_by(balancer, primary)


def test_a_backup_takes_over_when_the_primaries_refuse(proxy, peer):
    backup = peer()
    refusing = peer().refuse()
    balancer = proxy([{"address": refusing.address}, {"address": backup.address, "backup": True}])
    served_by(balancer, backup)
    assert balancer.record()["backends_tried"] == ["b1", "b2"]


def test_a_full_primary_is_relieved_by_the_backup_before_anybody_waits(proxy, peer):
    primary, backup = peer(), peer()
    rule = {
        "clients": ["0.0.0.0/0:PORT"],
        "targets": ["b1", "b2"],
        "queue": {"max_waiting": 10},
    }
    balancer = proxy(
        [
            {"address": primary.address, "max_connections": 1},
            {"address": backup.address, "backup": True},
        ],
        rules=[rule],
    )
    balancer.connect()
    primary.accept()
    served_by(balancer, backup)
    assert balancer.record()["queued_ms"] == 0


def test_all_down_refuses_unless_all_are_to_be_tried(proxy, peer):
    backend = peer()
    for all_down, reason in (("refuse", "no_backend"), ("try_all", "completed")):
        rule = {"clients": ["0.0.0.0/0:PORT"], "targets": ["b1"], "all_down": all_down}
        balancer = proxy([backend], rules=[rule])
        set_healthy(balancer, "b1", False)
        client = balancer.connect()
        if all_down == "try_all":
            upstream = backend.accept()
            client.sendall(b"x")
            assert upstream.recv(1) == b"x"  # not closed for being down: it was so before
            upstream.close()
            assert client.recv(1) == b""
            client.close()
        else:
            assert client.recv(1) == b""
        assert balancer.record()["close_reason"] == reason


def test_what_the_operator_took_down_is_not_tried_in_any_case(proxy, peer):
    rule = {"clients": ["0.0.0.0/0:PORT"], "targets": ["b1"], "all_down": "try_all"}
    balancer = proxy([peer()], rules=[rule])
    backend = balancer.server.pool["b1"]
    balancer.call(lambda: backend.set_admin(Admin.DOWN, monotonic(), Origin.FILE))
    assert balancer.connect().recv(1) == b""
    assert balancer.record()["close_reason"] == "no_backend"
