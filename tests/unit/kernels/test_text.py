"""Text kernels against `ipaddress` and `uuid`, compiled and as plain Python."""

from __future__ import annotations

import ipaddress
import itertools
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.kernels import text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LANES = pytest.mark.parametrize("lane", ["compiled", "python"])
LOW = (1 << 64) - 1
GUARD = 0xEE  # what a kernel must not touch behind its text


def lane_of(kernel: Any, lane: str) -> Callable[..., int]:
    found: Callable[..., int] = kernel if lane == "compiled" else kernel.py_func
    return found


def cut(out_text: np.ndarray, out_offsets: np.ndarray, written: int) -> list[str]:
    assert out_offsets[0] == 0
    assert out_offsets[-1] == written
    assert (out_text[written:] == GUARD).all()
    return [bytes(out_text[a:b]).decode("ascii") for a, b in itertools.pairwise(out_offsets)]


def write_addresses(values: Sequence[int], lane: str) -> list[str]:
    hi = np.array([value >> 64 for value in values], dtype=np.uint64)
    lo = np.array([value & LOW for value in values], dtype=np.uint64)
    out_text = np.full(len(values) * text.ADDRESS_TEXT_MAX, GUARD, dtype=np.uint8)
    out_offsets = np.full(len(values) + 1, -1, dtype=np.int64)
    return cut(out_text, out_offsets, lane_of(text.addresses, lane)(hi, lo, out_text, out_offsets))


def write_raw(kernel: Any, raw: np.ndarray, present: np.ndarray, lane: str) -> list[str]:
    out_text = np.full(raw.shape[0] * 64, GUARD, dtype=np.uint8)
    out_offsets = np.full(raw.shape[0] + 1, -1, dtype=np.int64)
    return cut(out_text, out_offsets, lane_of(kernel, lane)(raw, present, out_text, out_offsets))


def as_people_write(value: int) -> str:
    if value >> 32 == 0xFFFF:
        return str(ipaddress.IPv4Address(value & 0xFFFFFFFF))
    return str(ipaddress.IPv6Address(value))


groups = st.one_of(
    st.just(0), st.sampled_from([1, 0xF, 0x10, 0xFF, 0x100, 0xFFF, 0x1000, 0xFFFF]), st.integers(0, 0xFFFF)
)
ipv6 = st.lists(groups, min_size=8, max_size=8).map(
    lambda parts: sum(part << (112 - 16 * at) for at, part in enumerate(parts))
)
mapped = st.integers(0, 0xFFFFFFFF).map(lambda value: 0xFFFF << 32 | value)


@LANES
def test_addresses_read_as_written_by_hand(lane: str) -> None:
    values = {
        "10.1.2.3": 0xFFFF0A010203,
        "0.0.0.0": 0xFFFF00000000,  # noqa: S104 - an address, not a bind
        "255.255.255.255": 0xFFFFFFFFFFFF,
        "100.9.10.99": 0xFFFF64090A63,
        "::": 0,
        "::1": 1,
        "1::": 1 << 112,
        "::102:304": 0x01020304,
        "fe80::1": 0xFE80 << 112 | 1,
        "2001:db8::1:0:0:1": 0x20010DB8000000000001000000000001,
        "2001:db8:0:1:1:1:1:1": 0x20010DB8000000010001000100010001,
        "1:0:0:2::3": 0x00010000000000020000000000000003,
        "0:1:2:3:4:5:6:7": 0x00000001000200030004000500060007,
        "1:2:3:4:5:6:7:0": 0x00010002000300040005000600070000,
        "1:2:3:4:5:6::": 0x00010002000300040005000600000000,
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": (1 << 128) - 1,
    }
    assert write_addresses(list(values.values()), lane) == list(values)


@LANES
def test_no_rows_give_no_text(lane: str) -> None:
    assert write_addresses([], lane) == []


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(ipv6, mapped, st.integers(0, (1 << 128) - 1)), max_size=20))
def test_addresses_equal_ipaddress(values: list[int]) -> None:
    wanted = [as_people_write(value) for value in values]
    assert write_addresses(values, "compiled") == wanted
    assert write_addresses(values, "python") == wanted


@LANES
def test_hexes_write_lower_case_and_skip_absent_rows(lane: str) -> None:
    raw = np.array([[0x00, 0x9A, 0xFF], [1, 2, 3], [0xDE, 0xAD, 0x0F]], dtype=np.uint8)
    assert write_raw(text.hexes, raw, np.array([True, False, True]), lane) == ["009aff", "", "dead0f"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.booleans()), max_size=8))
def test_hexes_equal_bytes_hex(rows: list[tuple[bytes, bool]]) -> None:
    raw = np.frombuffer(b"".join(row for row, _ in rows), dtype=np.uint8).reshape(-1, 32)
    present = np.array([there for _, there in rows], dtype=np.bool_)
    wanted = [row.hex() if there else "" for row, there in rows]
    assert write_raw(text.hexes, raw, present, "compiled") == wanted
    assert write_raw(text.hexes, raw, present, "python") == wanted


@LANES
def test_guids_read_windows_memory_order(lane: str) -> None:
    raw = np.frombuffer(bytes.fromhex("33221100554477668899aabbccddeeff"), dtype=np.uint8).reshape(1, 16)
    assert write_raw(text.guids, raw, np.array([True]), lane) == ["00112233-4455-6677-8899-aabbccddeeff"]


@LANES
def test_guids_of_another_width_are_nothing(lane: str) -> None:
    assert write_raw(text.guids, np.zeros((2, 15), dtype=np.uint8), np.array([True, True]), lane) == ["", ""]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.booleans()), max_size=8))
def test_guids_equal_uuid(rows: list[tuple[bytes, bool]]) -> None:
    raw = np.frombuffer(b"".join(row for row, _ in rows), dtype=np.uint8).reshape(-1, 16)
    present = np.array([there for _, there in rows], dtype=np.bool_)
    wanted = [str(uuid.UUID(bytes_le=row)) if there else "" for row, there in rows]
    assert write_raw(text.guids, raw, present, "compiled") == wanted
    assert write_raw(text.guids, raw, present, "python") == wanted
