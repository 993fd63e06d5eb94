"""Records as the specifications have them: written here once more, with struct."""

from __future__ import annotations

import struct

from sensor.pcapfile import Format
from tests.cases import NOON


def test_one_link_type_is_a_pcap_of_nanoseconds() -> None:
    made = Format([101, 101])
    assert made.suffix == "pcap"
    assert made.head() == struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 101)
    assert made.record(b"abc", 1514, 101, NOON + 7) == struct.pack("<IIII", NOON // 10**9, 7, 3, 1514) + b"abc"


def test_longer_frames_raise_the_snap_length() -> None:
    assert struct.unpack_from("<I", Format([1], 300_000).head(), 16) == (300_000,)


def test_mixed_link_types_are_a_pcapng() -> None:
    made = Format([113, 1, 113])
    assert made.suffix == "pcapng"
    head = made.head()
    assert len(head) == 28 + 2 * 32
    assert struct.unpack_from("<IIH", head, 28) == (1, 32, 1)
    assert struct.unpack_from("<IIH", head, 60) == (1, 32, 113)
    record = made.record(b"abcde", 60, 113, NOON)
    assert len(record) == 28 + 8 + 4
    assert struct.unpack_from("<III", record) == (6, 40, 1)
    high, low, size, wire = struct.unpack_from("<IIII", record, 12)
    assert ((high << 32) | low, size, wire) == (NOON, 5, 60)
    assert record[28:36] == b"abcde\0\0\0"
    assert struct.unpack_from("<I", record, 36) == (40,)
