"""What is kept of an input is that input again; what is damaged, changed or made up is not believed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from sensor.keeping import _PART, FOLDER, Keeping
from sensor.reading import FileReading, Options, Part
from sensor.schema import Packets
from tests.captures import SAMPLES

SIN = SAMPLES / "off-window.pcap"
OPTIONS = Options(hashes=True)


@pytest.fixture
def name(tmp_path: Path) -> str:
    (tmp_path / "in.pcap").write_bytes(SIN.read_bytes())
    return str(tmp_path / "in.pcap")


def keep(folder: Path, name: str, options: Options = OPTIONS) -> tuple[list[Part], FileReading]:
    with FileReading(name, 0, options) as reading:
        return list(Keeping(folder, options).keep(name, reading)), reading


def again(folder: Path, **more: object) -> Keeping:
    return Keeping(folder, Options(**({"hashes": True, "resume": True} | more)))  # type: ignore[arg-type]


def test_the_same_again(tmp_path: Path, name: str) -> None:
    parts, reading = keep(tmp_path / FOLDER, name)
    keeping = again(tmp_path / FOLDER)
    found = keeping.find(name, 5)
    assert found is not None
    assert keeping.kept == 1
    with found:
        kept = list(found.parts())
    assert found.summary() == reading.summary()
    assert found.weird.tolist() == reading.weird.tolist()
    assert found.done_bytes == Path(name).stat().st_size
    assert len(kept) == len(parts)
    for one, other in zip(parts, kept, strict=True):
        small = one.compact()
        assert (other.front_ns, other.announced, other.data.tobytes()) == (
            small.front_ns,
            small.announced,
            small.data.tobytes(),
        )
        assert set(other.packets["input"].tolist()) == {5}
        small.packets["input"] = 5
        assert small.packets.tolist() == other.packets.tolist()


def test_half_an_input_is_not_kept(tmp_path: Path, name: str) -> None:
    with FileReading(name, 0, OPTIONS) as reading:
        parts = Keeping(tmp_path / FOLDER, OPTIONS).keep(name, reading)
        next(parts)
        parts.close()  # type: ignore[attr-defined]
    assert list((tmp_path / FOLDER).iterdir()) == []
    assert again(tmp_path / FOLDER).find(name, 0) is None


@pytest.mark.parametrize(
    "more", [{"hashes": False}, {"asked": "host"}, {"since_ns": 5}, {"port": 443}, {"mdns": False}]
)
def test_kept_for_another_question(tmp_path: Path, name: str, more: dict[str, object]) -> None:
    keep(tmp_path / FOLDER, name)
    assert again(tmp_path / FOLDER, **more).find(name, 0) is None


def test_an_input_that_has_changed(tmp_path: Path, name: str) -> None:
    keep(tmp_path / FOLDER, name)
    os.utime(name, ns=(1, 1))
    assert again(tmp_path / FOLDER).find(name, 0) is None


def test_without_resume_all_begins_anew(tmp_path: Path, name: str) -> None:
    keep(tmp_path / FOLDER, name)
    Keeping(tmp_path / FOLDER, OPTIONS)
    assert not (tmp_path / FOLDER).exists()


def test_never_larger_than_the_input(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensor.keeping._FEW_BYTES", -Path(name).stat().st_size)
    parts, _ = keep(tmp_path / FOLDER, name)
    assert parts
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_no_room_is_no_harm(tmp_path: Path, name: str) -> None:
    (tmp_path / FOLDER).write_text("a file where the folder should be")
    parts, _ = keep(tmp_path / FOLDER / "deeper", name)
    assert parts


def test_damage_is_noticed_wherever_it_is(tmp_path: Path, name: str) -> None:
    keep(tmp_path / FOLDER, name)
    (path,) = (tmp_path / FOLDER).iterdir()
    raw = path.read_bytes()
    for cut in (0, 5, 19, 20, len(raw) // 2, len(raw) - 1):
        path.write_bytes(raw[:cut])
        assert again(tmp_path / FOLDER).find(name, 0) is None, cut
        assert not path.exists()  # nor is it looked at again
    chance = np.random.default_rng(1)
    for _ in range(200):
        made = bytearray(raw)
        made[int(chance.integers(0, 150))] ^= int(chance.integers(1, 256))
        path.write_bytes(made)
        found = again(tmp_path / FOLDER).find(name, 0)
        for part in found.parts() if found else ():
            ends = part.packets["payload_at"] + part.packets["payload_captured"]
            assert int(ends.max(initial=0)) <= len(part.data)


@pytest.mark.parametrize(("at", "size"), [(-1, 1), (0, 5), (4, 1), (2**62, 1), (0, -1)])
def test_payloads_that_lie_elsewhere_are_not_believed(tmp_path: Path, name: str, at: int, size: int) -> None:
    keep(tmp_path / FOLDER, name)
    (path,) = (tmp_path / FOLDER).iterdir()
    raw = path.read_bytes()
    packet = Packets.empty(1)
    packet[:] = np.zeros(1, dtype=packet.dtype)
    packet["payload_at"], packet["payload_captured"] = at, size
    magic = raw[: raw.index(b"\n") + 1]
    part = _PART.pack(b"PART", 0, packet.nbytes, 4, 2) + packet.tobytes() + b"data" + b"[]"
    path.write_bytes(magic + part + raw[len(magic) :])
    assert again(tmp_path / FOLDER).find(name, 0) is None
