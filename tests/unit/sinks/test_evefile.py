"""Lines appended whole, also after a kill, a rotation and a full disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from sensor.sinks import evefile
from sensor.sinks.evefile import EveFile
from sensor.store import Parcel
from tests import cases


def parcel(number: int) -> Parcel:
    return Parcel(cases.incident(), {"number": number})


def test_lines_are_appended_to_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "eve.json"
    path.write_text('{"number":0}\n')
    file = EveFile(path)
    file.deliver(parcel(1))
    file.add(b'{"number":2}\n{"number":3}\n')
    file.work(list)
    file.close()
    assert path.read_text() == '{"number":0}\n{"number":1}\n{"number":2}\n{"number":3}\n'


def test_a_line_that_a_kill_cut_short_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "eve.json"
    path.write_text('{"numb')
    file = EveFile(path)
    file.deliver(parcel(1))
    file.close()
    assert path.read_text().splitlines() == ['{"numb', '{"number":1}']


def test_after_a_rotation_the_next_line_goes_to_the_new_file(tmp_path: Path) -> None:
    path = tmp_path / "eve.json"
    file = EveFile(path)
    file.deliver(parcel(1))
    path.rename(tmp_path / "old")
    file.deliver(parcel(2))  # nobody has said anything yet
    file.reopen()
    file.deliver(parcel(3))
    file.close()
    assert (tmp_path / "old").read_text() == '{"number":1}\n{"number":2}\n'
    assert path.read_text() == '{"number":3}\n'


def test_a_full_disk_is_told_and_what_was_added_waits() -> None:
    file = EveFile(Path("/dev/full"))
    file.add(b"{}\n")
    with pytest.raises(OSError, match="No space left"):
        file.work(list)
    assert len(file._lines) == 1
    with pytest.raises(OSError, match="No space left"):
        file.deliver(parcel(1))
    file.close()


def test_what_waits_is_bounded_and_the_rest_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evefile, "MOST_BYTES", 10)
    file = EveFile(tmp_path / "eve.json")
    for _ in range(3):
        file.add(b"12345\n")
    assert file.lost_bytes == 12


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        EveFile(tmp_path / "nowhere" / "eve.json").open()
