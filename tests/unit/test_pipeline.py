"""The whole string on the public captures, as their README tells them, and on small captures made by hand."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sensor import pipeline
from sensor.decode import decode
from sensor.errors import OperatorError
from sensor.flows import FlowTable
from sensor.messages import MessageReader
from sensor.pipeline import Options
from sensor.rules.load import load
from sensor.schema import KIND_HANDSHAKE, KIND_KEEPALIVE, KIND_VERDICT
from sensor.settings import load_policy
from sensor.sources.files import Reader
from tests.builders import do_handshake, pcap
from tests.captures import ROOT, SAMPLES, public
from tests.streams import NOON, ORIG, RESP, SECOND, Tape

if TYPE_CHECKING:
    from pathlib import Path

    from sensor.schema import Case

RULES = load([ROOT / "rules"])
NO_POLICY = load_policy(None)
OFFICE = load_policy(SAMPLES / "office.yaml")

# File, packets, flows, packets by the originators; from the README and counted with a reader of its own.
REAL = [
    ("two-pcs.pcap", 43, 5),
    ("two-seeders.pcap", 27, 3),
    ("handshake-then-fin.pcap", 23, 2),
    ("handshakes-only.pcap", 5, 1),
    ("stale-peers-40s.pcap", 45, 9),
    ("silent-peers.pcap", 9, 2),
    ("refused-sll.pcap", 10, 1),
    ("midstream-keepalive.pcap", 2, 1),
]


def analyze(*paths: Path, policy: object = NO_POLICY, options: Options | None = None) -> Case:
    return pipeline.analyze([str(path) for path in paths], policy, RULES, options)  # type: ignore[arg-type]


def heard(name: str) -> tuple[list[tuple[int, int, int, int, int]], list[tuple[int, str, int]]]:
    """Return (side, kind, index, begin, length) of messages and (side, first bytes of the hash, the 8 bytes)."""
    table, reader = FlowTable(), MessageReader()
    messages, shakes = [], []
    with Reader(public("real") / name, 0) as source:
        for batch in source.batches():
            packets = decode(batch)
            told = reader.push(packets, batch.data, table.push(packets))
            messages += [
                (int(m["from_resp"]), int(m["kind"]), int(m["index"]), int(m["begin"]), int(m["length"]))
                for m in told.messages
                if m["kind"] != KIND_VERDICT
            ]
            shakes += [
                (int(s["from_resp"]), bytes(s["swarm_hash"][:4]).hex(), int(s["reserved"])) for s in told.handshakes
            ]
    return messages, shakes


# --- public captures ---
@pytest.mark.parametrize(("name", "packets", "flows"), REAL)
@pytest.mark.parametrize("policy", [NO_POLICY, OFFICE], ids=["no policy", "office"])
def test_public_captures_have_the_packets_and_flows_of_their_readme(
    name: str, packets: int, flows: int, policy: object
) -> None:
    case = analyze(public("real") / name, policy=policy)
    assert (case.packets, case.packets_7680, len(case.flows)) == (packets, packets, flows)
    assert case.flows[["orig_packets", "resp_packets"]].to_numpy().sum() == packets
    assert not case.flows["duplicate_packets"].any()
    assert not any(case.weird.values())
    assert (case.findings["r01_horizontal_scan"], case.findings["p01_other_protocol"], case.findings["p02_opaque"]) == (
        0,
        0,
        0,
    )


@pytest.mark.parametrize(("name", "packets", "flows"), REAL)
def test_nothing_is_found_in_public_captures_without_a_policy(name: str, packets: int, flows: int) -> None:
    case = analyze(public("real") / name)
    assert (case.packets, len(case.flows)) == (packets, flows)
    assert not any(case.findings.values())
    assert case.incidents == ()


def test_all_public_captures_together() -> None:
    case = analyze(*(public("real") / name for name, _, _ in REAL))
    assert (case.packets_7680, len(case.flows)) == (164, 24)
    assert not any(case.findings.values())
    assert case.swarms == 5


def test_two_pcs() -> None:
    flows = analyze(public("real") / "two-pcs.pcap").flows
    assert flows["verdict"].tolist() == ["too_little", "do", "do", "do", "do"]
    assert flows["conn_state"].tolist() == ["OTH", "SF", "SF", "SF", "SF"]
    assert flows["role_guessed"].tolist() == [True, False, False, False, False]
    ad6a = "ad6a7be9d733abff0c8632f8cd4c451df4813365bb95a5d824801e13e1df5a16"
    other = "2e0405cc386bac48cd544bfffbf257d2484cae3ae5cdad1f2fcb36159ec3130f"
    assert flows["swarm_hash"].tolist() == ["", ad6a, ad6a, other, ad6a]
    # A peer id belongs to a host and a swarm: the same two in each flow of one swarm, others in the other.
    ids = flows[["orig_peer_id", "resp_peer_id"]].to_numpy()
    one, two = "c8fcc888-9e00-4472-8de2-810a61aa7ebe", "2fe45637-fcce-4e87-8fda-a59c2a1c5477"
    assert [set(row) for row in ids[[1, 2, 4]]] == [{one, two}] * 3
    assert set(ids[3]) == {"833dbe6f-9843-4a14-a596-f551c194601b", "fcf24a2e-92e2-461a-973d-280d5ea03645"}
    assert {text[14] for row in ids[1:] for text in row} == {"4"}  # read as little-endian all are random UUIDs
    messages, shakes = heard("two-pcs.pcap")
    assert [m for m in messages if m[1] == 5] == [(0, 5, 43, 128, 17), (1, 5, 42, 128, 17)]
    assert sum(m[1] == KIND_HANDSHAKE for m in messages) == len(shakes) == 8
    assert {s[2] for s in shakes} == {0x0100000000100000}
    assert sorted({s[1] for s in shakes}) == ["2e0405cc", "ad6a7be9"]


def test_two_seeders() -> None:
    messages, shakes = heard("two-seeders.pcap")
    assert [m for m in messages if m[1] == 5] == [(0, 5, 85, 88, 12), (1, 5, 85, 88, 12)]
    assert [m for m in messages if m[1] == 4] == [(0, 4, 14, 0, 5)]
    assert sum(m[1] == KIND_KEEPALIVE for m in messages) == 2  # one behind a bitfield, one of a flow met in its middle
    assert len(shakes) == 4
    assert {s[2] for s in shakes} == {0x0100000000100000}


def test_a_handshake_answered_by_fin() -> None:
    flows = analyze(public("real") / "handshake-then-fin.pcap").flows
    assert flows["verdict"].tolist() == ["do", "do"]
    assert flows["orig_payload_bytes"].tolist() == [75, 75]
    assert flows["resp_payload_bytes"].tolist() == [0, 0]
    assert flows["retransmitted_bytes"].tolist() == [75, 0]  # the handshake was sent twice
    assert flows["resp_peer_id"].tolist() == ["", ""]
    messages, shakes = heard("handshake-then-fin.pcap")
    assert len(messages) == len(shakes) == 2
    assert {s[2] for s in shakes} == {0x100000}


def test_handshakes_with_zero_checksums() -> None:
    flows = analyze(public("real") / "handshakes-only.pcap").flows
    assert flows["orig_payload_bytes"].tolist() == flows["resp_payload_bytes"].tolist() == [75]
    assert flows["orig_peer_id"].tolist() == ["6918f79d-0a50-45a1-ac30-c926023dd394"]
    assert {s[2] for s in heard("handshakes-only.pcap")[1]} == {0x100000}


def test_silence_refusal_and_the_middle() -> None:
    stale = analyze(public("real") / "stale-peers-40s.pcap")
    assert set(stale.flows["conn_state"]) == {"S0"}
    assert stale.flows["orig_packets"].tolist() == [5] * 9
    refused = analyze(public("real") / "refused-sll.pcap")
    assert refused.flows["conn_state"].tolist() == ["REJ"]
    assert set(refused.activity["outcome"]) == {"refused"}
    middle = analyze(public("real") / "midstream-keepalive.pcap").flows
    assert (middle["resp_port"].tolist(), middle["resp_payload_bytes"].tolist()) == ([7680], [4])


# --- small captures ---
def given(folder: Path, *tapes: Tape, name: str = "x.pcap") -> Path:
    path = folder / name
    frames = sorted((frame for tape in tapes for frame in tape.frames), key=lambda frame: frame[0])
    path.write_bytes(pcap(frames, nanos=True))
    return path


def test_one_input_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path) -> None:
    good = given(tmp_path, Tape().open())
    bad = tmp_path / "bad.pcap"
    bad.write_bytes(b"no capture")
    case = analyze(bad, good)
    assert [(i.packets, bool(i.damage)) for i in case.inputs] == [(3, False), (0, True)]
    assert case.inputs[1].name == str(bad)
    assert case.inputs[1].damage.startswith("is not a capture")
    assert case.flows["orig_packets"].tolist() == [2]


def test_if_nothing_can_be_read_all_is_said(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b")]
    for path in paths:
        path.write_bytes(b"no capture")
    for some in (paths, paths[:1]):
        with pytest.raises(OperatorError) as error:
            analyze(*some)
        assert [mistake.where for mistake in error.value.mistakes] == [str(path) for path in some]


def test_damage_is_told_and_what_came_before_is_used(tmp_path: Path) -> None:
    path = given(tmp_path, Tape().open().orig(0, do_handshake()))
    path.write_bytes(path.read_bytes()[:-10])
    case = analyze(path)
    assert case.packets == 3
    assert "cut off" in case.inputs[0].damage


def test_empty_captures_among_others(tmp_path: Path) -> None:
    empty = tmp_path / "0.pcap"
    empty.write_bytes(pcap([]))
    case = analyze(empty, given(tmp_path, Tape().open()), tmp_path / "0.pcap")
    assert case.packets == 3
    assert (case.first_packet_ns, case.last_packet_ns) == (NOON, NOON + SECOND // 5)
    alone = analyze(empty)
    assert (alone.packets, len(alone.flows), alone.incidents) == (0, 0, ())
    assert set(alone.findings) == set(RULES.names())
    assert list(alone.flows.columns) == list(case.flows.columns)
    assert list(alone.activity.columns) == list(case.activity.columns)


def test_since_and_until(tmp_path: Path) -> None:
    tape = Tape().open()
    for second in range(1, 6):
        tape.orig(second, b"x", at_ms=second * 1000)
    path = given(tmp_path, tape)
    case = analyze(path, options=Options(since_ns=NOON + 2 * SECOND, until_ns=NOON + 4 * SECOND))
    assert case.flows["orig_payload_bytes"].tolist() == [2]
    assert case.packets_7680 == 2


def test_hashes_are_taken_where_asked(tmp_path: Path) -> None:
    path = given(tmp_path, Tape().open())
    assert analyze(path).inputs[0].sha256 == ""
    assert len(analyze(path, options=Options(hashes=True)).inputs[0].sha256) == 64


def test_several_named_pipes(tmp_path: Path) -> None:
    # As `swarmtap analyze <(zcat a.gz) <(zcat b.gz)` gives them.
    writers = []
    for number in (0, 1):
        data = pcap(Tape(orig_port=5000 + number, start_ns=NOON + number * SECOND).open().frames, nanos=True)
        os.mkfifo(tmp_path / str(number))
        writers.append(threading.Thread(target=(tmp_path / str(number)).write_bytes, args=(data,), daemon=True))
        writers[-1].start()
    cases: list[Case] = []
    reader = threading.Thread(target=lambda: cases.append(analyze(tmp_path / "0", tmp_path / "1")), daemon=True)
    reader.start()
    reader.join(5)
    for number in (0, 1):  # let go of a reader that waits for a writer which has gone
        os.close(os.open(tmp_path / str(number), os.O_RDWR | os.O_NONBLOCK))
    assert [case.packets for case in cases] == [6]


def test_two_runs_give_the_same() -> None:
    path = SAMPLES / "off-window.pcap"
    one, two = analyze(path, policy=OFFICE), analyze(path, policy=OFFICE)
    assert one.flows.equals(two.flows)
    assert one.activity.equals(two.activity)
    assert one.incidents == two.incidents
    assert one.incidents


def test_what_peers_are(tmp_path: Path) -> None:
    silent = Tape("10.0.0.1", "10.0.0.2").syn()
    refused = Tape("10.0.0.3", "10.0.0.4").syn().reset(RESP)
    moved = Tape("10.0.0.5", "10.0.0.6").open().orig(0, b"x")
    case = analyze(given(tmp_path, silent, refused, moved))
    assert case.peers == 3  # 10.0.0.4 and 10.0.0.6 answered, 10.0.0.5 moved payload


@pytest.mark.parametrize("side", [ORIG, RESP])
def test_the_swarm_is_known_from_either_side(tmp_path: Path, side: int) -> None:
    flows = analyze(given(tmp_path, Tape().open().send(side, 0, do_handshake(b"\x11" * 32)))).flows
    assert flows["swarm_hash"].tolist() == ["11" * 32]
    told = flows[["orig_peer_id", "resp_peer_id"]].to_numpy()[0]
    assert told[side] == "03020100-0504-0706-0809-0a0b0c0d0e0f"
    assert told[1 - side] == ""


def test_a_long_flow_keeps_its_verdict_after_the_daily_cut(tmp_path: Path) -> None:
    tape = Tape().open().orig(0, do_handshake())
    for hour in range(1, 30):
        tape.orig(75 + 4 * (hour - 1), bytes(4), at_ms=hour * 3_600_000)
    flows = analyze(given(tmp_path, tape)).flows
    assert len(flows) == 2
    assert flows["verdict"].tolist() == ["do", "do"]


def test_do_on_another_port_goes_on_in_the_next_file(tmp_path: Path) -> None:
    whole = Tape(resp_port=8081).open().orig(0, do_handshake()).resp(0, do_handshake())
    for at in range(20):
        whole.orig(75 + 4 * at, bytes(4))
    first, second = Tape(), Tape()
    first.frames, second.frames = whole.frames[:9], whole.frames[9:]
    options = Options(any_port=True)
    one = analyze(given(tmp_path, whole), options=options)
    two = analyze(given(tmp_path, second, name="a.pcap"), given(tmp_path, first, name="b.pcap"), options=options)
    assert one.flows.equals(two.flows)
    assert one.flows[["resp_port", "orig_packets", "verdict"]].to_numpy().tolist() == [[8081, 21, "do"]]
    assert len(analyze(given(tmp_path, whole)).flows) == 0


def test_times_before_1970_and_far_in_the_future(tmp_path: Path) -> None:
    for start_ns in (0, 4_102_444_800_000_000_000):
        case = analyze(given(tmp_path, Tape(start_ns=start_ns).open()))
        assert case.flows["start_ns"].tolist() == [start_ns]
        assert np.all(case.activity["window_start_ns"] == start_ns)
