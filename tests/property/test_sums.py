"""Activity sums to flows, flows sum to packets: nothing is counted twice, nothing is left out."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor import pipeline
from sensor.flows import FlowOptions
from sensor.rules.load import load
from sensor.settings import load_policy
from tests.builders import ACK, FIN, RST, SYN, pcap
from tests.captures import ELSEWHERE, ROOT, SAMPLES, records_of
from tests.streams import SECOND, Tape, Told, play

if TYPE_CHECKING:
    from pathlib import Path

SUMS = [
    "orig_packets", "resp_packets", "orig_bytes", "resp_bytes", "orig_payload_bytes", "resp_payload_bytes",
    "retransmitted_bytes", "duplicate_packets", "orig_pieces", "resp_pieces", "orig_piece_bytes", "resp_piece_bytes",
    "orig_requests", "resp_requests", "off_window_payload_bytes", "exempt_payload_bytes",
]  # fmt: skip
STORIES = sorted(path.name for path in SAMPLES.glob("*.pcap") if path.name not in ELSEWHERE)


def ipv4_of(record: bytes) -> tuple[int, int] | None:
    """Return IP length and payload length of a TCP packet, read with nothing of the product."""
    at = 12
    while record[at : at + 2] in (b"\x81\0", b"\x88\xa8"):
        at += 4
    version, ip = record[at : at + 2], at + 2
    if version == b"\x08\0":
        total, header = int.from_bytes(record[ip + 2 : ip + 4], "big"), (record[ip] & 15) * 4
    elif version == b"\x86\xdd":
        total, header = int.from_bytes(record[ip + 4 : ip + 6], "big") + 40, 40
    else:
        return None
    return total, total - header - (record[ip + header + 12] >> 4) * 4


@pytest.mark.parametrize("story", STORIES)
def test_activity_flows_and_packets_agree(story: str) -> None:
    path = SAMPLES / story
    case = pipeline.analyze([str(path)], load_policy(SAMPLES / "office.yaml"), load([ROOT / "rules"]))
    by_flow = case.activity.groupby("flow")[SUMS].sum()
    flows = case.flows.set_index("flow").sort_index()
    assert (flows[SUMS] == by_flow).all().all()
    packets = [found for _, data, _ in records_of(path.read_bytes()) if (found := ipv4_of(data))]
    assert case.packets == case.packets_7680 == len(packets)
    assert flows[["orig_packets", "resp_packets", "duplicate_packets"]].to_numpy().sum() == len(packets)
    assert flows[["orig_bytes", "resp_bytes"]].to_numpy().sum() == sum(total for total, _ in packets)
    told = flows[["orig_payload_bytes", "resp_payload_bytes", "retransmitted_bytes"]].to_numpy().sum()
    assert told == sum(payload for _, payload in packets)
    assert case.payload_bytes == case.activity["payload_bytes"].sum()
    assert (
        case.activity["payload_bytes"] == case.activity["orig_payload_bytes"] + case.activity["resp_payload_bytes"]
    ).all()
    assert sum(case.off_window_payload_bytes.values()) == flows["off_window_payload_bytes"].sum()


# --- any packets at all ---
FLAGS = [ACK] * 8 + [SYN, SYN, SYN | ACK, FIN | ACK, RST, RST | ACK, 0]


@st.composite
def rubbish(draw: st.DrawFn) -> list[tuple[int, bytes]]:
    """Return packets of a few hosts and ports with any flags, positions, acknowledgements, gaps in time and copies."""
    isn = (draw(st.sampled_from([0, 5, 2**32 - 30])), draw(st.sampled_from([0, 2**31, 2**32 - 1])))
    tapes = [Tape(orig_port=50000 + port, isn=isn) for port in range(3)]
    now_ms, frames = 0, []
    for _ in range(draw(st.integers(1, 60))):
        tape = tapes[draw(st.integers(0, 2))]
        now_ms += draw(st.sampled_from([0, 1, 10, 100, 3000, 12_000, 70_000]))
        at, size = draw(st.integers(-3, 60)), draw(st.sampled_from([0, 0, 1, 5, 20]))
        flags, acked = draw(st.sampled_from(FLAGS)), draw(st.integers(-2, 80))
        tape.send(draw(st.integers(0, 1)), at, b"p" * size, flags=flags, acked=acked, at_ms=now_ms)
        frames.append(tape.frames[-1])
        if draw(st.integers(0, 9)) == 0:
            frames.append((frames[-1][0] + 5_000_000, frames[-1][1]))
    return sorted(frames, key=lambda frame: frame[0])


def check(told: Told) -> None:
    windows, packets, tracks = told.windows, told.packets, told.tracks
    copies = tracks["duplicate"] == 1
    assert windows["duplicate_packets"].sum() == copies.sum()
    assert windows["orig_packets"].sum() + windows["resp_packets"].sum() == (~copies).sum()
    assert windows["orig_bytes"].sum() + windows["resp_bytes"].sum() == packets["ip_bytes"][~copies].sum()
    seen = sum(int(windows[name].sum()) for name in ("orig_payload_bytes", "resp_payload_bytes", "retransmitted_bytes"))
    assert seen == packets["payload_bytes"][~copies].sum()
    assert windows["orig_payload_bytes"].sum() + windows["resp_payload_bytes"].sum() == tracks["new_bytes"].sum()
    # Each window and each ending once; each window inside its flow.
    assert len(np.unique(windows[["flow", "window_start_ns"]])) == len(windows)
    assert sorted(told.endings["flow"].tolist()) == sorted(set(tracks["flow"].tolist()))
    ends = {int(e["flow"]): (int(e["start_ns"]), int(e["end_ns"])) for e in told.endings}
    for row in windows:
        start, end = ends[int(row["flow"])]
        assert start <= row["first_ts_ns"] <= row["last_ts_ns"] <= end
        assert row["window_start_ns"] <= row["first_ts_ns"] < row["window_start_ns"] + 10 * SECOND
    assert (told.endings["orig_gap_bytes"] >= 0).all()
    assert (told.endings["resp_gap_bytes"] >= 0).all()
    assert told.table.living == 0


@settings(deadline=None, max_examples=150)
@given(frames=rubbish())
def test_any_packets_are_counted_once(frames: list[tuple[int, bytes]]) -> None:
    check(play(frames))


@settings(deadline=None, max_examples=150)
@given(frames=rubbish(), capacity=st.integers(1, 3), holes=st.integers(0, 3))
def test_also_with_too_little_room(frames: list[tuple[int, bytes]], capacity: int, holes: int) -> None:
    check(play(frames, FlowOptions(capacity=capacity, holes=holes, idle_s=60, closed_s=5, active_s=60)))


@settings(deadline=None, max_examples=100)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    seed=st.randoms(use_true_random=False),
    isn=st.sampled_from([0, 77, 2**32 - 50, 2**31 - 20]),
)
def test_new_bytes_are_those_of_a_set(sizes: list[int], seed: object, isn: int) -> None:
    # The oracle keeps each seen byte in a set.
    rng = seed
    edges = np.cumsum([0, *sizes]).tolist()
    segments = [(a, b - a) for a, b in pairwise(edges)]
    segments += [(rng.randrange(edges[-1]), rng.randrange(1, 30)) for _ in range(6)]  # type: ignore[attr-defined]
    rng.shuffle(segments)  # type: ignore[attr-defined]
    tape = Tape(isn=(isn, 5)).open()
    seen: set[int] = set()
    expected = []
    for at, size in segments:
        tape.orig(at, b"x" * size)
        fresh = set(range(at, at + size)) - seen
        expected.append(len(fresh))
        seen |= fresh
    top = max(seen) + 1
    told = play(tape.resp(0, acked=top))
    assert told.tracks["new_bytes"][3:-1].tolist() == expected
    assert told.flow()["orig_gap_bytes"] == top - len(seen)


def test_a_capture_of_nothing_on_the_port(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap([b"\0" * 60]))
    case = pipeline.analyze([str(path)], load_policy(None), load([ROOT / "rules"]))
    assert (case.packets, case.packets_7680, len(case.flows), len(case.activity)) == (1, 0, 0, 0)
