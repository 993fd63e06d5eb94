"""The tape: what is on it is what came, it never grows beyond its length, and no disk holds up who writes to it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sensor.schema import Frames, Rows
from sensor.sources.files import Reader
from sensor.tape import Tape, TapeOptions, pieces, records

if TYPE_CHECKING:
    from pathlib import Path

START_NS = 1_781_000_000_123_456_789


def frames_of(*lengths: int) -> tuple[Rows, np.ndarray]:
    frames = Frames.empty(len(lengths))
    ends = np.cumsum(lengths)
    frames["at"], frames["captured_bytes"] = ends - lengths, lengths
    frames["wire_bytes"] = np.array(lengths) + 4
    frames["ts_ns"] = START_NS + np.arange(len(lengths))
    return frames, np.random.default_rng(1).integers(0, 256, int(ends[-1]), dtype=np.uint8)


def read(path: Path) -> list[tuple[int, int, bytes]]:
    found = []
    with Reader(str(path), 0) as reader:
        for batch in reader.batches():
            for frame in batch.frames:
                at, size = int(frame["at"]), int(frame["captured_bytes"])
                found.append((int(frame["ts_ns"]), int(frame["wire_bytes"]), batch.data[at : at + size].tobytes()))
        assert reader.facts.damage is None
    return sorted(found)


def test_what_is_on_it_is_what_came(tmp_path: Path) -> None:
    frames, data = frames_of(60, 1500, 60, 300, 255, 256)
    with Tape(TapeOptions(str(tmp_path))) as tape:
        tape.write(frames, data)
    (path,) = pieces(tmp_path)
    assert read(path) == [
        (int(each["ts_ns"]), int(each["wire_bytes"]), data[at : at + min(size, 256)].tobytes())
        for each in frames
        for at, size in [(int(each["at"]), int(each["captured_bytes"]))]
    ]
    assert tape.take_notices() == []


def test_frames_without_bytes_are_frames() -> None:
    (rows,) = records(*frames_of(1)[:1], np.zeros(1, dtype=np.uint8), 0)
    assert rows.shape == (1, 16)


def test_its_length_is_bounded_and_the_newest_stays(tmp_path: Path) -> None:
    options = TapeOptions(str(tmp_path), most_bytes=1 << 20)
    frames, data = frames_of(*[200] * 100)
    with Tape(options) as tape:
        for turn in range(100):  # 2.1 MB
            frames["ts_ns"] += 1_000_000
            tape.write(frames, data)
            while tape._queue.qsize() > 9:
                time.sleep(0.001)
            assert turn < 99 or sum(path.stat().st_size for path in pieces(tmp_path)) <= (1 << 20) + 21_700 * 16
    last = read(pieces(tmp_path)[-1])
    assert last[-1][0] == int(frames["ts_ns"][-1])
    assert tape.dropped == 0
    # Another writer has its own part, and leaves the first one's alone.
    before = pieces(tmp_path)
    with Tape(options, 1, 2) as other:
        other.write(frames, data)
    assert set(before) < set(pieces(tmp_path))


def test_a_disk_that_hangs_costs_frames_not_time(tmp_path: Path) -> None:
    frames, data = frames_of(100)
    tape = Tape(TapeOptions(str(tmp_path)))  # its thread does not run: nothing is taken
    for _ in range(300):
        tape.write(frames, data)
    assert tape.dropped == 44
    assert tape.take_notices() == ["44 frames were not kept as evidence: the disk is too slow"]
    assert tape.take_notices() == []


def test_a_folder_that_is_gone_is_said_once_and_when_it_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    frames, data = frames_of(100)

    def written(tape: Tape, dropped: int) -> list[str]:
        tape.write(frames, data)
        end = time.monotonic() + 10
        while tape._queue.qsize() or (tape.dropped < dropped):
            assert time.monotonic() < end
            time.sleep(0.01)
        time.sleep(0.05)
        return tape.take_notices()

    with Tape(TapeOptions(str(folder))) as tape:
        assert written(tape, 1) == [f"evidence cannot be kept in {folder} (No such file or directory)"]
        assert written(tape, 2) == []
        folder.mkdir()
        assert written(tape, 2) == ["evidence is kept again"]
    assert len(pieces(folder)) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110 - a device
def test_a_full_disk_is_no_reason_to_stop(tmp_path: Path) -> None:
    frames, data = frames_of(100)
    tape = Tape(TapeOptions(str(tmp_path)))
    with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123 - unbuffered
        tape._file, tape._written = full, 1
        with pytest.raises(OSError, match="No space left"):
            tape._put(records(frames, data, 256)[0])
