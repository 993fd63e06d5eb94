"""Extracted packets are the chosen ones, bit by bit, in order of time, whatever they lay in."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path
from typing import Final

import pytest

from sensor.errors import OperatorError
from sensor.extract import extract, flows_of_swarms
from sensor.selection import Selection
from tests import builders
from tests.cases import NOON, SECOND

SAMPLES: Final = Path(__file__).parents[2] / "pcaps"


def frame(src: str, dst: str, port: int = 50000, payload: bytes = b"") -> bytes:
    return builders.ethernet(builders.ip(src, dst, builders.tcp(src_port=port, dst_port=7680, payload=payload)))


def records(path: Path) -> list[tuple[int, int, bytes]]:
    """Read a pcap of nanoseconds: time, wire length, bytes."""
    raw, at, found = path.read_bytes(), 24, []
    assert raw[:4] == b"\x4d\x3c\xb2\xa1"
    while at < len(raw):
        seconds, fraction, size, wire = struct.unpack_from("<IIII", raw, at)
        found.append((seconds * SECOND + fraction, wire, raw[at + 16 : at + 16 + size]))
        at += 16 + size
    return found


@pytest.fixture
def captures(tmp_path: Path) -> list[str]:
    one = [(NOON + 3, frame("10.1.0.5", "10.1.0.6")), (NOON + 9, frame("10.1.0.7", "10.1.0.8"))]
    two = [(NOON + 5, frame("10.1.0.5", "10.1.0.9", payload=b"x" * 100)), (NOON + 1, frame("10.1.0.6", "10.1.0.5"))]
    (tmp_path / "one.pcap").write_bytes(builders.pcap(one, nanos=True))
    (tmp_path / "two.pcap.gz").write_bytes(gzip.compress(builders.pcap(two, nanos=True)))
    return [str(tmp_path / "one.pcap"), str(tmp_path / "two.pcap.gz")]


def test_packets_of_a_host_by_time(captures: list[str], tmp_path: Path) -> None:
    made = extract(captures, Selection(hosts=("10.1.0.5",)), tmp_path / "out.pcap")
    found = records(made.path)
    assert [each[0] - NOON for each in found] == [1, 3, 5]
    assert found[2][2] == frame("10.1.0.5", "10.1.0.9", payload=b"x" * 100)
    assert made.packets == 3
    assert made.sha256 == hashlib.sha256(made.path.read_bytes()).hexdigest()
    assert made.damage == ()


def test_span_is_from_to_before(captures: list[str], tmp_path: Path) -> None:
    made = extract(captures, Selection(), tmp_path / "out", (NOON + 3, NOON + 9))
    assert made.path.name == "out.pcap"
    assert [each[0] - NOON for each in records(made.path)] == [3, 5]


def test_nothing_chosen_leaves_nothing(captures: list[str], tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="no packet was chosen"):
        extract(captures, Selection(hosts=("192.0.2.1",)), tmp_path / "out.pcap")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.pcap", "two.pcap.gz"]


def test_damage_is_said_and_the_rest_is_used(captures: list[str], tmp_path: Path) -> None:
    whole = Path(captures[0]).read_bytes()
    Path(captures[0]).write_bytes(whole[:-5])
    (tmp_path / "text.pcap").write_text("not a capture at all, and long enough to be looked at")
    made = extract([*captures, str(tmp_path / "text.pcap")], Selection(), tmp_path / "out.pcap")
    assert made.packets == 3
    assert len(made.damage) == 2
    assert "one.pcap" in made.damage[0]
    assert "text.pcap" in made.damage[1]


def test_swarm_is_found_by_the_first_digits_of_its_hash() -> None:
    capture = str(SAMPLES / "off-window.pcap")
    with pytest.raises(OperatorError, match="--swarm: feed is in no handshake") as caught:
        flows_of_swarms([capture], ["feed"])
    seen = caught.value.mistakes[0].right.split()[-1]
    assert all(each.startswith("1:") for each in flows_of_swarms([capture], [seen]))
