"""Batches to packets: the fast lane, the slow lane in its place among them, and what is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sensor.decode import Decoder, decode
from sensor.dissect import slow_lane
from sensor.fragments import later
from sensor.kernels import headers
from sensor.schema import WEIRDS, Bytes, Packets, Rows
from sensor.wire import DO_GREETING
from tests.builders import ACK, SYN, do_handshake, ethernet, ipv4, tcp, vlan
from tests.streams import NOON, batch_of, run_as_python

if TYPE_CHECKING:
    import pytest

PLAIN = ethernet(ipv4("10.0.0.1", "10.0.0.2", tcp(50000, 7680, b"abc")))
TAGGED = ethernet(ipv4("10.0.0.3", "10.0.0.4", tcp(50000, 7680, b"abc")), vlans=[vlan(at) for at in (1, 2, 3)])
FRAGMENT = ethernet(ipv4("10.0.0.1", "10.0.0.2", bytes(10), fragment=0x2000))
LATER = ethernet(ipv4("10.0.0.1", "10.0.0.2", bytes(40), fragment=100))
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


def test_later_fragments_come_whatever_their_port() -> None:
    for any_port in (False, True):
        decoder = Decoder(slow=slow_lane, any_port=any_port)
        assert later(decoder.push(batch(LATER, PLAIN))).tolist() == [True, False]
        assert not decoder.elsewhere


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


# --- DO on other ports ---
A, B, PORT = "10.0.0.1", "10.0.0.2", 8081


def elsewhere(payload: bytes = b"", *, back: bool = False, port: int = PORT, flags: int = ACK, **more: Any) -> bytes:
    ports = (port, 50000) if back else (50000, port)
    return ethernet(ipv4(*((B, A) if back else (A, B)), tcp(*ports, payload, flags=flags)), **more)


TALK = [
    elsewhere(flags=SYN), elsewhere(flags=SYN | ACK, back=True), elsewhere(do_handshake()), elsewhere(back=True),
    elsewhere(do_handshake(), back=True), elsewhere(b"x", port=8082), elsewhere(b"anything"),
]  # fmt: skip


def test_do_on_another_port_is_taken_from_its_handshake_on() -> None:
    decoder = Decoder(any_port=True)
    assert decoder.push(batch(*TALK, PLAIN))["number"].tolist() == [3, 4, 5, 7, 8]
    assert list(decoder.elsewhere) == [(8081, 50000)]
    assert decoder.forgotten == 0
    assert Decoder().push(batch(*TALK, PLAIN))["number"].tolist() == [8]


def test_it_stays_known_in_the_next_batch_and_until_another_syn() -> None:
    decoder = Decoder(any_port=True)
    decoder.push(batch(*TALK))
    later = batch(elsewhere(b"more", back=True), elsewhere(flags=SYN), elsewhere(b"GET / HTTP/1.1"))
    assert decoder.push(later)["number"].tolist() == [1]


def test_the_slow_lane_knows_the_same_flows() -> None:
    tags = [vlan(at) for at in (1, 2, 3)]
    decoder = Decoder(slow=slow_lane, any_port=True)
    frames = [elsewhere(payload, vlans=tags) for payload in (b"no", do_handshake(), b"2")]
    assert decoder.push(batch(TAGGED, *frames))["number"].tolist() == [1, 3, 4]


def test_a_name_that_is_not_the_whole_name_is_nothing() -> None:
    decoder = Decoder(any_port=True)
    cut = [elsewhere(DO_GREETING[:size]) for size in range(15)]
    near = [elsewhere(DO_GREETING[:at] + b"?" + DO_GREETING[at + 1 :] + bytes(60)) for at in range(15)]
    assert len(decoder.push(batch(*cut, *near, elsewhere(b"..." + do_handshake())))) == 0


def test_known_flows_are_bounded_and_counted() -> None:
    decoder = Decoder(any_port=True)
    frames = [
        ethernet(ipv4(f"10.{at >> 16}.{at >> 8 & 255}.{at & 255}", B, tcp(1000 + at % 60000, 8081, do_handshake())))
        for at in range(70_000)
    ]
    assert len(decoder.push(batch(*frames))) == 70_000
    assert decoder.forgotten > 70_000 - 65_536
    assert len(decoder.elsewhere) == 64
    assert decoder.push(batch(elsewhere(do_handshake()), elsewhere(b"x")))["number"].tolist() == [1, 2]


def test_python_chooses_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    made = batch(*TALK, PLAIN, elsewhere(flags=SYN), elsewhere(b"x"), *TALK)
    decode_frames, choose_known = headers.decode_frames, headers.choose_known
    results = []
    for python in (False, True):
        known = np.zeros(headers.KNOWN_WORDS, dtype=np.uint64)
        out, odd = Packets.empty(len(made.frames)), np.zeros(len(made.frames), dtype=np.int64)
        out[:] = np.zeros(1, dtype=out.dtype)
        counts = np.zeros(2 + len(WEIRDS), dtype=np.int64)
        arguments: list[Any] = [made.frames, made.data, 7680, known, out, odd, counts]
        everything = Decoder(0).push(made)
        again, chosen = np.zeros(headers.KNOWN_WORDS, dtype=np.uint64), np.zeros(len(everything), dtype=np.uint8)
        others: list[Any] = [everything, made.data, 7680, again, chosen]
        if python:
            with monkeypatch.context() as patch:
                found = run_as_python(decode_frames, headers, patch, arguments)
                count = run_as_python(choose_known, headers, patch, others)
        else:
            found, count = decode_frames(*arguments), choose_known(*others)
        assert everything["number"][chosen > 0].tolist() == out["number"][:found].tolist()
        results.append((int(found), int(count), out[:found].tolist(), known.tolist(), again.tolist()))
    assert results[0] == results[1]
    assert results[0][3] == results[0][4]
