"""Community IDs against hashlib, against the reference implementation, and against published values."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import struct
from typing import TYPE_CHECKING

import communityid
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.kernels import community

if TYPE_CHECKING:
    from collections.abc import Sequence

Flow = tuple[int, int, int, int]  # address, port, address, port
LANES = pytest.mark.parametrize("lane", ["compiled", "python"])
LOW = (1 << 64) - 1
MAPPED = 0xFFFF << 32


def write(flows: Sequence[Flow], lane: str, seed: int = 0) -> list[str]:
    sides = []
    for at in (0, 2):
        sides += [
            np.array([flow[at] >> 64 for flow in flows], dtype=np.uint64),
            np.array([flow[at] & LOW for flow in flows], dtype=np.uint64),
            np.array([flow[at + 1] for flow in flows], dtype=np.uint16),
        ]
    kernel = community.community_ids if lane == "compiled" else community.community_ids.py_func
    out_text = np.zeros(len(flows) * 30, dtype=np.uint8)
    out_scratch = np.zeros(community.SCRATCH, dtype=np.int64)
    assert kernel(*sides, seed, out_text, out_scratch) == len(flows) * 30
    return [bytes(row).decode("ascii") for row in out_text.reshape(-1, 30)]


def by_hashlib(flow: Flow, seed: int) -> str:
    low, high = sorted([(flow[0], flow[1]), (flow[2], flow[3])])
    short = low[0] >> 32 == 0xFFFF and high[0] >> 32 == 0xFFFF
    size = 4 if short else 16
    parts = [(side[0] & ((1 << 8 * size) - 1)).to_bytes(size, "big") for side in (low, high)]
    text = struct.pack(">H", seed) + parts[0] + parts[1] + struct.pack(">BBHH", 6, 0, low[1], high[1])
    return "1:" + base64.b64encode(hashlib.sha1(text, usedforsecurity=False).digest()).decode("ascii")


def by_reference(flow: Flow, seed: int) -> str:
    texts = [
        str(ipaddress.IPv4Address(value & 0xFFFFFFFF)) if value >> 32 == 0xFFFF else str(ipaddress.IPv6Address(value))
        for value in (flow[0], flow[2])
    ]
    key = communityid.FlowTuple.make_tcp(texts[0], texts[1], flow[1], flow[3])
    return str(communityid.CommunityID(seed=seed).calc(key))


addresses4 = st.one_of(
    st.sampled_from([MAPPED, MAPPED | 1, MAPPED | 0xFFFFFFFF]), st.integers(MAPPED, MAPPED | 0xFFFFFFFF)
)
addresses6 = st.one_of(st.sampled_from([0, 1, (1 << 128) - 1, 1 << 64, LOW]), st.integers(0, (1 << 128) - 1)).filter(
    lambda value: value >> 32 != 0xFFFF
)
ports = st.one_of(st.sampled_from([0, 7680, 65535]), st.integers(0, 65535))
flows4 = st.tuples(addresses4, ports, addresses4, ports)
flows6 = st.tuples(addresses6, ports, addresses6, ports)


@LANES
def test_published_values(lane: str) -> None:
    """The TCP examples of the specification's baseline files (tcp.pcap, seeds 0 and 1)."""
    flow = (
        MAPPED | int(ipaddress.IPv4Address("128.232.110.120")),
        34855,
        MAPPED | int(ipaddress.IPv4Address("66.35.250.204")),
        80,
    )
    assert write([flow], lane) == ["1:LQU9qZlK+B5F3KDmev6m5PMibrg="]
    assert write([flow], lane, seed=1) == ["1:3V71V58M3Ksw/yuFALMcW0LAHvc="]


@LANES
def test_both_directions_have_one_name(lane: str) -> None:
    flow = (MAPPED | 0x0A000001, 50000, MAPPED | 0x0A000002, 7680)
    back = (flow[2], flow[3], flow[0], flow[1])
    same_host = (flow[0], 7680, flow[0], 50000)
    ids = write([flow, back, same_host, (flow[0], 50000, flow[0], 7680)], lane)
    assert ids[0] == ids[1] != ids[2] == ids[3]


@LANES
def test_one_mapped_side_alone_is_hashed_as_16_bytes(lane: str) -> None:
    flow = (MAPPED | 0x0A000001, 50000, 0x20010DB8 << 96, 7680)
    assert write([flow], lane) == [by_hashlib(flow, 0)]


@LANES
def test_no_flows(lane: str) -> None:
    assert write([], lane) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(flows4, flows6), min_size=1, max_size=4), st.integers(0, 65535))
def test_equal_hashlib_and_the_reference(flows: list[Flow], seed: int) -> None:
    wanted = [by_hashlib(flow, seed) for flow in flows]
    assert [by_reference(flow, seed) for flow in flows] == wanted
    assert write(flows, "compiled", seed) == wanted
    assert write(flows, "python", seed) == wanted
