"""Which frames hold a datagram on a port, and where; truths written by hand, compiled and as Python."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sensor.kernels import mdns
from sensor.schema import Datagrams
from tests.builders import ethernet, ipv4, ipv6, sll, sll2, vlan
from tests.streams import batch_of, run_as_python

if TYPE_CHECKING:
    from sensor.schema import Rows


def udp(payload: bytes, src: int = 5353, dst: int = 5353, length: int | None = None) -> bytes:
    return struct.pack(">HHHH", src, dst, 8 + len(payload) if length is None else length, 0) + payload


def v4(payload: bytes = b"hello", **more: int) -> bytes:
    return ipv4("10.1.0.1", "224.0.0.251", udp(payload, **more), proto=17)


def v6(payload: bytes = b"hello") -> bytes:
    return ipv6("fe80::1", "ff02::fb", udp(payload), next_header=17)


def selected(frame: bytes, link: int = 1) -> list[tuple[int, int, bytes]]:
    """Return (upper and lower half of the source, payload) of what is found in one frame."""
    batch = batch_of([(7, frame)], link)
    out = Datagrams.empty(4)
    count = mdns.select(batch.frames, batch.data, 5353, 0, out)
    assert out["number"][0] == 1
    rows = out[1 : count + 1]
    return [(int(r["src_hi"]), int(r["src_lo"]), batch.data[r["at"] : r["at"] + r["length"]].tobytes()) for r in rows]


SRC4 = (0, 0xFFFF0A010001, b"hello")
SRC6 = (0xFE80 << 48, 1, b"hello")


@pytest.mark.parametrize(
    ("frame", "link", "expected"),
    [
        (ethernet(v4()), 1, SRC4),
        (ethernet(v6()), 1, SRC6),
        (ethernet(v4(), vlans=(vlan(1),)), 1, SRC4),
        (ethernet(v6(), vlans=(vlan(1), vlan(2))), 1, SRC6),
        (ethernet(v4(), pad=True), 1, SRC4),
        (sll(v4()), 113, SRC4),
        (sll2(v6()), 276, SRC6),
        (v4(), 101, SRC4),
        (v6(), 229, SRC6),
        (ethernet(v4(src=1234)), 1, SRC4),
        (ethernet(v4(dst=1234)), 1, SRC4),
        (ethernet(v4())[:-2], 1, (*SRC4[:2], b"hel")),  # cut by the capture
    ],
)
def test_a_datagram_is_found(frame: bytes, link: int, expected: tuple[int, int, bytes]) -> None:
    assert selected(frame, link) == [expected]


@pytest.mark.parametrize(
    "frame",
    [
        ethernet(v4(src=1, dst=2)),
        ethernet(ipv4("10.1.0.1", "10.1.0.2", udp(b"x"), proto=6, fix=False)),
        ethernet(ipv4("10.1.0.1", "10.1.0.2", udp(b"x"), proto=17, fragment=0x2000)),
        ethernet(v4(length=7)),
        ethernet(v4())[:41],
        b"",
        b"\0" * 13,
    ],
)
def test_what_is_none(frame: bytes) -> None:
    assert selected(frame) == []


def test_where_to_go_on_from_when_the_rows_are_full() -> None:
    batch = batch_of([(at, ethernet(v4(bytes([at])))) for at in range(5)])
    out = Datagrams.empty(3)
    found, first = [], 0
    while first < 5:
        count = mdns.select(batch.frames, batch.data, 5353, first, out)
        found += [int(row["ts_ns"]) for row in out[1 : count + 1]]
        first = int(out["number"][0])
    assert found == [0, 1, 2, 3, 4]


def table(run: object, size: int) -> Rows:
    chance = np.random.default_rng(5)
    frames = [ethernet(v4()), ethernet(v6(), vlans=(vlan(3),)), sll(v4())]
    noisy = []
    for at in range(60):
        made = bytearray(frames[at % 3])
        for place in chance.integers(0, len(made), 2):
            made[place] = int(chance.integers(0, 256))
        noisy.append((at, bytes(made[: int(chance.integers(0, len(made) + 1))])))
    batch = batch_of(noisy)
    out = Datagrams.empty(size)
    count = run([batch.frames, batch.data, 5353, 0, out])  # type: ignore[operator]
    return out[: count + 1]


def test_the_kernel_gives_the_same_as_python(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = table(lambda arguments: mdns.select(*arguments), 100)
    plain = table(lambda arguments: run_as_python(mdns.select, mdns, monkeypatch, arguments), 100)
    assert compiled.tolist() == plain.tolist()
    assert len(compiled) > 3  # some survive
