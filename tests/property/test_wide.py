"""A walk with several cursors finds what a plain walk finds, whatever lies in the frames."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest

from sensor.schema import Frames, Rows
from sensor.sources import chains

SPAN = chains._SPAN_BYTES
HEAD = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)


def capture(seed: int, frames: int, *, nested: bool, jump_s: int = 0) -> bytes:
    """Records of random sizes; with `nested`, the frames hold records themselves, as a capture of captures does."""
    chance = random.Random(seed)  # noqa: S311 - the same capture every time
    parts = [HEAD]
    for count in range(frames):
        size = chance.choice((0, 40, 60, 590, 1514, 9000))
        body = chance.randbytes(size)
        if nested and size > 590:
            inner = struct.pack("<IIII", 1_781_000_000 + count // 100, 7, 60, 60) + bytes(60)
            body = (b"\x01" * chance.randrange(30) + inner * (size // 76) + bytes(size))[:size]
        second = 1_781_000_000 + count // 100 + (jump_s if count > frames // 2 else 0)
        parts.append(struct.pack("<IIII", second, count % 1_000_000, size, size) + body)
    return b"".join(parts)


def walked(data: bytes, monkeypatch: pytest.MonkeyPatch, *, wide: bool, helped: bool = False) -> tuple[Rows, int, str]:
    monkeypatch.setattr(chains, "_SPAN_BYTES", SPAN if wide else 0)
    helper = chains.Pcap(data[:24], 3, 4096) if helped else None
    chain = chains.Pcap(data[:24], 3, 4096, 0, helper)
    whole = np.frombuffer(data, dtype=np.uint8)
    used, found = 0, [Frames.empty()]
    while True:
        frames, step, broken = chain.walk(whole[used:], used)
        here = frames.copy()
        here["at"] += used
        found.append(here)
        used += step
        if not step or broken:
            return np.concatenate(found), used, broken


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("jump_s", [0, 100_000])
def test_as_a_plain_walk(seed: int, nested: bool, jump_s: int, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    data = capture(seed, 20_000, nested=nested, jump_s=jump_s)
    plain = walked(data, monkeypatch, wide=False)
    found = walked(data, monkeypatch, wide=True)
    assert len(plain[0]) == 20_000
    assert np.array_equal(found[0], plain[0])
    assert found[1:] == plain[1:] == (len(data), "")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("end", [b"", b"\xff" * 40, b"\1" * 7])
def test_with_a_helper(seed: int, nested: bool, end: bytes, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    data = capture(seed, 20_000, nested=nested) + end
    plain = walked(data, monkeypatch, wide=False)
    taken: list[bool] = []
    real = chains.Pcap._taken
    monkeypatch.setattr(chains.Pcap, "_taken", lambda *a: (got := real(*a), taken.append(got is not None))[0])
    found = walked(data, monkeypatch, wide=True, helped=True)
    assert np.array_equal(found[0], plain[0])
    assert found[1:] == plain[1:]
    assert nested or any(taken)


@pytest.mark.parametrize("cut", [1, 17, 5000, 1_000_000])
def test_a_cut_capture(cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = capture(1, 20_000, nested=True)[:-cut]
    plain = walked(data, monkeypatch, wide=False)
    found = walked(data, monkeypatch, wide=True)
    assert np.array_equal(found[0], plain[0])
    assert found[1:] == plain[1:]


def test_a_record_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(capture(2, 20_000, nested=False))
    chain = walked(bytes(data), monkeypatch, wide=False)[0]
    data[int(chain["offset"][15_000]) + 8 : int(chain["offset"][15_000]) + 12] = b"\xff\xff\xff\x7f"
    plain = walked(bytes(data), monkeypatch, wide=False)
    found = walked(bytes(data), monkeypatch, wide=True)
    assert len(plain[0]) == 15_000
    assert "cannot be" in found[2]
    assert np.array_equal(found[0], plain[0])
    assert found[1:] == plain[1:]


def test_several_cursors_really_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = chains.Pcap._walk_wide
    monkeypatch.setattr(chains.Pcap, "_walk_wide", lambda *a: calls.append(count := real(*a)) or count)
    walked(capture(3, 20_000, nested=False), monkeypatch, wide=True)
    assert sum(calls) > 15_000
