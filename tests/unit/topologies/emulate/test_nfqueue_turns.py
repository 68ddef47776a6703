from topologies.emulate.nfqueue_emulator import Plan
from topologies.emulate.nfqueue_loop import GRACE_S, IDLE_LOOK_S, LOOK_S, Turns


def _turns(due_s, by=0):
    turns = Turns()
    turns.stepped(by, Plan(due_s, listen=False), 4.99)
    return turns


def test_who_serves_steps_when_it_is_due_and_the_other_looks_a_little_later():
    turns = _turns(5.0)
    assert turns.wake_s(0, 4.999) == 5.0
    assert turns.wake_s(1, 4.999) == 5.0 + GRACE_S
    assert turns.wake_s(1, 5.0) == 5.0 + LOOK_S


def test_a_step_in_time_is_left_to_who_serves():
    turns = _turns(5.0)
    assert turns.takes(0, 5.0)
    assert not turns.takes(1, 5.0 + 0.9 * GRACE_S)
    turns.stepped(0, Plan(5.01, listen=False), 5.0)
    assert not turns.takes(1, 5.0 + 1.1 * GRACE_S)


def test_a_late_step_is_taken_by_the_other_and_who_was_late_stands_by():
    turns = _turns(5.0)
    late_s = 5.0 + 1.1 * GRACE_S
    assert turns.takes(1, late_s)
    turns.stepped(1, Plan(5.001, listen=False), late_s)
    assert not turns.takes(0, late_s)
    assert turns.wake_s(0, late_s) == 5.001 + GRACE_S
    assert turns.wake_s(1, late_s) == 5.001


def test_who_steps_without_a_pause_and_is_late_all_the_same_is_left_alone():
    turns = _turns(5.0)
    turns.stepped(0, Plan(5.0, listen=False), 6.0)
    assert not turns.takes(1, 6.0 + 0.9 * GRACE_S)
    assert turns.takes(1, 6.0 + 1.1 * GRACE_S)


def test_nothing_planned_is_never_late():
    turns = _turns(None)
    assert turns.wake_s(0, 5.0) is None
    assert turns.wake_s(1, 5.0) == 5.0 + IDLE_LOOK_S
    assert not turns.takes(1, 1e9)
