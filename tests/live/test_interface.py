"""What the sensor sees on an interface is what `analyze` says of a recording of the same packets."""

from __future__ import annotations

import json
import shutil
import sqlite3
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from sensor import pipeline
from sensor.rules.load import load
from sensor.schema import FlowFrame
from sensor.settings import load_policy
from tests.builders import do_handshake, do_piece, ethernet, fragments, ipv4, ipv6, pcap, tcp, vlan
from tests.live.network import LIVE, PCAPS, ROOT, Network, Sensor, await_true
from tests.streams import NOON, Tape
from tests.unit.test_mdns import announcement, datagram

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = LIVE
TOLD = ("id", "rule", "level", "site", "subject", "first_seen_ns", "last_seen_ns", "flows", "payload_bytes", "reason")
"""What must not depend on whether the packets came from a wire or a file."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that whoever the sensor becomes can read, unlike pytest's own."""
    made = Path(tempfile.mkdtemp(prefix="swarmtap-live-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def network(worker_id: str) -> Iterator[Network]:
    with Network(f"swarmtap-if-{worker_id}") as made:
        yield made


def flows_of(spool: Path) -> pd.DataFrame:
    parts = [pd.read_parquet(path, partitioning=None) for path in sorted((spool / "flows").rglob("*.parquet"))]
    return in_order(pd.concat(parts, ignore_index=True))


def in_order(flows: pd.DataFrame) -> pd.DataFrame:
    plain = flows.astype({name: "str" for name in flows if isinstance(flows[name].dtype, pd.CategoricalDtype)})
    return plain.sort_values(["start_ns", "community_id"], ignore_index=True)


def kept(state: Path) -> list[dict[str, Any]]:
    with sqlite3.connect(state / "incidents.sqlite") as store:
        rows = [json.loads(record) for (record,) in store.execute("SELECT record FROM incident")]
    return sorted(rows, key=lambda each: str(each["id"]))


def odd_frames() -> list[bytes]:
    """Frames that the samples have not: tags in every number, IPv6, tunnels; and frames that are not ours."""
    frames = []
    for at, tags in enumerate([(), (vlan(7),), (vlan(7, tpid=0x88A8), vlan(8)), (vlan(1), vlan(2), vlan(3))]):
        segment = tcp(50000 + at, 7680, flags=2)
        ours = ipv4(f"10.1.3.{at}", "10.1.0.9", segment), ipv6(f"2001:db8:1::{at + 1}", "2001:db8:1::99", segment)
        frames += [ethernet(packet, vlans=tags, pad=True) for packet in ours]
        frames.append(ethernet(ipv4("10.1.0.7", "10.1.0.8", tcp(50000, 443, flags=2)), vlans=tags, pad=True))
    inner = ethernet(ipv4("10.1.4.1", "10.1.4.2", tcp(50100, 7680, flags=2)), vlans=(vlan(9),))
    erspan = b"\x10\0\x88\xbe\0\0\0\1" + bytes(8) + inner
    frames.append(ethernet(ipv4("192.0.2.1", "192.0.2.2", erspan, proto=47, fix=False), vlans=(vlan(4),)))
    return frames


def wrapped(capture: Path, form: str, folder: Path) -> Path:
    """Write a sample (classic pcap, Ethernet) with a tag, with two tags, or in VXLAN."""
    read = capture.read_bytes()
    order = "<" if read[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    at, made = 24, list[bytes]()
    while at < len(read):
        _, _, size, _ = struct.unpack_from(f"{order}IIII", read, at)
        frame = read[at + 16 : at + 16 + size]
        at += 16 + size
        if form == "vxlan":
            datagram = struct.pack(">HHHH", 49152, 4789, 16 + len(frame), 0) + b"\x08\0\0\0\0\0\x07\0" + frame
            made.append(ethernet(ipv4("192.0.2.1", "192.0.2.2", datagram, proto=17, fix=False)))
        else:
            made.append(frame[:12] + bytes.fromhex({"vlan": "8100012d", "qinq": "88a8012e8100012f"}[form]) + frame[12:])
    out = folder / f"{form}-{capture.name}"
    out.write_bytes(pcap(made))
    return out


def test_the_wire_gives_what_a_recording_gives(network: Network, folder: Path) -> None:
    extra = folder / "odd.pcap"
    extra.write_bytes(pcap(odd_frames()))
    recorded, spool, state = folder / "recorded.pcap", folder / "spool", folder / "state"
    policy, rules = PCAPS / "office.yaml", ROOT / "rules"
    options = ("-p", str(policy), "-r", str(rules), "--state", str(state), "--spool", str(spool))
    evidence = folder / "evidence"
    options += ("--evidence", str(evidence))
    with network.recording(recorded), Sensor(network, folder, *options) as sensor:
        plain = sorted(path for path in PCAPS.glob("*.pcap") if path.stem != "other-port")
        small = [each for each in plain if each.stat().st_size < 300_000]
        # A form after the other: what comes twice within 50 ms would be taken for a copy of a double mirror.
        forms = [wrapped(each, form, folder) for form in ("vlan", "qinq", "vxlan") for each in small]
        captures = [*plain, extra, *forms]
        sent = sum(network.send(capture) for capture in captures)
        ours = sent - 4  # the frames to port 443
        seen = sensor.await_metric('swarmtap_capture_packets_total{interface="vb"}', ours)
        assert seen['swarmtap_capture_packets_total{interface="vb"}'] == ours
        assert seen['swarmtap_capture_kernel_drops_total{interface="vb"}'] == 0
        assert sensor.stop() == 0
    case = pipeline.analyze([str(recorded)], load_policy(policy), load([rules]))
    assert case.packets == sent
    expected = in_order(case.flows[FlowFrame.names()])
    pd.testing.assert_frame_equal(flows_of(spool), expected, check_dtype=False)
    assert len(expected) > 500
    assert {0, 1, 7, 4, 10, 90} <= set(expected["vlan"])
    found = sorted(
        ({name: getattr(each, name) for name in TOLD} for each in case.incidents), key=lambda each: str(each["id"])
    )
    assert [{name: each[name] for name in TOLD} for each in kept(state)] == found
    assert len(found) > 5
    proved = {each.id: {place.community_id for place in each.evidence} for each in case.incidents if each.evidence}
    # What opened as late as the end may still wait to be cut, as may flows that came after an incident opened.
    made = list((evidence / "incidents").iterdir())
    assert len(made) > 5
    for path in made:
        cut = pipeline.analyze([str(path)], load_policy(policy), load([rules]))
        assert set() < set(cut.flows["community_id"]) <= proved[path.stem]
        assert not any(each.damage for each in cut.inputs)


def test_fragments_find_their_flow_and_those_of_others_are_not_kept(network: Network, folder: Path) -> None:
    ours = Tape(step_ms=100).open().orig(0, bytes(range(256)) * 4)
    others = Tape(orig="10.1.0.7", resp_port=443).open().orig(0, b"a stranger's secret " * 50)
    frames = []
    for tape in (ours, others):
        *opening, (ts_ns, whole) = tape.frames
        frames += [*opening, *((ts_ns + at, piece) for at, piece in enumerate(fragments(whole, 400)))]
    capture, spool, evidence = folder / "fragments.pcap", folder / "spool", folder / "evidence"
    capture.write_bytes(pcap(sorted(frames), nanos=True))
    with Sensor(network, folder, "--spool", str(spool), "--evidence", str(evidence)) as sensor:
        assert network.send(capture, "-x", "1") == len(frames)
        sensor.await_metric('swarmtap_capture_packets_total{interface="vb"}', 8)  # of the other, what has no ports
        assert sensor.stop() == 0
    (flow,) = flows_of(spool).to_dict("records")
    assert (flow["orig_payload_bytes"], flow["orig_packets"], flow["orig_gap_bytes"]) == (1024, 5, 0)
    kept = b"".join(path.read_bytes() for path in evidence.glob("*.pcap"))
    assert bytes(range(256))[:64] in kept
    assert b"secret" not in kept


def test_do_on_another_port_and_names_by_mdns_on_the_wire(network: Network, folder: Path) -> None:
    tape = Tape(resp_port=8081, step_ms=100).open().orig(0, do_handshake()).resp(0, do_handshake())
    at = 75
    tape.next_ms = 2500
    for piece in range(5):
        tape.resp(at, do_piece(piece, 0, bytes(500)))
        at += 513
    web = Tape(resp_port=8082, orig_port=50001).open().orig(0, b"GET / HTTP/1.1\r\n\r\n")
    named = [(NOON, datagram("10.1.0.5", announcement("ANNA", [1, 2], ip="10.1.0.5")))]
    capture, spool, state = folder / "elsewhere.pcap", folder / "spool", folder / "state"
    frames = sorted([*named, *web.frames, *tape.frames], key=lambda frame: frame[0])
    capture.write_bytes(pcap(frames, nanos=True))
    options = ("-r", str(ROOT / "rules"), "--any-port", "--spool", str(spool), "--state", str(state))
    with Sensor(network, folder, *options) as sensor:
        assert network.send(capture, "-x", "1") == len(frames)
        # The mDNS datagram, two handshakes, five pieces: what is not DO stays outside.
        seen = sensor.await_metric('swarmtap_capture_packets_total{interface="vb"}', 8)
        assert seen['swarmtap_capture_packets_total{interface="vb"}'] == 8
        await_true(lambda: json.loads(network.run("curl", "-s", f"{sensor.url}/status"))["names"])
        (name,) = json.loads(network.run("curl", "-s", f"{sensor.url}/status"))["names"]
        assert (name["address"], name["name"]) == ("10.1.0.5", "ANNA")
        assert sensor.stop() == 0
    flows = flows_of(spool)
    assert flows[["resp_ip", "resp_port", "verdict", "resp_pieces", "resp_piece_bytes"]].to_numpy().tolist() == [
        ["10.1.0.6", 8081, "do", 5, 2500]
    ]
    assert "p03_do_on_other_port" in {each["rule"] for each in kept(state)}
