"""Fragments in the flows of their packets: what was said is the same as if nothing had been fragmented."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from sensor.decode import Decoder
from sensor.dissect import slow_lane
from sensor.fragments import Fragments, later
from sensor.pipeline import analyze
from sensor.policy import Policy
from sensor.rules.ruleset import RuleSet
from tests.builders import ACK, SYN, ethernet, ipv4, ipv6, pcap, tcp
from tests.streams import NOON, SECOND, batch_of

if TYPE_CHECKING:
    from sensor.schema import Rows

PCAPS = Path(__file__).parents[2] / "pcaps"
A, B = "10.1.0.5", "10.1.0.6"
A6, B6 = "2001:db8::5", "2001:db8::6"


def cut(segment: bytes, sizes: list[int], ident: int = 7) -> list[bytes]:
    """Return a TCP segment as frames of IPv4 fragments of these sizes, and one of the rest."""
    frames, at = [], 0
    for size in [*sizes, len(segment)]:
        piece = segment[at : at + size]
        more = 0x2000 if at + size < len(segment) else 0
        frames.append(ethernet(ipv4(A, B, piece, ident=ident, fragment=more | at // 8, fix=False)))
        at += size
        if not more:
            break
    return frames


def packets(*frames: bytes, step_ns: int = 1000) -> Rows:
    return Decoder(slow=slow_lane).push(batch_of([(NOON + at * step_ns, frame) for at, frame in enumerate(frames)]))


def placed(rows: Rows) -> list[tuple[int, int, int, int, int]]:
    return [tuple(int(row[name]) for name in ("src_port", "seq", "payload_bytes", "flags", "ack")) for row in rows]  # type: ignore[misc]


def test_rows_without_fragments_are_the_same_rows() -> None:
    rows = packets(ethernet(ipv4(A, B, tcp(50000, 7680, b"abc"))))
    joined, left = Fragments().join(rows)
    assert joined is rows
    assert left == 0


@pytest.mark.parametrize("options", [b"", b"\1" * 4, b"\1" * 40])
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [0, 1, 3, 2], [0, 1, 1, 2, 3]])
def test_later_fragments_lie_where_their_bytes_do(options: bytes, order: list[int]) -> None:
    segment = tcp(50000, 7680, b"x" * 1000, seq=5000, ack=9, flags=ACK | 8, options=options)
    frames = cut(segment, [160, 320, 64])
    joined, left = Fragments().join(packets(*(frames[at] for at in order)))
    first = 160 - 20 - len(options)
    spans = [(5000, first), (5000 + first, 320), (5320 + first, 64), (5384 + first, 1000 - first - 384)]
    assert left == 0
    assert placed(joined) == [(50000, *spans[at], ACK | 8 if at == 0 else ACK, 9) for at in order]


def test_a_syn_takes_a_number_and_numbers_wrap() -> None:
    joined, _ = Fragments().join(packets(*cut(tcp(50000, 7680, b"x" * 100, seq=-1, flags=SYN), [40])))
    assert placed(joined) == [(50000, 0xFFFFFFFF, 20, SYN, 0), (50000, 20, 80, 0, 0)]


def test_what_cannot_be_placed_is_left_out_and_counted() -> None:
    frames = cut(tcp(50000, 7680, b"x" * 1000), [160, 320, 64])
    others = cut(tcp(50000, 7680, b"x" * 1000), [160, 320], ident=8)
    for wrong, kept, left in (
        ([frames[1], frames[0]], 1, 1),  # it came before its first
        ([frames[0], frames[2], frames[3]], 1, 2),  # the second is missing, so nobody knows where the rest lies
        ([frames[0], others[1]], 1, 1),  # of another packet
        ([frames[0], frames[1], frames[3]], 3, 0),  # a hole is no harm
    ):
        joined, missed = Fragments().join(packets(*wrong))
        assert (len(joined), missed) == (kept, left)
    late = packets(*frames[:2], step_ns=31 * SECOND)
    assert Fragments().join(late)[1] == 1


def test_a_fragment_finds_its_first_in_an_earlier_batch_and_few_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensor.fragments._MOST", 2)
    fragments = Fragments()
    cuts = [cut(tcp(50000 + ident, 7680, b"x" * 100), [64], ident) for ident in range(4)]
    for first, _ in cuts:
        fragments.join(packets(first))
    found = [fragments.join(packets(rest)) for _, rest in cuts]
    assert [len(rows) for rows, _ in found] == [0, 0, 1, 1]
    assert [int(rows["src_port"][0]) for rows, _ in found[2:]] == [50002, 50003]


def test_ipv6() -> None:
    segment = tcp(50000, 7680, b"x" * 200, seq=100)
    heads = [struct.pack(">BBHI", 0, 0, field, 0x00090007) for field in (1, 64)]
    frames = [
        ethernet(ipv6(A6, B6, piece, extensions=[(44, head)], fix=False))
        for piece, head in zip((segment[:64], segment[64:]), heads, strict=True)
    ]
    joined, left = Fragments().join(packets(*frames))
    assert (placed(joined), left) == ([(50000, 100, 44, ACK, 0), (50000, 144, 156, ACK, 0)], 0)


def fragmented(frame: bytes, chance: random.Random) -> list[bytes]:
    """Return an Ethernet frame of plain IPv4 and TCP, tagged or not, as fragments, or as it is."""
    ip = 18 if frame[12:14] == b"\x81\x00" else 14
    tcp_at = ip + (frame[ip] & 15) * 4
    whole = frame[tcp_at : ip + int.from_bytes(frame[ip + 2 : ip + 4], "big")]
    if frame[ip - 2 : ip] != b"\x08\x00" or frame[ip + 9] != 6 or len(whole) < 200 or chance.random() < 0.3:
        return [frame]
    frames, at = [], 0
    ident = chance.randrange(1 << 16)
    while at < len(whole):
        size = 8 * chance.randrange(8, 60)
        field = (0x2000 if at + size < len(whole) else 0) | at // 8
        piece = whole[at : at + size]
        length = tcp_at - ip + len(piece)
        frames.append(frame[: ip + 2] + struct.pack(">HHH", length, ident, field) + frame[ip + 8 : tcp_at] + piece)
        at += size
    return frames


def records(path: Path) -> list[tuple[int, bytes]]:
    raw, found, at = path.read_bytes(), [], 24
    while at < len(raw):
        s, us, size, _ = struct.unpack_from("<IIII", raw, at)
        found.append((s * SECOND + us * 1000, raw[at + 16 : at + 16 + size]))
        at += 16 + size
    return found


@pytest.mark.parametrize("files", [1, 7])
def test_a_fragmented_capture_tells_what_the_whole_one_does(tmp_path: Path, files: int) -> None:
    source, chance = PCAPS / "long-talks.pcap", random.Random(7680)  # noqa: S311 - a test's choice
    made = [(ts, fragmented(frame, chance)) for ts, frame in records(source)]
    pieces = [(ts, piece) for ts, parts in made for piece in parts]
    assert len(pieces) > 1.2 * len(made)
    names = []
    for at in range(files):
        names.append(str(tmp_path / f"{at}.pcap"))
        part = pieces[at * len(pieces) // files : (at + 1) * len(pieces) // files]
        Path(names[-1]).write_bytes(pcap(part))
    whole, cuts = (analyze(each, Policy(()), RuleSet(())) for each in ([str(source)], names))
    counted = {
        "orig_packets",
        "resp_packets",
        "orig_bytes",
        "resp_bytes",
        "first_number",
        "first_offset",
        "first_input",
    }
    same = [name for name in whole.flows if name not in counted]
    pd.testing.assert_frame_equal(whole.flows[same], cuts.flows[same])
    assert int(cuts.flows["orig_packets"].sum()) > int(whole.flows["orig_packets"].sum())
    assert cuts.weird["ip_fragment"] == sum(len(parts) for _, parts in made if len(parts) > 1)


def test_only_rows_without_ports_are_later_ones() -> None:
    frames = cut(tcp(50000, 7680, b"x" * 100), [64])
    assert later(packets(*frames)).tolist() == [False, True]
    assert np.count_nonzero(later(packets(ethernet(ipv4(A, B, tcp(50000, 7680)))))) == 0
