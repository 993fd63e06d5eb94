"""The checksum of a whole segment is right until a bit is not; what was cut proves nothing."""

from __future__ import annotations

import pytest

from sensor.checksums import tcp_checksum_is_right
from sensor.sources.files import Found
from tests import builders
from tests.cases import NOON

ENDS = (("10.1.0.5", "10.1.0.6"), ("2001:db8::5", "2001:db8::6"))


def found(src: str, dst: str, payload: bytes) -> Found:
    segment = builders.tcp(src_port=50000, dst_port=7680, payload=payload)
    data = builders.ethernet(builders.ip(src, dst, segment))
    return Found(data, len(data), 1, NOON)


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("payload", [b"even", b"odd!!", b"x" * 1400])
def test_right_and_wrong(ends: tuple[str, str], payload: bytes) -> None:
    frame = found(*ends, payload)
    assert tcp_checksum_is_right(frame)
    flipped = frame.data[:-1] + bytes([frame.data[-1] ^ 4])
    assert not tcp_checksum_is_right(Found(flipped, frame.wire_bytes, 1, NOON))
    assert not tcp_checksum_is_right(Found(frame.data[:-2], frame.wire_bytes, 1, NOON))


def test_what_is_no_segment() -> None:
    assert not tcp_checksum_is_right(Found(bytes(60), 60, 1, NOON))
