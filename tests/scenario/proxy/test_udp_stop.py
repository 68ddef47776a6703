"""UDP sessions while the server drains and stops."""


def test_who_has_a_session_keeps_it_and_nobody_new_is_served(udp_proxy, udp_peer, wait_until):
    b1 = udp_peer()
    server = udp_proxy([b1], udp={"idle_timeout_ms": 500})
    old, new = server.client(), server.client()
    old.send(b"before")
    b1.answer()
    old.recv(100)
    server.stop()
    wait_until(lambda: not server.server.listening, "the drain")
    new.send(b"too late")
    assert server.record()["close_reason"] == "shutdown"
    old.send(b"meanwhile")
    b1.answer()
    assert old.recv(100) == b"meanwhile"
    wait_until(lambda: not server.running, "the end of the drain")
    assert server.records(2)[1]["close_reason"] == "idle_timeout"


def test_a_fault_in_a_tick_does_not_stop_the_clock(udp_proxy, udp_peer, monkeypatch, wait_until):
    b1 = udp_peer()
    server = udp_proxy([b1], udp={"idle_timeout_ms": 50})
    faults = []

    def broken(now):
        faults.append(now)
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(server.server.wheel, "advance", broken)
        server.client().send(b"x")
        b1.receive()
        wait_until(lambda: bool(faults), "the fault")
    assert server.record()["close_reason"] == "idle_timeout"


def test_the_drain_has_an_end(udp_proxy, udp_peer):
    b1 = udp_peer()
    server = udp_proxy([b1], top={"timeouts": {"drain_timeout_ms": 50}})
    server.client().send(b"x")
    b1.receive()
    server.finish()
    assert server.record()["close_reason"] == "shutdown"


def test_a_second_signal_ends_all_at_once(udp_proxy, udp_peer):
    b1 = udp_peer()
    server = udp_proxy([b1])
    server.client().send(b"x")
    b1.receive()
    server.stop()
    server.stop()
    server.finish()
    assert server.record()["close_reason"] == "shutdown"
