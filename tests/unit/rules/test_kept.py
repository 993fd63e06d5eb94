"""Rule sets that are kept between runs: taken when nothing changed, read again whenever something did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sensor.errors import OperatorError
from sensor.rules import kept, load

if TYPE_CHECKING:
    from pathlib import Path

RULE = """\
title: T
name: t
level: low
logsource: {product: swarmtap, category: activity}
detection: {a: {verdict: do}, condition: a}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "swarmtap"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "t.yml").write_text(RULE)
    return folder


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[list[Path]]:
    """Return what was truly read, call by call."""
    found: list[list[Path]] = []
    read = load.load

    def counted(paths: list[Path]) -> object:
        found.append(paths)
        return read(paths)

    monkeypatch.setattr(load, "load", counted)
    return found


def test_the_second_time_nothing_is_read(home: Path, rules: Path, reads: list[list[Path]]) -> None:
    first = kept.load([rules])
    assert reads == [[rules]]
    assert [path.suffix for path in home.iterdir()] == [".json"]  # and nothing half-written beside it
    assert kept.load([rules]) == first
    assert len(reads) == 1
    assert first == load.load([rules])


@pytest.mark.usefixtures("home")
def test_an_edit_is_seen(rules: Path, reads: list[list[Path]]) -> None:
    assert kept.load([rules]).rules[0].level == "low"
    (rules / "t.yml").write_text(RULE.replace("low", "high"))
    assert kept.load([rules]).rules[0].level == "high"
    assert len(reads) == 2
    (rules / "t.yml").write_text(RULE)
    assert kept.load([rules]).rules[0].level == "low"
    assert len(reads) == 2  # what it was before is still there


@pytest.mark.usefixtures("home")
def test_a_new_file_a_removed_one_and_another_name_are_seen(rules: Path, reads: list[list[Path]]) -> None:
    kept.load([rules])
    (rules / "u.yaml").write_text(RULE.replace("name: t", "name: u"))
    assert kept.load([rules]).names() == ("t", "u")
    (rules / "t.yml").unlink()
    assert kept.load([rules]).names() == ("u",)
    (rules / "u.yaml").rename(rules / "v.yaml")
    assert [name.endswith("v.yaml") for name in kept.load([rules]).files] == [True]
    assert len(reads) == 4


@pytest.mark.usefixtures("home")
def test_other_code_reads_again(rules: Path, reads: list[list[Path]], monkeypatch: pytest.MonkeyPatch) -> None:
    kept.load([rules])
    monkeypatch.setattr(kept, "__version__", "another")
    kept.load([rules])
    assert len(reads) == 2


@pytest.mark.parametrize(
    "rubbish",
    [b"", b"{", b"\xff\xfe", b"[]", b"null", b"{}", b'{"rules": [1], "files": {}}', b'{"rules": [{}], "files": 3}'],
)
def test_rubbish_is_not_believed(home: Path, rules: Path, reads: list[list[Path]], rubbish: bytes) -> None:
    first = kept.load([rules])
    (path,) = home.iterdir()
    path.write_bytes(rubbish)
    assert kept.load([rules]) == first
    assert len(reads) == 2
    assert kept.load([rules]) == first  # and is written anew
    assert len(reads) == 2


def test_a_home_that_cannot_be_written_to(home: Path, rules: Path, reads: list[list[Path]]) -> None:
    home.parent.write_text("in the way")
    assert kept.load([rules]) == kept.load([rules])
    assert len(reads) == 2


def test_mistakes_are_told_every_time_and_not_kept(home: Path, rules: Path) -> None:
    (rules / "t.yml").write_text("title: T\n")
    for _ in range(2):
        with pytest.raises(OperatorError):
            kept.load([rules])
    assert not home.exists()


def test_what_is_not_there_is_the_readers_to_tell(home: Path, tmp_path: Path) -> None:
    with pytest.raises(OperatorError):
        kept.load([tmp_path / "absent.yml"])
    assert not home.exists()


def test_too_much_is_read_without_being_kept(
    home: Path, rules: Path, reads: list[list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "_MOST_BYTES", 10)
    kept.load([rules])
    kept.load([rules])
    assert len(reads) == 2
    assert not home.exists()
