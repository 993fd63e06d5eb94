"""Inputs in order of what they hold, and copies found; names do not matter."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from sensor import numbering
from tests.builders import ACK, ethernet, ipv4, pcap, tcp
from tests.streams import NOON, SECOND

if TYPE_CHECKING:
    from pathlib import Path

    from sensor.numbering import Numbered


def given(path: Path, at_s: int, ident: int = 1) -> str:
    packet = ethernet(ipv4("10.1.0.5", "10.1.0.6", tcp(50000, 7680, b"x", seq=ident, flags=ACK)))
    path.write_bytes(pcap([(NOON + at_s * SECOND, packet)], nanos=True))
    return str(path)


def numbered(*names: str) -> Numbered:
    def looks(asked: list[str]) -> list[object]:
        return [numbering.look_or_mistake(name) for name in asked]

    def digests(asked: list[str]) -> list[str]:
        return [numbering.digest(name) for name in asked]

    return numbering.number(names, looks, digests)  # type: ignore[arg-type]


def test_by_time_then_content_never_by_name(tmp_path: Path) -> None:
    late, early = given(tmp_path / "a", 5), given(tmp_path / "z", 1)
    assert list(numbered(late, early).order) == [early, late]
    one, other = given(tmp_path / "one", 3, 7), given(tmp_path / "other", 3, 8)
    order = [(tmp_path / name).read_bytes() for name in map(str, numbered(one, other).order)]
    swapped = given(tmp_path / "one", 3, 8), given(tmp_path / "other", 3, 7)
    assert [(tmp_path / name).read_bytes() for name in map(str, numbered(*swapped).order)] == order


def test_copies_are_named_and_hashed(tmp_path: Path) -> None:
    names = [given(tmp_path / name, 1) for name in ("c", "a", "b")] + [given(tmp_path / "d", 1, 2)]
    found = numbered(*names)
    assert sorted(found.order) == [names[1], names[3]]
    digest = hashlib.sha256((tmp_path / "a").read_bytes()).hexdigest()
    assert [(each.name, each.copy_of, each.sha256) for each in found.copies] == [
        (names[2], names[1], digest),
        (names[0], names[1], digest),
    ]


def test_alike_at_the_beginning_is_no_copy(tmp_path: Path) -> None:
    frames = [(NOON + at * SECOND, ethernet(ipv4("10.1.0.5", "10.1.0.6", bytes(1400), proto=17))) for at in range(400)]
    one, other = pcap(frames, nanos=True), bytearray(pcap(frames, nanos=True))
    other[-1] ^= 1  # behind what is looked at first
    (tmp_path / "a").write_bytes(one)
    (tmp_path / "b").write_bytes(other)
    found = numbered(str(tmp_path / "a"), str(tmp_path / "b"))
    assert (len(found.order), found.copies) == (2, ())


def test_what_is_no_input_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no capture, and long enough to be looked at as if it were one")
    found = numbered(given(tmp_path / "a", 1), str(tmp_path / "text"), str(tmp_path / "absent"))
    assert [mistake.where for mistake in found.mistakes] == [str(tmp_path / "text"), str(tmp_path / "absent")]
    assert len(found.order) == 1


def test_sizes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(7))
    assert [numbering.size_of(str(tmp_path / name)) for name in ("a", "absent", ".")] == [7, 0, 0]
    assert numbering.size_of("-") == 0
    assert numbering.digest(str(tmp_path / "absent")) == ""
