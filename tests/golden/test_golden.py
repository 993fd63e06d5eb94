"""Every sample capture says what its golden folder says; `make bless` shows what changed and renews it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.golden import bless, tell

if TYPE_CHECKING:
    from pathlib import Path

CAPTURES = tell.captures()


def golden(capture: Path) -> Path:
    return tell.HERE / capture.stem


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_a_capture_says_what_it_said(capture: Path) -> None:
    changed = list(bless.difference(golden(capture), tell.tell(capture)))
    if changed:
        more = f"… {len(changed) - 40} more lines\n" if len(changed) > 40 else ""
        pytest.fail("".join(changed[:40]) + more + "if it is right so: make bless", pytrace=False)


def test_every_folder_has_its_capture() -> None:
    folders = {path.name for path in tell.HERE.iterdir() if bless.is_golden(path)}
    assert folders == {capture.stem for capture in CAPTURES}


def test_how_much_of_the_protocol_the_samples_hold() -> None:
    seen = set()
    for capture in CAPTURES:
        for line in (golden(capture) / "messages.jsonl").read_text(encoding="utf-8").splitlines():
            seen.add(json.loads(line).get("kind"))
    # Nobody has seen the other four on the wire; the tests of framing send them.
    assert set(tell.KINDS.values()) - seen == {"choke", "not interested", "cancel", "extended"}
    assert tell.kinds_seen(seen).startswith("8 of 12 message kinds seen: handshake, keep-alive, unchoke, interested,")


def test_kinds_seen() -> None:
    assert tell.kinds_seen(["piece", "verdict", "have", "piece", "gap"]) == "2 of 12 message kinds seen: have, piece"
    assert tell.kinds_seen([]) == "0 of 12 message kinds seen"


def test_a_long_table_is_its_first_lines_and_a_hash() -> None:
    rows = [{"flow": at, "zero": 0, "position": 0} for at in range(tell.LONG + 1)]
    lines = tell._lines(rows).splitlines()
    assert len(lines) == tell.SHOWN + 1
    assert lines[0] == '{"position": 0}'
    assert lines[1] == '{"flow": 1, "position": 0}'
    assert json.loads(lines[-1])["more"] == 151
    rows[-1]["flow"] = 0
    assert tell._lines(rows).splitlines()[-1] != lines[-1]
    assert len(tell._lines(rows[:-1]).splitlines()) == tell.LONG


def test_blessing_shows_the_difference_and_then_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = (path for path in CAPTURES if path.stem in {"refused", "tls-on-7680"})
    assert bless.bless([one, two], tmp_path, all_of_them=True)
    told = capsys.readouterr().out
    assert "--- /dev/null\n+++ refused/flows.jsonl\n" in told
    assert sorted(path.name for path in (tmp_path / "refused").iterdir()) == sorted(tell.tell(one))
    assert not bless.bless([one, two], tmp_path, all_of_them=True)
    assert capsys.readouterr().out == ""
    # A line that was another, a file too many, and a folder whose capture is gone.
    summary = tmp_path / "refused" / "summary.txt"
    right = summary.read_text(encoding="utf-8")
    summary.write_text(right.replace("10 packets", "11 packets"), encoding="utf-8")
    (tmp_path / "refused" / "old.jsonl").write_text("{}\n", encoding="utf-8")
    assert bless.bless([one], tmp_path, all_of_them=True)
    told = capsys.readouterr().out
    assert "\n-11 packets" in told
    assert "\n+10 packets" in told
    assert "--- refused/old.jsonl\n+++ /dev/null\n@@ -1 +0,0 @@\n-{}\n" in told
    assert "--- tls-on-7680/summary.txt\n+++ /dev/null\n" in told
    assert summary.read_text(encoding="utf-8") == right
    assert [path.name for path in tmp_path.iterdir()] == ["refused"]
    assert not (tmp_path / "refused" / "old.jsonl").exists()


def test_blessing_some_leaves_the_others(tmp_path: Path) -> None:
    one, two = (path for path in CAPTURES if path.stem in {"refused", "tls-on-7680"})
    bless.bless([one, two], tmp_path, all_of_them=True)
    assert not bless.bless([one], tmp_path, all_of_them=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["refused", "tls-on-7680"]


def test_a_name_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert bless.main(["no-such-capture"]) == 1
    assert capsys.readouterr().err == "no sample capture: no-such-capture\n"
