"""Inputs read ahead in threads give what they give here, end when nobody wants them, and hold little."""

from __future__ import annotations

import gzip
import threading
import time
from pathlib import Path

import pytest

from sensor import jobs
from sensor.errors import OperatorError
from sensor.jobs import Jobs
from sensor.reading import FileReading, Options
from sensor.sources import files
from tests.builders import ACK, ethernet, ipv4, pcap, tcp
from tests.streams import NOON, SECOND


def given(path: Path, count: int = 50, size: int = 1) -> str:
    frames = [
        (NOON + at * SECOND, ethernet(ipv4("10.1.0.5", "10.1.0.6", tcp(5000, 7680, b"x" * size, seq=at, flags=ACK))))
        for at in range(count)
    ]
    path.write_bytes(gzip.compress(pcap(frames, nanos=True)))
    return str(path)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "job"]


def test_gives_what_is_read_here(tmp_path: Path) -> None:
    name = given(tmp_path / "a.gz")
    pool = Jobs(2)
    with (
        FileReading(name, 3, Options(hashes=True)) as plain,
        pool.start(FileReading(name, 3, Options(hashes=True), beside=1)) as ahead,
    ):
        for here, there in zip(plain.parts(), ahead.parts(), strict=True):
            assert here.front_ns == there.front_ns
            assert [int(seq) for seq in here.packets["seq"]] == [int(seq) for seq in there.packets["seq"]]
            for mine, theirs in zip(here.packets, there.packets, strict=True):
                assert here.data[mine["payload_at"]] == there.data[theirs["payload_at"]] == ord("x")
            assert len(there.data) == len(there.packets)  # nothing but payloads waits
        assert plain.summary() == ahead.summary()
        assert ahead.weird.tolist() == plain.weird.tolist()
        assert ahead.done_bytes == Path(name).stat().st_size
    assert not threads()


def test_what_was_read_is_let_go(tmp_path: Path) -> None:
    pool = Jobs(2)
    for at in range(5):
        with pool.start(FileReading(given(tmp_path / f"{at}.gz"), at, Options(), beside=1)) as ahead:
            assert list(ahead.parts())
    with pool.start(FileReading(given(tmp_path / "last.gz"), 5, Options(), beside=1)):
        assert len(pool._started) == 1
    pool.stop()


def test_what_is_no_capture_says_so_where_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no capture, and long enough to be looked at as if it were one")
    with (
        pytest.raises(OperatorError, match="is not a capture"),
        Jobs(2).start(FileReading(str(tmp_path / "text"), 0, Options())),
    ):
        pass
    assert not threads()


def test_our_own_error_is_raised_where_parts_are_taken(tmp_path: Path) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError

    reading = FileReading(given(tmp_path / "a.gz"), 0, Options(select=broken))  # type: ignore[arg-type]
    with Jobs(2).start(reading) as ahead, pytest.raises(ZeroDivisionError):
        list(ahead.parts())
    assert not threads()


def test_a_job_waits_for_who_takes_and_ends_when_nobody_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BATCH_FRAMES", 1)
    monkeypatch.setattr(jobs, "_ROOM_BYTES", 5000)
    pool = Jobs(1)
    first = pool.start(FileReading(given(tmp_path / "a.gz", size=1000), 0, Options()))
    second = pool.start(FileReading(given(tmp_path / "b.gz"), 1, Options()))
    with first, second:
        # The first holds no turn while it waits, or the second would never come to its end.
        assert sum(len(part.packets) for part in second.parts()) == 50
        for _ in range(500):
            if first._held_bytes >= 5000:
                break
            time.sleep(0.01)
        assert 5000 <= first._held_bytes < 7000
        assert next(first.parts()).packets["seq"][0] == 0
    pool.stop()
    assert not threads()
