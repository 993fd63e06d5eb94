"""The packets an incident names come back byte by byte, from a file whose places do not depend on the inputs."""

from __future__ import annotations

import hashlib
import struct
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dpkt
import pytest

from sensor.sinks import evidence
from tests import cases
from tests.cases import NOON

if TYPE_CHECKING:
    from pathlib import Path

    from sensor.schema import Incident


@dataclass(frozen=True)
class Frame:
    data: bytes
    wire_bytes: int
    link_type: int
    ts_ns: int


FRAMES = {
    (0, 24): Frame(b"first" * 12, 1514, 1, NOON + 5),
    (0, 100): Frame(b"second" * 10, 60, 1, NOON + 1_000_000_001),
    (1, 24): Frame(b"\x00odd", 4, 1, NOON + 7),
}
NAMED = (
    cases.evidence(offset=100, ts_ns=NOON + 1_000_000_001),
    cases.evidence(offset=24, ts_ns=NOON + 5),
    cases.evidence(input=1, offset=24, ts_ns=NOON + 7),
)


def named(incident: Incident, frames: dict[tuple[int, int], Frame]) -> dict[tuple[int, int], Frame]:
    places = {(each.input, each.offset) for each in incident.evidence}
    return {place: frame for place, frame in frames.items() if place in places}


def fetch(incident: Incident) -> dict[tuple[int, int], Frame]:
    return named(incident, FRAMES)


def test_packets_lie_where_the_file_is_said_to_hold_them(tmp_path: Path) -> None:
    written = evidence.write(tmp_path, (cases.incident(id="w01-ff", evidence=NAMED),), fetch)
    made = written["w01-ff"]
    raw = (tmp_path / "evidence" / "w01-ff.pcap").read_bytes()
    assert made.file == "evidence/w01-ff.pcap"
    assert made.sha256 == hashlib.sha256(raw).hexdigest()
    assert made.frames == ((3, 24 + 16 + 60 + 16 + 4), (1, 24), (2, 24 + 16 + 60))  # in time: 1st, 3rd, 2nd locator
    assert raw[:24] == struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1)
    assert struct.unpack_from("<IIII", raw, 24) == (1773144000, 5, 60, 1514)
    assert raw[40:100] == b"first" * 12


def test_another_reader_agrees(tmp_path: Path) -> None:
    evidence.write(tmp_path, (cases.incident(id="x", evidence=NAMED),), fetch)
    with (tmp_path / "evidence" / "x.pcap").open("rb") as file:
        reader = dpkt.pcap.Reader(file)
        assert reader.datalink() == 1
        assert [bytes(data) for _, data in reader] == [b"first" * 12, b"\x00odd", b"second" * 10]


def test_file_does_not_depend_on_how_the_input_was_cut(tmp_path: Path) -> None:
    split = {(at, 24): frame for at, frame in enumerate(FRAMES.values())}
    by_time = {frame.ts_ns: key for key, frame in split.items()}
    moved = tuple(cases.evidence(input=by_time[each.ts_ns][0], offset=24, ts_ns=each.ts_ns, number=1) for each in NAMED)
    one = evidence.write(tmp_path / "a", (cases.incident(evidence=NAMED),), fetch)
    two = evidence.write(tmp_path / "b", (cases.incident(evidence=moved),), lambda incident: named(incident, split))
    assert one == two


def test_what_else_belongs_to_it_is_written_too(tmp_path: Path) -> None:
    made = evidence.write(tmp_path, (cases.incident(id="x", evidence=NAMED[:1]),), lambda _: FRAMES)["x"]
    assert made.packets == 3
    assert made.frames == ((3, 24 + 16 + 60 + 16 + 4),)


def test_packet_named_twice_is_written_once(tmp_path: Path) -> None:
    made = evidence.write(tmp_path, (cases.incident(id="x", evidence=(NAMED[1], NAMED[1])),), fetch)["x"]
    assert made.frames == ((1, 24), (1, 24))
    assert (tmp_path / made.file).stat().st_size == 24 + 16 + 60


def test_input_that_cannot_be_read_again_is_said(tmp_path: Path) -> None:
    gone = cases.evidence(input=9)
    made = evidence.write(
        tmp_path,
        (cases.incident(id="part", evidence=(gone, NAMED[1])), cases.incident(id="none", evidence=(gone,))),
        fetch,
    )
    assert made["part"].frames == ((0, 0), (1, 24))
    assert "none" not in made
    assert [each.name for each in (tmp_path / "evidence").iterdir()] == ["part.pcap"]


def test_name_of_an_incident_cannot_leave_the_folder(tmp_path: Path) -> None:
    made = evidence.write(tmp_path, (cases.incident(id="../../etc/x", evidence=NAMED),), fetch)
    assert made["../../etc/x"].file == "evidence/.._.._etc_x.pcap"


@pytest.mark.needs("tshark")
@pytest.mark.parametrize("links", [(1, 1, 1), (1, 101, 1)])
def test_wireshark_reads_times_lengths_and_link_types(tmp_path: Path, links: tuple[int, ...]) -> None:
    frames = {
        (each.input, each.offset): Frame(FRAMES[each.input, each.offset].data, 1514, link, each.ts_ns)
        for each, link in zip(NAMED, links, strict=True)
    }
    made = evidence.write(tmp_path, (cases.incident(id="x", evidence=NAMED),), lambda _: frames)["x"]
    assert made.file.endswith(".pcapng") == (len(set(links)) > 1)
    command = ["tshark", "-r", tmp_path / made.file, "-T", "fields"]
    for field in ("frame.time_epoch", "frame.len", "frame.cap_len", "frame.encap_type"):
        command += ["-e", field]
    said = subprocess.run(command, capture_output=True, check=True, text=True, timeout=120).stdout.split("\n")
    encapsulation = {1: "1", 101: "7"}  # Wireshark's WTAP_ENCAP of Ethernet and raw IP
    assert [line.split("\t") for line in said if line] == [
        ["1773144000.000000005", "1514", "60", encapsulation[links[1]]],
        ["1773144000.000000007", "1514", "4", encapsulation[links[2]]],
        ["1773144001.000000001", "1514", "60", encapsulation[links[0]]],
    ]
    if len(set(links)) > 1:
        raw = (tmp_path / made.file).read_bytes()
        assert [struct.unpack_from("<II", raw, offset)[0] for _, offset in made.frames] == [6, 6, 6]
