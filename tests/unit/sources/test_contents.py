"""The bytes of inputs: mapped or streamed, decompressed by what they begin with."""

from __future__ import annotations

import io
import os
import threading
from typing import TYPE_CHECKING

import pytest

from sensor.sources import contents as module
from sensor.sources.contents import contents
from tests.captures import COMPRESSIONS, compressed

if TYPE_CHECKING:
    from pathlib import Path

    from sensor.sources.contents import Contents

DATA = bytes(range(256)) * 1000


def held(path: Path, data: bytes, *, by_path: bool = False) -> tuple[io.BufferedReader, Contents]:
    path.write_bytes(data)
    file = path.open("rb")
    return file, contents(file, path if by_path else None)


def windows(of: Contents, step: int, *, ahead: bool = False) -> list[bytes]:
    return [window[room:].tobytes() for window, room, _ in of.windows(step, ahead=ahead)]


def test_a_plain_file_is_mapped_whole(tmp_path: Path) -> None:
    file, found = held(tmp_path / "x", DATA)
    with file:
        assert (found.regular, found.size_bytes, found.compression, found.head) == (True, 256_000, "", DATA[:32])
        ((window, room, whole),) = found.windows(1000)
        assert (window.tobytes(), room, whole) == (DATA, 0, True)


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("by_path", [False, True])
@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_what_is_compressed_is_streamed(tmp_path: Path, kind: str, *, by_path: bool, ahead: bool) -> None:
    packed = compressed(DATA, kind)
    file, found = held(tmp_path / "x", packed, by_path=by_path)
    with file:
        assert (found.compression, found.head, found.size_bytes) == (kind, DATA[:32], len(packed))
        seen = windows(found, 100_000, ahead=ahead)
        assert [len(each) for each in seen] == [100_000, 100_000, 56_000]
        assert b"".join(seen) == DATA
        assert found.size_bytes == found.consumed() == len(packed)
        assert found.broken == ""


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_who_reads_ahead_stops_when_nobody_reads_on(tmp_path: Path, kind: str) -> None:
    file, found = held(tmp_path / "x", compressed(DATA * 100, kind), by_path=True)
    with file:
        reading = found.windows(100_000, ahead=True)
        first, room, _ = next(reading)
        reading.close()  # type: ignore[attr-defined] # it is a generator
        assert first[room:].tobytes() == DATA[:100_000]
        assert found.consumed() < len(compressed(DATA * 100, kind)) or kind == "zst"
        assert "decompress" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_reading_ahead_ends_where_a_stream_breaks(tmp_path: Path, kind: str) -> None:
    data = os.urandom(400_000)
    file, found = held(tmp_path / "x", compressed(data, kind)[:200_000], by_path=True)
    with file:
        assert data.startswith(b"".join(windows(found, 50_000, ahead=True)))
        assert found.broken.startswith("a compressed stream that is broken (") or kind == "zst"


@pytest.mark.parametrize("kind", ["", "gz", "zst"])
@pytest.mark.parametrize("cuts", [[], [1], [1, 2, 31, 33]])
def test_a_pipe_that_gives_little_at_once(kind: str, cuts: list[int]) -> None:
    packed = compressed(DATA, kind) if kind else DATA
    source, sink = os.pipe()

    def write() -> None:
        with open(sink, "wb", buffering=0) as file:  # noqa: PTH123 - a descriptor, not a path
            for start, end in zip([0, *cuts], [*cuts, len(packed)], strict=True):
                file.write(packed[start:end])
                threading.Event().wait(0.02)

    writer = threading.Thread(target=write)
    writer.start()
    with open(source, "rb") as file:  # noqa: PTH123 - the same
        found = contents(file)
        assert (found.regular, found.compression, found.head) == (False, kind, DATA[:32])
        assert b"".join(windows(found, 100_000)) == DATA
        assert found.size_bytes == len(DATA)
    writer.join()


@pytest.mark.parametrize("kind", ["gz", "xz"])
def test_what_was_decompressed_before_a_stream_broke_is_there(tmp_path: Path, kind: str) -> None:
    data = os.urandom(400_000)
    packed = compressed(data, kind)
    file, found = held(tmp_path / "x", packed[:200_000])
    with file:
        seen = b"".join(windows(found, 1 << 20))
        assert found.broken.startswith("a compressed stream that is broken (")
        assert seen == data[: len(seen)]
        assert len(seen) > 130_000  # no more than a portion is lost


@pytest.mark.parametrize("by_path", [False, True])
@pytest.mark.parametrize(("kind", "block"), [("zst", 131_072), ("lz4", 4_194_304)])
def test_what_is_read_in_large_portions_loses_no_more_when_it_breaks(
    tmp_path: Path,
    kind: str,
    block: int,
    by_path: bool,  # noqa: FBT001 - a parameter
) -> None:
    data = os.urandom(40_000_000)  # it does not shrink
    file, found = held(tmp_path / "x", compressed(data, kind)[:31_000_000], by_path=by_path)
    with file:
        seen = b"".join(windows(found, 8 << 20, ahead=True))
        assert found.broken.startswith("a compressed stream that is broken (")
        assert seen == data[: len(seen)]
        assert len(seen) > 31_000_000 - 2 * block - (64 << 10)


@pytest.mark.parametrize("at", [0.3, 0.6, 0.9])
def test_what_is_broken_is_not_asked_again(tmp_path: Path, at: float) -> None:
    packed = bytearray(compressed(DATA, "bz2"))
    packed[int(at * len(packed))] ^= 0xFF
    file, found = held(tmp_path / "x", bytes(packed))
    with file:
        b"".join(windows(found, 1 << 20))  # bz2 calls a second question a RuntimeError
        assert "broken" in found.broken


def test_rubbish_behind_a_member(tmp_path: Path) -> None:
    file, found = held(tmp_path / "x", compressed(DATA, "gz") + b"rubbish")
    with file:
        assert b"".join(windows(found, 1 << 20)) == DATA
        assert "broken" in found.broken


@pytest.mark.parametrize("data", [b"", b"\x1f\x8b", b"BZh9 no"])
def test_what_holds_nothing(tmp_path: Path, data: bytes) -> None:
    file, found = held(tmp_path / "x", data)
    with file:
        assert found.head == b""
        assert bool(found.broken) is bool(data)


def test_a_directory_cannot_be_read(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(OSError, match="directory"):
        contents(io.BufferedReader(io.FileIO(descriptor)))


def test_pages_behind_can_be_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BEHIND", 8192)
    file, found = held(tmp_path / "x", DATA)
    with file:
        ((window, _, _),) = found.windows(0)
        for position in range(0, len(DATA), 4096):
            found.follow(position)
        assert found._forgotten > 200_000
        assert window.tobytes() == DATA
