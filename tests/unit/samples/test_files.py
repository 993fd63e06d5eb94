"""Capture files against a second writer that shares no code with the first, and against tshark."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from sensor.samples.files import Shape, write
from sensor.samples.frames import Frame
from tests import builders as build

if TYPE_CHECKING:
    from pathlib import Path

FRAME = build.ethernet(build.ipv4("10.1.0.5", "10.1.0.9", build.tcp(50000, 7680, b"x" * 33, flags=build.ACK)))
FRAMES = [
    Frame(1_780_000_000_123_456_789, FRAME, len(FRAME)),
    Frame(1_780_000_001_000_000_000, FRAME[:64], len(FRAME)),
]
SHAPES = [(nanos, big) for nanos in (False, True) for big in (False, True)]


@pytest.mark.parametrize(("nanos", "big_endian"), SHAPES)
def test_pcap_equals_the_other_writers(nanos: bool, big_endian: bool) -> None:  # noqa: FBT001
    shape = Shape("pcap", nanos, big_endian, 65535)
    assert write(FRAMES, shape) == build.pcap(FRAMES, nanos=nanos, big_endian=big_endian, snaplen=65535)


@pytest.mark.parametrize(("nanos", "big_endian"), SHAPES)
def test_pcapng_equals_the_other_writers(nanos: bool, big_endian: bool) -> None:  # noqa: FBT001
    shape = Shape("pcapng", nanos, big_endian, 65535)
    assert write(FRAMES, shape) == build.pcapng(FRAMES, nanos=nanos, big_endian=big_endian, snaplen=65535)


def test_a_pcap_header_is_these_bytes() -> None:
    assert write([], Shape(snaplen=160)).hex() == "d4c3b2a1020004000000000000000000a000000001000000"
    assert (
        write([], Shape(nanos=True, big_endian=True)).hex() == "a1b23c4d000200040000000000000000000400000000000" + "1"
    )


@pytest.mark.needs("tshark")
@pytest.mark.parametrize("kind", ["pcap", "pcapng"])
@pytest.mark.parametrize(("nanos", "big_endian"), SHAPES)
def test_tshark_reads_time_and_lengths(tmp_path: Path, kind: str, nanos: bool, big_endian: bool) -> None:  # noqa: FBT001
    path = tmp_path / "capture"
    path.write_bytes(write(FRAMES, Shape(kind, nanos, big_endian)))  # type: ignore[arg-type]
    fields = ["-e", "frame.time_epoch", "-e", "frame.cap_len", "-e", "frame.len"]
    done = subprocess.run(["tshark", "-r", path, "-T", "fields", *fields], capture_output=True, text=True, check=True)
    rest = "123456789" if nanos else "123456000"
    assert done.stdout.split() == [f"1780000000.{rest}", "87", "87", "1780000001.000000000", "64", "87"]
