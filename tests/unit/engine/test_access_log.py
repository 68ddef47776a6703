"""The access log: batches in order, a stuck or broken stream delays and breaks nobody."""

import io
import json
import threading

import pytest

from nginy.engine.access_log import MAX_WAITING_BATCHES, AccessLog, AccessLogError, open_access_log


def test_records_arrive_in_order_one_per_line():
    stream = io.BytesIO()
    log = AccessLog(stream)
    for number in range(5):
        log.add({"id": str(number)})
        log.flush()
    log.add({"id": "last"})
    log.close()
    lines = stream.getvalue().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["0", "1", "2", "3", "4", "last"]


def test_a_stuck_stream_delays_nobody_and_losses_are_counted(caplog):
    class Stuck(io.BytesIO):
        def write(self, data) -> int:
            entered.set()
            released.wait(10)
            return super().write(data)

    entered, released = threading.Event(), threading.Event()
    stream = Stuck()
    log = AccessLog(stream)
    log.add({"id": "first"})
    log.flush()
    assert entered.wait(10)
    for number in range(MAX_WAITING_BATCHES + 3):
        log.add({"id": str(number)})
        log.flush()
    assert log.dropped == 3
    assert "3 in all" in caplog.text
    released.set()
    log.close()
    assert len(stream.getvalue().splitlines()) == MAX_WAITING_BATCHES + 1


@pytest.mark.parametrize("waiting", [1, MAX_WAITING_BATCHES + 1])
def test_what_cannot_be_written_at_the_end_is_said_to_be_lost(waiting, monkeypatch, caplog):
    class Stuck(io.BytesIO):
        def write(self, data) -> int:
            released.wait(10)
            return super().write(data)

    monkeypatch.setattr("nginy.engine.access_log.CLOSE_TIMEOUT_S", 0.05)
    released = threading.Event()
    log = AccessLog(Stuck())
    for number in range(waiting):
        log.add({"id": str(number)})
        log.flush()
    log.close()
    released.set()
    assert "the last records are lost" in caplog.text


def test_a_full_disk_loses_records_and_says_so(caplog):
    class Full(io.BytesIO):
        def write(self, data) -> int:
            raise OSError(28, "No space left on device")

    log = AccessLog(Full())
    log.add({"id": "1"})
    log.close()
    assert log.dropped == 1
    assert "No space left on device" in caplog.text


def test_a_file_is_appended_to(tmp_path):
    path = tmp_path / "access.log"
    path.write_text("before\n")
    log = open_access_log(str(path))
    log.add({"id": "1"})
    log.close()
    assert path.read_text() == 'before\n{"id":"1"}\n'


def test_a_file_that_cannot_be_opened(tmp_path):
    with pytest.raises(AccessLogError, match="No such file"):
        open_access_log(str(tmp_path / "none" / "access.log"))


def test_a_path_that_is_none():
    with pytest.raises(AccessLogError, match="null byte"):
        open_access_log("access\0.log")


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_disk_that_is_still_full_at_the_end():
    log = open_access_log("/dev/full")
    log.add({"id": "1"})
    log.close()
    assert log.dropped == 1
