"""Batches to packets: the fast lane, the slow lane in its place among them, and what is counted."""

from __future__ import annotations

from typing import Any

import numpy as np

from sensor.decode import Decoder, decode
from sensor.dissect import slow_lane
from sensor.schema import WEIRDS, Bytes, Packets, Rows
from tests.builders import ethernet, ipv4, tcp, vlan
from tests.streams import NOON, batch_of

PLAIN = ethernet(ipv4("10.0.0.1", "10.0.0.2", tcp(50000, 7680, b"abc")))
TAGGED = ethernet(ipv4("10.0.0.3", "10.0.0.4", tcp(50000, 7680, b"abc")), vlans=[vlan(at) for at in (1, 2, 3)])
FRAGMENT = ethernet(ipv4("10.0.0.1", "10.0.0.2", bytes(40), fragment=100))
UDP = ethernet(ipv4("10.0.0.1", "10.0.0.2", bytes(40), proto=17))
SHORT = ethernet(ipv4("10.0.0.1", "10.0.0.2", tcp(50000, 7680), total=30))


def batch(*frames: bytes) -> Any:
    return batch_of((NOON + at, frame) for at, frame in enumerate(frames))


def counted(decoder: Decoder) -> dict[str, int]:
    return {name: int(count) for name, count in zip(WEIRDS, decoder.weird, strict=True) if count}


def test_odd_frames_come_back_in_their_place() -> None:
    decoder = Decoder(slow=slow_lane)
    packets = decoder.push(batch(PLAIN, TAGGED, UDP, PLAIN, TAGGED, TAGGED, PLAIN))
    assert packets["number"].tolist() == [1, 2, 4, 5, 6, 7]
    assert packets["vlan_inner"].tolist() == [0, 2, 0, 2, 2, 0]
    assert packets["payload_bytes"].tolist() == [3] * 6
    assert counted(decoder) == {}


def test_without_a_slow_lane_odd_frames_are_dropped() -> None:
    assert Decoder().push(batch(TAGGED, PLAIN, TAGGED))["number"].tolist() == [2]
    assert decode(batch(TAGGED, PLAIN, TAGGED))["number"].tolist() == [2]


def test_the_slow_lane_is_given_the_odd_frames_the_bytes_and_the_port() -> None:
    asked: list[tuple[list[int], int, int]] = []

    def slow(frames: Rows, data: Bytes, port: int) -> tuple[Rows, np.ndarray]:
        asked.append((frames["number"].tolist(), len(data), port))
        return Packets.empty(), np.full(len(WEIRDS), 2, dtype=np.int64)

    decoder, made = Decoder(port=443, slow=slow), batch(PLAIN, TAGGED, TAGGED)
    assert len(decoder.push(made)) == 0
    assert asked == [([2, 3], len(made.data), 443)]
    assert decoder.weird.tolist() == [2] * len(WEIRDS)
    decoder.push(batch(PLAIN, UDP))
    assert len(asked) == 1, "it is not troubled with frames that are plain"


def test_weirds_of_both_lanes_add_up_over_batches() -> None:
    decoder = Decoder(slow=slow_lane)
    for _ in range(3):
        assert len(decoder.push(batch(SHORT, FRAGMENT, SHORT, PLAIN))) == 1
    assert counted(decoder) == {"bad_ip_length": 6, "ip_fragment": 3}


def test_what_was_handed_out_stays_as_it_was() -> None:
    decoder = Decoder()
    first = decoder.push(batch(PLAIN, PLAIN))
    before = first.tolist()
    other = ethernet(ipv4("10.9.9.9", "10.8.8.8", tcp(7680, 1, bytes(9))))
    assert len(decoder.push(batch(other))) == 1
    assert len(decoder.push(batch(other, other, other))) == 3
    assert first.tolist() == before


def test_nothing_of_a_larger_batch_is_seen_in_a_smaller_one() -> None:
    decoder = Decoder(slow=slow_lane)
    assert len(decoder.push(batch(PLAIN, TAGGED, PLAIN, TAGGED, PLAIN))) == 5
    assert decoder.push(batch(UDP, TAGGED))["number"].tolist() == [2]
    assert len(decoder.push(batch(UDP))) == 0
    assert len(decoder.push(batch())) == 0


def test_all_tcp() -> None:
    other = ethernet(ipv4("10.0.0.1", "10.0.0.2", tcp(50000, 443)))
    assert decode(batch(PLAIN, other, UDP), port=0)["dst_port"].tolist() == [7680, 443]
    assert decode(batch(PLAIN, other, UDP), port=443)["dst_port"].tolist() == [443]
