"""Records of captures, walked window by window, and where and why a chain breaks."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from sensor.sources import chains
from sensor.sources.chains import Chain, Pcap, Pcapng, chain
from tests.builders import block, pcap, pcapng

T0 = 1_773_144_000_000_001_000
FRAMES = [(T0 + at * 1000, bytes([at]) * (20 + at)) for at in range(5)]
Seen = list[tuple[int, bytes]]


def walked(made: Chain, data: bytes, *, step: int) -> tuple[Seen, int, str]:
    """Walk as a reader does, `step` bytes at a time: frames, offset where it ended, why."""
    seen: Seen = []
    pending, base = b"", 0
    for start in range(0, len(data), step):
        held = np.frombuffer(pending + data[start : start + step], dtype=np.uint8)
        used = 0
        while True:
            frames, moved, broken = made.walk(held[used:], base)
            for frame in frames:
                at = used + int(frame["at"])
                seen.append((int(frame["ts_ns"]), held[at : at + int(frame["captured_bytes"])].tobytes()))
            used, base = used + moved, base + moved
            if broken:
                return seen, base, broken
            if not moved:
                break
        pending = held[used:].tobytes()
    return seen, base, ""


@pytest.mark.parametrize("data", [pcap(FRAMES), pcapng(FRAMES), pcap(FRAMES, nanos=True, big_endian=True)])
@pytest.mark.parametrize("step", [33, 64, 10_000])
@pytest.mark.parametrize("room", [1, 2, 100])
def test_windows_and_room_make_no_difference(data: bytes, step: int, room: int) -> None:
    assert walked(chain(data[:24], 0, room), data, step=step) == (FRAMES, len(data), "")


@pytest.mark.parametrize("room", [1, 4, 1000])
@pytest.mark.parametrize("end", [b"", b"\xff" * 16, b"\0" * 9])
def test_a_wide_walk_is_as_good_as_a_plain_one(monkeypatch: pytest.MonkeyPatch, room: int, end: bytes) -> None:
    data = pcap([(T0 + at * 1000, bytes([at & 255]) * (20 + at % 7)) for at in range(3000)]) + end
    with monkeypatch.context() as patch:
        patch.setattr(chains, "_SPAN_BYTES", 0)
        plain = walked(Pcap(data[:24], 0, room), data, step=len(data))
    assert walked(Pcap(data[:24], 0, room), data, step=len(data)) == plain
    assert len(plain[0]) == 3000


def test_a_chain_is_chosen_by_magic() -> None:
    assert isinstance(chain(pcapng([])[:24], 0, 1), Pcapng)
    assert isinstance(chain(pcap([])[:24], 0, 1), Pcap)
    assert [chain(pcap([], nanos=nanos)[:24], 0, 1).format for nanos in (False, True)] == ["pcap", "pcap (ns)"]


def test_a_pcap_may_be_entered_anywhere() -> None:
    data = np.frombuffer(pcap(FRAMES), dtype=np.uint8)
    frames, _, _ = Pcap(data[:24].tobytes(), 4, 1).walk(data, 0, 24 + 36 + 37)
    assert frames[["ts_ns", "offset", "input"]].tolist() == [(FRAMES[2][0], 97, 4)]


SECTION = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
INTERFACE = block(1, struct.pack("<HHI", 1, 0, 0))


@pytest.mark.parametrize(
    ("good", "bad", "why"),
    [
        (b"", INTERFACE, "a block before any section header"),
        (b"", block(0x0A0D0D0A, struct.pack("<IHHq", 7, 1, 0, -1)), "a section header without a byte order"),
        (b"", block(0x0A0D0D0A, struct.pack("<IHH", 0x1A2B3C4D, 1, 0)), "a section header that is too short"),
        (
            b"",
            block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 2, 1, -1)),
            "a section of pcapng version 2.1, where 1.0 is known",
        ),
        (b"", SECTION[:4] + struct.pack("<I", 1 << 31) + SECTION[8:], "a block of an impossible length"),
        (b"", SECTION[:-4] + b"\0\0\0\1", "a block whose two lengths differ"),
        (SECTION, block(1, struct.pack("<HH", 1, 0)), "an interface description that is too short"),
        (SECTION, block(6, bytes(20)), "a block that cannot be"),  # no interface was described
    ],
)
def test_where_and_why_a_pcapng_breaks(good: bytes, bad: bytes, why: str) -> None:
    assert walked(Pcapng(0, 8), good + bad, step=10_000) == ([], len(good), why)


def test_an_impossible_record_breaks_a_pcap() -> None:
    good = pcap(FRAMES)
    seen, at, why = walked(Pcap(good[:24], 0, 8), good + b"\xff" * 16, step=10_000)
    assert (seen, at) == (FRAMES, len(good))
    assert "impossible" in why


def test_drops_of_all_interfaces_and_sections_are_added() -> None:
    def statistics(*options: tuple[int, bytes]) -> bytes:
        told = b"".join(struct.pack("<HH", code, len(value)) + value for code, value in options)
        return block(5, struct.pack("<III", 0, 0, 0) + told)

    data = SECTION + INTERFACE + statistics((5, struct.pack("<Q", 3)), (7, struct.pack("<Q", 4)))
    data += statistics((4, struct.pack("<Q", 100))) + SECTION + statistics((5, struct.pack("<Q", 10))) + statistics()
    made = Pcapng(0, 8)
    assert walked(made, data, step=10_000) == ([], len(data), "")
    assert made.drops == 17  # if_drop and os_drop; isb_ifrecv (4) are no drops
