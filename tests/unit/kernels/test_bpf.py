"""The BPF machine against libpcap's own, on programs that libpcap compiles and on programs of chance."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from sensor.kernels import bpf
from tests.builders import ACK, SYN, ethernet, ipv4, ipv6, tcp, vlan
from tests.streams import batch_of, run_as_python

FRAMES = [
    ethernet(ipv4("10.1.0.5", "10.1.0.6", tcp(50000, 7680, b"x", flags=SYN))),
    ethernet(ipv4("10.2.0.5", "10.1.0.6", tcp(7680, 50000, b"xyz", flags=ACK))),
    ethernet(ipv6("2001:db8::1", "2001:db8::2", tcp(50000, 7680, b"x" * 300, flags=ACK))),
    ethernet(ipv4("10.1.0.5", "10.9.0.6", tcp(50000, 443, b"", flags=SYN)), vlans=(vlan(7),)),
    ethernet(ipv4("10.1.0.5", "10.1.0.6", b"\0" * 12, proto=17)),
    b"\xff" * 20,
    b"",
]


def passing(program: list[tuple[int, int, int, int]], frames: list[bytes], run: Any = bpf.passing) -> list[int]:
    batch = batch_of([(at, frame) for at, frame in enumerate(frames)])
    out = np.full(len(frames), -1, dtype=np.int64)
    memory = np.zeros(bpf.WORDS, dtype=np.int64)
    rows = np.array(program, dtype=np.int64).reshape(-1, 4)
    count = run(batch.frames, batch.data, rows, memory, out)
    return [int(at) for at in out[:count]]


def of_libpcap(program: list[tuple[int, int, int, int]], frames: list[bytes]) -> list[int]:
    """Let libpcap's own interpreter answer."""
    import ctypes

    library = ctypes.CDLL("libpcap.so.0.8")
    library.bpf_filter.restype = ctypes.c_uint
    raw = b"".join(struct.pack("=HBBI", code, jt, jf, k) for code, jt, jf, k in program)
    code = ctypes.create_string_buffer(raw, len(raw))
    return [
        at
        for at, frame in enumerate(frames)
        if library.bpf_filter(code, ctypes.create_string_buffer(frame, len(frame) + 1), len(frame), len(frame))
    ]


# --- by hand ---
@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ([(0x06, 0, 0, 1)], [0, 1, 2, 3, 4, 5, 6]),
        ([(0x06, 0, 0, 0)], []),
        ([(0x28, 0, 0, 12), (0x15, 0, 1, 0x0800), (0x06, 0, 0, 1), (0x06, 0, 0, 0)], [0, 1, 4]),
        ([(0x80, 0, 0, 0), (0x25, 0, 1, 300), (0x06, 0, 0, 1), (0x06, 0, 0, 0)], [2]),  # the length
        ([(0xB1, 0, 0, 14), (0x48, 0, 0, 16), (0x15, 0, 1, 7680), (0x06, 0, 0, 1), (0x06, 0, 0, 0)], [0]),
        ([], []),
        ([(0x05, 0, 0, 1000), (0x06, 0, 0, 1)], []),  # out of the program
        ([(0x15, 200, 200, 0), (0x06, 0, 0, 1)], []),
        ([(0x05, 0, 0, -1), (0x06, 0, 0, 1)], []),  # backwards
        ([(0x02, 0, 0, 16), (0x06, 0, 0, 1)], []),  # out of the memory
        ([(0x00, 0, 0, 1), (0x34, 0, 0, 0), (0x06, 0, 0, 1)], []),  # division by 0
        ([(0xFFFF, 0, 0, 0), (0x06, 0, 0, 1)], []),
        ([(0x20, 0, 0, 0xFFFFFFFF), (0x06, 0, 0, 1)], []),
    ],
)
def test_programs(program: list[tuple[int, int, int, int]], expected: list[int]) -> None:
    assert passing(program, FRAMES) == expected


def test_python_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    program = [(0xB1, 0, 0, 14), (0x48, 0, 0, 16), (0x15, 0, 1, 7680), (0x06, 0, 0, 1), (0x06, 0, 0, 0)]

    def run(*arguments: Any) -> int:
        return int(run_as_python(bpf.passing, bpf, monkeypatch, list(arguments)))

    assert passing(program, FRAMES, run) == passing(program, FRAMES) == [0]


# --- by chance ---
LOADS = (0x28, 0x30, 0x20, 0x48, 0x50, 0x40, 0x80, 0xB1, 0x00, 0x01, 0x60, 0x61, 0x81)
SUMS = (
    0x04,
    0x0C,
    0x14,
    0x1C,
    0x24,
    0x2C,
    0x44,
    0x4C,
    0x54,
    0x5C,
    0x64,
    0x74,
    0x84,
    0x34,
    0x3C,
    0x94,
    0x9C,
    0xA4,
    0xAC,
)
MOVES = (0x07, 0x87, 0x02, 0x03)
JUMPS = (0x15, 0x1D, 0x25, 0x2D, 0x35, 0x3D, 0x45, 0x4D)


@pytest.mark.needs("tcpdump")
def test_as_libpcap_on_programs_of_chance() -> None:
    chance = np.random.default_rng(7680)
    told: set[bool] = set()
    for _ in range(3000):
        size = int(chance.integers(2, 14))
        program = [(0x02, 0, 0, 0), (0x02, 0, 0, 1)]  # what was never stored libpcap does not define
        for at in range(size):
            code = int(chance.choice(chance.choice([LOADS, SUMS, MOVES, JUMPS][int(chance.integers(4))], 1)))
            left = size - at
            k = int(
                chance.choice([0, 1, 4, 12, 14, 15, 23, 31, 0x0800, 7680, 0xFFFFFFFF, int(chance.integers(0, 2**32))])
            )
            if code in (0x60, 0x61, 0x02, 0x03):
                k %= 2
            if code in (0x34, 0x94) and not k:
                k = 3
            if code in (0x64, 0x74):
                k %= 32
            program.append((code, int(chance.integers(0, left)), int(chance.integers(0, left)), k))
        program.append((0x16, 0, 0, 0) if chance.integers(2) else (0x06, 0, 0, int(chance.integers(2))))
        found = passing(program, FRAMES[:-1])
        assert found == of_libpcap(program, FRAMES[:-1]), program
        told.add(bool(found))
    assert told == {True, False}
