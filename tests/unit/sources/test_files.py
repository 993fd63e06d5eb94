"""Capture files of every format, whole and damaged, and how arguments become inputs."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from sensor.errors import OperatorError
from sensor.sources import files
from sensor.sources.files import Reader, find, frames_at, looks_like_capture
from tests.builders import ACK, block, ethernet, ipv4, pcap, pcapng, tcp
from tests.captures import COMPRESSIONS, ROOT, compressed, public
from tests.streams import MS, NOON

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sensor.schema import Input

T0 = 1_773_144_000_123_456_000
FRAMES = [(T0 + 1_000_001_000 * at, bytes([at]) * (20 + at)) for at in range(7)]

Seen = list[tuple[int, bytes]]


def read(path: Path) -> tuple[Seen, Input]:
    """Return (time, bytes) of each frame, and what the reader says of the input."""
    seen: Seen = []
    with Reader(path, 3) as reader:
        number = 0
        for batch in reader.batches():
            for frame in batch.frames:
                number += 1
                assert (frame["number"], frame["input"]) == (number, 3)
                start = int(frame["at"])
                seen.append((int(frame["ts_ns"]), batch.data[start : start + int(frame["captured_bytes"])].tobytes()))
        return seen, reader.summary()


def given(folder: Path, data: bytes, name: str = "x.pcap") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


# --- pcap ---
@pytest.mark.parametrize("nanos", [False, True])
@pytest.mark.parametrize("big_endian", [False, True])
def test_pcap(tmp_path: Path, *, nanos: bool, big_endian: bool) -> None:
    seen, facts = read(given(tmp_path, pcap(FRAMES, nanos=nanos, big_endian=big_endian)))
    assert seen == FRAMES
    assert (facts.packets, facts.bytes, facts.damage) == (7, 7 * 20 + 21, "")
    assert (facts.first_packet_ns, facts.last_packet_ns) == (T0, T0 + 6_000_006_000)
    assert (facts.format, facts.link_types) == ("pcap (ns)" if nanos else "pcap", (1,))


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcap_with_the_longer_record_headers_of_the_1990s(tmp_path: Path, order: str) -> None:
    data = struct.pack(order + "IHHiIII", 0xA1B2CD34, 2, 4, 0, 0, 65535, 1)
    for ts_ns, frame in FRAMES:
        seconds, rest = divmod(ts_ns, 10**9)
        data += struct.pack(order + "IIIIIHBx", seconds, rest // 1000, len(frame), len(frame), 2, 0x0800, 0) + frame
    assert read(given(tmp_path, data))[0] == FRAMES


def test_the_upper_bits_of_the_link_type_are_something_else(tmp_path: Path) -> None:
    assert read(given(tmp_path, pcap(FRAMES, linktype=0xF0000071)))[1].link_types == (113,)


def test_offsets_are_those_of_the_records(tmp_path: Path) -> None:
    path = given(tmp_path, pcap(FRAMES))
    with Reader(path, 0) as reader:
        (batch,) = reader.batches()
        assert batch.frames["offset"].tolist() == [24, 60, 97, 135, 174, 214, 255]
        assert batch.frames["at"].tolist() == [40, 76, 113, 151, 190, 230, 271]


def test_the_true_length_is_kept_where_the_capture_is_cut(tmp_path: Path) -> None:
    path = given(tmp_path, pcap([(T0, b"x" * 500), (T0, b"y" * 10, 9000), (T0, b"z" * 50, 3)], snaplen=96))
    with Reader(path, 0) as reader:
        (batch,) = reader.batches()
        assert batch.frames["captured_bytes"].tolist() == [96, 10, 50]
        assert batch.frames["wire_bytes"].tolist() == [500, 9000, 50]  # never shorter than what is there


def test_a_capture_without_packets(tmp_path: Path) -> None:
    for data in (pcap([]), pcapng([])):
        seen, facts = read(given(tmp_path, data))
        assert (seen, facts.packets, facts.damage) == ([], 0, "")


def test_an_impossible_record_ends_a_file(tmp_path: Path) -> None:
    data = pcap(FRAMES) + struct.pack("<IIII", 1, 1, 0x7FFFFFFF, 60) + pcap(FRAMES)[24:]
    seen, facts = read(given(tmp_path, data))
    assert seen == FRAMES
    assert f"byte {24 + 7 * 36 + 21}, after frame 7" in facts.damage


# --- pcapng ---
@pytest.mark.parametrize("nanos", [False, True])
@pytest.mark.parametrize("big_endian", [False, True])
def test_pcapng(tmp_path: Path, *, nanos: bool, big_endian: bool) -> None:
    seen, facts = read(given(tmp_path, pcapng(FRAMES, nanos=nanos, big_endian=big_endian, drops=17)))
    assert seen == FRAMES
    assert (facts.format, facts.drops, facts.damage) == ("pcapng", 17, "")


def section(*, big_endian: bool = False, version: tuple[int, int] = (1, 0)) -> bytes:
    order = ">" if big_endian else "<"
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, *version, -1), big_endian=big_endian)


def interface(
    link: int = 1, snaplen: int = 0, options: Iterable[tuple[int, bytes]] = (), *, big: bool = False
) -> bytes:
    order = ">" if big else "<"
    body = struct.pack(order + "HHI", link, 0, snaplen)
    for code, value in options:
        body += struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)
    return block(1, body, big_endian=big)


def enhanced(ticks: int, data: bytes, at: int = 0, *, big: bool = False, wire: int = 0) -> bytes:
    order = ">" if big else "<"
    head = struct.pack(order + "IIIII", at, ticks >> 32, ticks & 0xFFFFFFFF, len(data), wire or len(data))
    return block(6, head + data, big_endian=big)


def test_sections_of_both_byte_orders_and_their_own_interfaces(tmp_path: Path) -> None:
    data = section() + interface(1) + interface(113) + enhanced(5, b"one", 1)
    data += section(big_endian=True) + interface(101, big=True) + enhanced(7, b"two", 0, big=True)
    path = given(tmp_path, data)
    assert read(path)[0] == [(5000, b"one"), (7000, b"two")]
    assert read(path)[1].link_types == (101, 113)


@pytest.mark.parametrize(
    ("resolution", "ticks", "ts_ns"),
    [
        (0, 1_700_000_000, 1_700_000_000_000_000_000),
        (3, 1_700_000_000_123, 1_700_000_000_123_000_000),
        (6, 1_700_000_000_123_456, 1_700_000_000_123_456_000),
        (9, 1_700_000_000_123_456_789, 1_700_000_000_123_456_789),
        (10, 17_000_000_001_234_567_899, 1_700_000_000_123_456_789),
        (12, 1_234_567, 1_234),
        (0x80, 1_700_000_000, 1_700_000_000_000_000_000),
        (0x80 | 1, 3, 1_500_000_000),
        (0x80 | 10, (1_700_000_000 << 10) + 512, 1_700_000_000_500_000_000),
        (0x80 | 20, (1_700_000_000 << 20) + 1, 1_700_000_000_000_000_953),
        (0x80 | 30, (1_700_000_000 << 30) + (1 << 29), 1_700_000_000_500_000_000),
        (0x80 | 32, (1_700_000_000 << 32) + (1 << 31), 1_700_000_000_500_000_000),
        (0x80 | 63, (1 << 63) + (1 << 62), 1_500_000_000),
    ],
)
def test_resolutions_of_pcapng_times(tmp_path: Path, resolution: int, ticks: int, ts_ns: int) -> None:
    data = section() + interface(options=[(9, bytes([resolution]))]) + enhanced(ticks, b"x")
    assert read(given(tmp_path, data))[0] == [(ts_ns, b"x")]


@pytest.mark.parametrize("resolution", [64, 97, 98, 100, 127])
def test_resolutions_finer_than_the_ticks_can_say(tmp_path: Path, resolution: int) -> None:
    data = section() + interface(options=[(9, bytes([0x80 | resolution]))]) + enhanced(0xFEDCBA9876543210, b"x")
    assert read(given(tmp_path, data))[0] == [((0xFEDCBA9876543210 * 10**9) >> resolution, b"x")]


@pytest.mark.parametrize("offset_s", [3600, -3600, 1_700_000_000])
def test_an_interface_may_have_a_time_offset(tmp_path: Path, offset_s: int) -> None:
    data = section() + interface(options=[(14, struct.pack("<q", offset_s))]) + enhanced(4_000_000_000, b"x")
    assert read(given(tmp_path, data))[0] == [(4_000_000_000_000 + offset_s * 10**9, b"x")]


@pytest.mark.parametrize("resolution", [0, 9, 0x80, 0x80 | 9])
@pytest.mark.parametrize("offset_s", [2**62, -(2**62)])
def test_nonsense_times_do_not_run_over(tmp_path: Path, resolution: int, offset_s: int) -> None:
    options = [(9, bytes([resolution])), (14, struct.pack("<q", offset_s))]
    ((ts_ns, _),) = read(given(tmp_path, section() + interface(options=options) + enhanced(2**64 - 1, b"x")))[0]
    assert -(2**62) <= ts_ns <= 2**62


def test_simple_and_obsolete_packet_blocks(tmp_path: Path) -> None:
    simple = block(3, struct.pack("<I", 9) + b"nine byte")
    cut = block(3, struct.pack("<I", 900) + b"n" * 12)
    obsolete = block(2, struct.pack("<HHIIII", 0, 3, 0, 5, 4, 60) + b"four")
    unknown = block(0x0BAD, b"whatever it is")
    path = given(tmp_path, section() + interface(1, snaplen=12) + simple + unknown + cut + obsolete)
    assert read(path)[0] == [(0, b"nine byte"), (0, b"n" * 12), (5000, b"four")]


def test_interface_statistics_are_drops(tmp_path: Path) -> None:
    def statistics(code: int, count: int) -> bytes:
        return block(5, struct.pack("<III", 0, 0, 0) + struct.pack("<HHQHH", code, 8, count, 0, 0))

    data = section() + interface() + statistics(5, 3) + statistics(7, 4) + statistics(4, 1000) + statistics(5, 10)
    assert read(given(tmp_path, data))[1].drops == 17


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (enhanced(1, b"x", at=1), "cannot be"),  # no such interface
        (
            block(6, struct.pack("<IIIII", 0, 0, 0, 5000, 5000) + b"x"),
            "cannot be",
        ),  # captured more than the block holds
        (struct.pack("<II", 6, 8), "cannot be"),
        (struct.pack("<III", 6, 0xFFFFFFFF, 0), "cannot be"),
        (enhanced(1, b"x")[:-4] + b"\x07\0\0\0", "cannot be"),  # the two lengths differ
        (section(version=(2, 0)), "version 2.0"),
        (block(0x0A0D0D0A, b"\0" * 16), "byte order"),
        (block(1, b"\1\0"), "too short"),
        (b"\0" * 64, "cannot be"),
    ],
)
def test_a_broken_chain_of_blocks_ends_a_file(tmp_path: Path, more: bytes, what: str) -> None:
    good = section() + interface() + enhanced(1, b"good")
    seen, facts = read(given(tmp_path, good + more + good))
    assert seen == [(1000, b"good")]
    assert what in facts.damage
    assert f"byte {len(good)}, after frame 1" in facts.damage


# --- compression ---
@pytest.mark.parametrize("kind", COMPRESSIONS)
@pytest.mark.parametrize("writer", [pcap, pcapng])
def test_compressed(tmp_path: Path, kind: str, writer: type) -> None:
    seen, facts = read(given(tmp_path, compressed(writer(FRAMES), kind)))
    assert seen == FRAMES
    assert facts.format.endswith(f" ({kind})")
    assert facts.damage == ""
    assert facts.size_bytes == (tmp_path / "x.pcap").stat().st_size


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_members_written_one_after_the_other(tmp_path: Path, kind: str) -> None:
    data = pcap(FRAMES)
    assert read(given(tmp_path, compressed(data[:77], kind) + compressed(data[77:], kind)))[0] == FRAMES


def many(count: int = 3000) -> list[tuple[int, bytes]]:
    """Return frames that do not compress well, so that a cut stream has lost only its end."""
    return [(T0 + at * 1000, bytes((at * 31 + step * step * 7) % 253 for step in range(300))) for at in range(count)]


@pytest.mark.parametrize("kind", COMPRESSIONS)
@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_compressed_file_cut_off_gives_what_is_there(tmp_path: Path, kind: str, share: float) -> None:
    frames = [(ts_ns, os.urandom(300)) for ts_ns, _ in many(8000)]
    whole = compressed(pcap(frames), kind)
    seen, facts = read(given(tmp_path, whole[: int(len(whole) * share)]))
    assert "broken" in facts.damage
    assert seen == frames[: len(seen)]
    block_share = 0.9 if kind == "bz2" else 0.15  # bzip2 and lz4 decode blocks of up to 900 kB and 4 MB
    assert len(seen) > 8000 * (share - (1 if kind == "lz4" else block_share)) > -8000
    assert len(seen) > (0 if kind == "bz2" else 100)


def test_rubbish_after_a_gzip_member_costs_nothing(tmp_path: Path) -> None:
    seen, _ = read(given(tmp_path, compressed(pcap(FRAMES), "gz") + b"rubbish"))
    assert seen == FRAMES


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_a_turned_bit_in_a_compressed_file_never_crashes(tmp_path: Path, kind: str) -> None:
    whole = bytearray(compressed(pcap(many(300)), kind))
    for at in range(0, len(whole), max(1, len(whole) // 40)):
        turned = whole.copy()
        turned[at] ^= 0x10
        try:
            read(given(tmp_path, bytes(turned)))
        except OperatorError:
            continue


def test_a_compressed_file_that_is_no_capture(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="is not a capture"):
        read(given(tmp_path, compressed(b"just a text, nothing more" * 9, "gz")))


# --- damage ---
@pytest.mark.parametrize("writer", [pcap, pcapng])
def test_cut_anywhere_everything_before_is_used(tmp_path: Path, writer: type) -> None:
    data = writer(FRAMES)
    path = tmp_path / "x.pcap"
    head = 24 if writer is pcap else 4
    ends = [len(writer(FRAMES[:count])) for count in range(8)]
    for size in range(1, len(data)):
        path.write_bytes(data[:size])
        if size < head:
            with pytest.raises(OperatorError):
                read(path)
            continue
        seen, facts = read(path)
        whole = max([count for count in range(8) if ends[count] <= size], default=0)
        assert seen == FRAMES[:whole], size
        if size in ends or (writer is pcapng and size == 28):
            assert facts.damage == "", size
        else:
            assert "cut off" in facts.damage, size
            assert f"after frame {whole}" in facts.damage, size


@pytest.mark.parametrize("size", [32, 33, 47, 60, 1000])
@pytest.mark.parametrize("writer", [pcap, pcapng])
def test_streams_in_small_steps_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, writer: type
) -> None:
    monkeypatch.setattr(files, "STREAM_BYTES", size)
    assert read(given(tmp_path, compressed(writer(FRAMES), "gz")))[0] == FRAMES


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("kind", ["", "gz", "zst"])
def test_other_traffic_is_passed_over_in_every_window(tmp_path: Path, kind: str, *, ahead: bool) -> None:
    other, ours = (
        ethernet(ipv4("10.1.0.5", "10.1.0.6", tcp(50000, port, bytes(400), flags=ACK))) for port in (443, 7680)
    )
    records = [(NOON + at * MS, ours if at % 1000 == 0 else other) for at in range(8000)]
    data = pcap(records, nanos=True)
    path = given(tmp_path, compressed(data, kind) if kind else data)
    with Reader(path, 0, 7680, 800_000, ahead=ahead) as reader:
        found = [int(frame["ts_ns"]) for batch in reader.batches() for frame in batch.frames]
        assert reader.facts.packets == len(records)
    # The few that are left stand at the ends of windows, where no whole record is any more.
    assert len(found) < len(records) // 10
    assert set(found) >= {ts_ns for ts_ns, frame in records if frame is ours}


@pytest.mark.parametrize("frames", [1, 2, 7, 8])
@pytest.mark.parametrize("writer", [pcap, pcapng])
@pytest.mark.parametrize("kind", ["", "gz"])
def test_batches_of_few_frames_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: int, writer: type, kind: str
) -> None:
    monkeypatch.setattr(files, "BATCH_FRAMES", frames)
    data = writer(FRAMES)
    assert read(given(tmp_path, compressed(data, kind) if kind else data))[0] == FRAMES


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "is empty"),
        (b"\xd4\xc3\xb2\xa1", "cut off in its header"),
        (pcap(FRAMES)[:23], "cut off in its header"),
        (pcap([])[:4] + b"\3\0" + pcap([])[6:], "version 3.4"),
        (b"snoop\0\0\0" + bytes(40), "snoop"),
        (b"PK\x03\x04" + bytes(40), "zip"),
        (b"\x1f\x9d" + bytes(40), "compress"),
        (b"hello world, this is a text", "is not a capture"),
        (bytes(100), "is not a capture"),
        (b"x", "is not a capture"),
        (compressed(b"", "gz"), "holds nothing"),
        (compressed(pcap([])[:10], "xz"), "cut off in its header"),
        (b"\x1f\x8b", "broken"),
        (b"BZh9 no, it is not", "broken"),
    ],
)
def test_what_is_no_capture_is_the_operators_mistake(tmp_path: Path, data: bytes, what: str) -> None:
    path = given(tmp_path, data, "mistake")
    with pytest.raises(OperatorError, match=what) as error:
        read(path)
    (mistake,) = error.value.mistakes
    assert mistake.where == str(path)
    assert mistake.right


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent", tmp_path / "x" / "y"):
        with pytest.raises(OperatorError, match=r"cannot be read|is a directory"):
            read(path)


# --- pipes ---
PROGRAM = """
import sys
from sensor.sources.files import Reader
print("ready", flush=True)
with Reader("-", 0) as reader:
    print(sum(len(batch.frames) for batch in reader.batches()), reader.name, reader.summary().damage)
"""


def piped(*parts: bytes) -> str:
    """Write parts into the standard input of a reader, each at a moment of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=False, cwd=ROOT
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        for part in parts:
            process.stdin.write(part)
            process.stdin.flush()
            threading.Event().wait(0.2 if len(parts) > 1 else 0)
        process.stdin.close()
        said = process.stdout.read().decode().strip()
        assert process.wait(30) == 0
    return said


@pytest.mark.parametrize("data", [pcap(FRAMES), pcapng(FRAMES), compressed(pcap(FRAMES), "gz")])
def test_standard_input(data: bytes) -> None:
    assert piped(data) == "7 stdin"


def test_standard_input_that_is_a_file(tmp_path: Path) -> None:
    with given(tmp_path, pcap(FRAMES)).open("rb") as file:
        said = subprocess.run([sys.executable, "-c", PROGRAM], stdin=file, capture_output=True, check=True, cwd=ROOT)
    assert said.stdout.decode().strip() == "ready\n7 stdin"


def test_a_compressed_stream_that_arrives_slowly() -> None:
    # The first write is what `xz -dc | …` would flush at worst: fewer bytes than the magic.
    data = compressed(pcap(FRAMES), "xz")
    assert piped(data[:1], data[1:]) == "7 stdin"


def test_a_named_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    data = pcap(many(100))
    writer = threading.Thread(target=path.write_bytes, args=(data,))
    writer.start()
    seen, _ = read(path)
    writer.join()
    assert seen == many(100)


def test_the_size_of_a_named_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    data = pcap(many(100))
    writer = threading.Thread(target=path.write_bytes, args=(data,))
    writer.start()
    _, facts = read(path)
    writer.join()
    assert facts.size_bytes == len(data)


# --- arguments ---
def test_arguments_become_inputs_each_once(tmp_path: Path) -> None:
    for name in ("b.pcap", "a.pcapng", "sub/c.cap", "sub/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"text" if name.endswith("txt") else pcap(FRAMES))
    inside = [str(tmp_path / name) for name in ("a.pcapng", "b.pcap", "sub/c.cap")]
    assert find([str(tmp_path)]) == inside
    assert find([str(tmp_path / "*.pcap*")]) == inside[:2]
    assert find([inside[1], str(tmp_path), "-", inside[1], "-"]) == [inside[1], inside[0], inside[2], "-"]
    assert find([str(tmp_path / "**" / "*.cap")]) == inside[2:]
    assert find([str(tmp_path / "sub" / "notes.txt")]) == [str(tmp_path / "sub" / "notes.txt")]  # named, so it is meant


def test_arguments_that_name_nothing_are_told_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("text")
    with pytest.raises(OperatorError) as error:
        find([str(tmp_path / "absent"), str(tmp_path / "empty"), str(tmp_path / "*.pcap")])
    assert [mistake.read for mistake in error.value.mistakes] == [
        "does not exist",
        "is a directory without captures",
        "does not exist",
    ]


def test_a_file_may_be_named_like_a_glob(tmp_path: Path) -> None:
    path = given(tmp_path, pcap(FRAMES), "odd[1].pcap")
    assert find([str(path)]) == [str(path)]


@pytest.mark.parametrize("data", [pcap([]), pcapng([]), compressed(pcap([]), "gz"), compressed(pcap([]), "zst")])
def test_what_looks_like_a_capture(tmp_path: Path, data: bytes) -> None:
    assert looks_like_capture(given(tmp_path, data))
    assert not looks_like_capture(given(tmp_path, b"text" + data))
    assert not looks_like_capture(tmp_path / "absent")


# --- frames again ---
@pytest.mark.parametrize("writer", [pcap, pcapng])
@pytest.mark.parametrize("kind", ["", "gz"])
def test_frames_can_be_read_again_by_their_offsets(tmp_path: Path, writer: type, kind: str) -> None:
    data = writer(FRAMES)
    path = given(tmp_path, compressed(data, kind) if kind else data)
    with Reader(path, 0) as reader:
        offsets = [int(offset) for batch in reader.batches() for offset in batch.frames["offset"]]
    found = frames_at(str(path), {offsets[0], offsets[2], offsets[6]})
    assert sorted(found) == [offsets[0], offsets[2], offsets[6]]
    assert [(found[offsets[n]].ts_ns, found[offsets[n]].data) for n in (0, 2, 6)] == [FRAMES[n] for n in (0, 2, 6)]
    assert found[offsets[2]].wire_bytes == 22
    assert found[offsets[2]].link_type == 1


def test_frames_that_are_gone_are_not_given(tmp_path: Path) -> None:
    path = given(tmp_path, pcap(FRAMES))
    assert frames_at("stdin", {24}) == {}
    assert frames_at(str(path), set()) == {}
    assert frames_at(str(path), {24 + 10_000}) == {}
    path.unlink()
    assert frames_at(str(path), {24}) == {}


# --- odd files of other projects ---
def test_the_odd_files_of_other_projects_never_crash() -> None:
    read_whole = 0
    for path in sorted(public("formats").iterdir()):
        if path.name == "README.md":
            continue
        with path.open("rb") as file:
            head = file.read(6)
        if head[:5] == b"snoop" or (head[:4] == b"\xd4\xc3\xb2\xa1" and head[4] != 2):
            with pytest.raises(OperatorError, match=r"snoop|version"):
                read(path)
            continue
        seen, facts = read(path)
        read_whole += not facts.damage and bool(seen)
    assert read_whole > 250


def test_the_known_size_of_a_directory_of_captures() -> None:
    found = find([str(public("formats"))])
    assert len(found) == len([p for p in public("formats").iterdir() if p.suffix not in {".md", ".snoop"}])
