"""Our packets and flows are tshark's, column by column, on every capture at hand."""

from __future__ import annotations

import ipaddress
import os
from collections import Counter, defaultdict
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sensor.decode import Decoder
from sensor.dissect import dissect, slow_lane
from sensor.fragments import later
from sensor.pipeline import analyze
from sensor.rows import pick
from sensor.rules.ruleset import RuleSet
from sensor.settings import load_policy
from sensor.sources.files import Reader
from tests.captures import ELSEWHERE
from tests.differential import tshark

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from sensor.schema import Batch, Rows

Sides = dict[tuple[str, int], tshark.Side]
Ends = frozenset[tuple[str, int]]

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "captures" / "real"
SAMPLES = ROOT / "pcaps"

pytestmark = pytest.mark.needs("tshark")


def captures() -> list[Any]:
    found = sorted(REAL.glob("*.pcap")) + sorted(SAMPLES.glob("*.pcap"))
    return [pytest.param(path, id=path.name) for path in found]


def batches(path: Path) -> Iterator[Batch]:
    with Reader(path, 0) as reader:
        yield from reader.batches()


def as_seen(packets: Rows) -> list[tshark.Seen]:
    """Return what tshark, which reassembles nothing here, sees of packets: no later fragments, and no ids of IPv6."""
    packets = pick(packets, ~later(packets))
    packets["ip_id"][packets["ip_version"] == 6] = 0
    same = [name for name in tshark.Seen._fields if name not in ("src", "dst")]
    return [
        tshark.Seen(src=address(row, "src"), dst=address(row, "dst"), **{name: int(row[name]) for name in same})
        for row in packets
    ]


def address(row: Any, side: str) -> str:
    value = int(row[f"{side}_hi"]) << 64 | int(row[f"{side}_lo"])
    return str(ipaddress.IPv6Address(value) if row["ip_version"] == 6 else ipaddress.IPv4Address(value & 0xFFFFFFFF))


def test_the_real_captures_are_there() -> None:
    if not REAL.is_dir():
        assert not os.environ.get("CI"), f"{REAL} is missing"
        pytest.skip(f"{REAL} is missing")
    assert len(captures()) >= 8


@pytest.mark.parametrize("path", captures())
def test_packets(path: Path) -> None:
    wanted, _ = tshark.read(path, 7680)
    decoder = Decoder(slow=slow_lane)
    ours = [seen for batch in batches(path) for seen in as_seen(decoder.push(batch))]
    assert ours == wanted
    assert bool(wanted) == (path.name not in ELSEWHERE)


@pytest.mark.parametrize("path", captures())
def test_the_slow_lane_alone(path: Path) -> None:
    wanted, _ = tshark.read(path, 7680)
    assert [seen for batch in batches(path) for seen in as_seen(dissect(batch.frames, batch.data).packets)] == wanted


@pytest.mark.parametrize("path", captures())
def test_flows(path: Path) -> None:
    """Per flow and side: packets, IP bytes, payload (unique and again) as tshark sums them by its streams.

    A flow and a stream are matched by their ends and their turn among those: both lists are in time order.
    """
    streams = tshark.sums(*tshark.read(path, 7680))
    wanted: dict[Ends, list[Sides]] = defaultdict(list)
    for number in sorted(streams):
        wanted[frozenset(streams[number])].append(streams[number])
    flows = analyze([str(path)], load_policy(None), RuleSet(())).flows
    ours: dict[Ends, list[Sides]] = defaultdict(list)
    again: dict[Ends, list[int]] = defaultdict(list)
    for flow in flows.sort_values("start_ns", kind="stable").to_dict("records"):
        ends = {side: (flow[f"{side}_ip"], flow[f"{side}_port"]) for side in ("orig", "resp")}
        key = frozenset(ends.values())
        ours[key].append({ends[side]: side_of(flow, side) for side in ends})
        again[key].append(flow["retransmitted_bytes"])
    assert not flows["duplicate_packets"].any(), "a double mirror: tshark counts copies, flows do not"
    assert {ends: [volumes(sides) for sides in found] for ends, found in ours.items()} == {
        ends: [volumes(sides) for sides in found] for ends, found in wanted.items()
    }
    assert {ends: payloads(found, again[ends]) for ends, found in ours.items()} == {
        ends: payloads(found, [0] * len(found)) for ends, found in wanted.items()
    }
    plain = {ends: [not more for more in found] for ends, found in again.items()}
    assert {ends: list(compress(found, plain[ends])) for ends, found in ours.items()} == {
        ends: list(compress(found, plain[ends])) for ends, found in wanted.items()
    }


def side_of(flow: dict[Hashable, Any], side: str) -> tshark.Side:
    return tshark.Side(flow[f"{side}_packets"], flow[f"{side}_bytes"], flow[f"{side}_payload_bytes"])


def volumes(sides: Sides) -> dict[tuple[str, int], tuple[int, int]]:
    return {end: (side.packets, side.ip_bytes) for end, side in sides.items()}


def payloads(found: list[Sides], again: list[int]) -> list[int]:
    return [sum(side.payload_bytes for side in sides.values()) + more for sides, more in zip(found, again, strict=True)]


def test_the_driver_reads_what_is_known_of_a_capture() -> None:
    """The literal truth about one real capture, so that two equal blindnesses do not pass for agreement."""
    path = REAL / "refused-sll.pcap"
    if not path.exists():
        pytest.skip(f"{path} is missing")
    packets, streams = tshark.read(path, 7680)
    assert len(packets) == 10
    assert Counter(packet.flags for packet in packets) == {0x02: 5, 0x14: 5}
    assert {packet.payload_bytes for packet in packets} == {0}
    assert len(set(streams)) >= 1
