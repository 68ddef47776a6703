"""The access log: batches in order, a stuck or broken stream delays and breaks nobody."""

import io
import json
import os
import threading
import time

import pytest

from nginy.engine.access_log import MAX_WAITING_BATCHES, AccessLog, AccessLogError, open_access_log

PATIENCE_S = 10.0


class Memory(io.BytesIO):
    """Keeps what was written when it is closed."""

    def close(self) -> None:
        pass


def wait_until(condition) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_records_arrive_in_order_one_per_line():
    stream = Memory()
    log = AccessLog(stream)
    for number in range(5):
        log.add({"id": str(number)})
        log.flush()
    log.add({"id": "last"})
    log.close()
    lines = stream.getvalue().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["0", "1", "2", "3", "4", "last"]


def test_a_stuck_stream_delays_nobody_and_losses_are_counted(caplog):
    class Stuck(Memory):
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
    assert "1 records lost so far" in caplog.text
    released.set()
    log.close()
    assert "3 records lost in all" in caplog.text
    assert len(stream.getvalue().splitlines()) == MAX_WAITING_BATCHES + 1


@pytest.mark.parametrize("waiting", [1, MAX_WAITING_BATCHES + 1])
def test_what_cannot_be_written_at_the_end_is_said_to_be_lost(waiting, monkeypatch, caplog):
    class Stuck(Memory):
        def write(self, data) -> int:
            released.wait(10)
            return super().write(data)

    monkeypatch.setattr("nginy.engine.line_writer.CLOSE_TIMEOUT_S", 0.05)
    released = threading.Event()
    log = AccessLog(Stuck())
    for number in range(waiting):
        log.add({"id": str(number)})
        log.flush()
    log.close()
    released.set()
    assert "the last records are lost" in caplog.text


def test_a_full_disk_loses_records_and_says_so(caplog):
    class Full(Memory):
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
    before, line = path.read_text().splitlines()
    assert (before, json.loads(line)["id"]) == ("before", "1")


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


def test_a_full_disk_is_said_once_a_second_and_counted(caplog):
    log = open_access_log("/dev/full")
    began_s = time.monotonic()
    for number in range(40):
        log.add({"id": str(number)})
        log.flush()
        wait_until(lambda lost=number + 1: log.dropped == lost)
    assert caplog.text.count("No space left") <= 1 + time.monotonic() - began_s
    log.close()
    assert "40 records lost in all" in caplog.text


def test_a_line_torn_by_a_full_disk_spoils_no_other():
    class FullForAWhile(Memory):
        calls = 0

        def write(self, data) -> int:
            self.calls += 1
            if self.calls == 1:
                return super().write(data[:10])
            if self.calls == 2:
                raise OSError(28, "No space left on device")
            return super().write(data)

    stream = FullForAWhile()
    log = AccessLog(stream)
    for number in range(2):
        log.add({"id": str(number)})
        log.flush()
    log.close()
    torn, whole = stream.getvalue().splitlines()
    assert len(torn) == 10
    assert json.loads(whole)["id"] == "1"
    assert log.dropped == 1


def test_the_time_is_wall_clock_in_utc():
    stream = Memory()
    times = [0.5, 1_700_000_000.0625, 1_700_000_000.999, 1_700_000_001.0, 1_699_999_999.0]
    log = AccessLog(stream, wall_clock=iter(times).__next__)
    for _ in times:
        log.add({"id": "1"})
    log.close()
    records = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert list(records[0]) == ["time", "id"]
    assert [record["time"] for record in records] == [
        "1970-01-01T00:00:00.500Z",
        "2023-11-14T22:13:20.062Z",
        "2023-11-14T22:13:20.999Z",
        "2023-11-14T22:13:21.000Z",
        "2023-11-14T22:13:19.000Z",
    ]


def test_reopened_it_goes_on_in_a_new_file_and_says_so(tmp_path, caplog):
    caplog.set_level("INFO")
    path, rotated = tmp_path / "access.log", tmp_path / "access.log.1"
    log = open_access_log(str(path))
    log.add({"id": "before"})
    log.flush()
    wait_until(path.read_text)
    path.rename(rotated)
    log.reopen()
    wait_until(path.exists)
    log.add({"id": "after"})
    log.close()
    assert json.loads(rotated.read_text())["id"] == "before"
    assert json.loads(path.read_text())["id"] == "after"
    assert f"{path} is open again" in caplog.text


def test_what_cannot_be_opened_again_goes_on_in_the_old_file(tmp_path, caplog):
    folder, moved = tmp_path / "logs", tmp_path / "moved"
    folder.mkdir()
    log = open_access_log(str(folder / "access.log"))
    folder.rename(moved)
    log.reopen()
    log.add({"id": "1"})
    log.close()
    assert json.loads((moved / "access.log").read_text())["id"] == "1"
    assert "going on in the old file" in caplog.text


def test_a_named_pipe_without_a_reader_is_an_error_and_no_wait(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(AccessLogError, match="nobody reads this named pipe"):
        open_access_log(str(path))


def test_a_named_pipe_with_a_reader_is_written(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        log = open_access_log(str(path))
        log.add({"id": "1"})
        log.close()
        assert json.loads(os.read(reader, 1000))["id"] == "1"
    finally:
        os.close(reader)
