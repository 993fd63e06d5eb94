"""A case that was touched is noticed, to the file; one that was not is whole wherever it lies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Final

import pytest

from sensor import casefolder, pipeline
from sensor.errors import OperatorError
from sensor.reading import Options
from sensor.rules.load import load
from sensor.settings import load_policy
from sensor.verify import verify

ROOT: Final = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    capture = folder / "off-window.pcap"
    shutil.copy(ROOT / "pcaps" / "off-window.pcap", capture)
    rules = load([ROOT / "rules" / "w01_off_window_transfer.yml"])
    options = Options(hashes=True)
    case = pipeline.analyze([str(capture)], load_policy(ROOT / "pcaps" / "office.yaml"), rules, options)
    assert case.incidents
    casefolder.write(case, folder / "case", ["analyze"], "2026-11-23T00:00:00+00:00")
    return folder


@pytest.fixture
def case(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy" / "case"


def told(case: Path, inputs: Path | None = None) -> list[tuple[str, str]]:
    return [(check.name, check.state) for check in verify(case, inputs).checks if check.is_bad]


def test_untouched_case_is_whole(case: Path) -> None:
    verdict = verify(case)
    assert verdict.is_whole
    states = {check.name: check.state for check in verdict.checks}
    assert set(states.values()) == {"same"}
    assert {"report.html", "flows.parquet", "incidents.json"} < set(states)
    assert [name for name in states if name.startswith("evidence/")]


def test_every_flipped_byte_is_noticed(case: Path) -> None:
    files = sorted(path for path in case.rglob("*") if path.is_file() and path.name != "manifest.json")
    for path in files:
        raw = path.read_bytes()
        path.write_bytes(raw[: len(raw) // 2] + bytes([raw[len(raw) // 2] ^ 1]) + raw[len(raw) // 2 + 1 :])
        assert (path.relative_to(case).as_posix(), "changed") in told(case)
        path.write_bytes(raw)
    assert told(case) == []


def test_missing_longer_and_added_files(case: Path) -> None:
    (case / "eve.json").unlink()
    with (case / "summary.json").open("ab") as file:
        file.write(b"\n")
    (case / "note.txt").write_text("mine")
    assert told(case) == [("eve.json", "missing"), ("summary.json", "changed"), ("note.txt", "added")]


def test_manifest_that_was_made_to_fit_does_not_fit_the_incidents(case: Path) -> None:
    manifest = json.loads((case / "manifest.json").read_text())
    for each in manifest["outputs"]:
        if each["file"].startswith("evidence/"):
            raw = b"\0" * each["size_bytes"]
            (case / each["file"]).write_bytes(raw)
            import hashlib

            each["sha256"] = hashlib.sha256(raw).hexdigest()
    (case / "manifest.json").write_text(json.dumps(manifest))
    assert [state for _, state in told(case)] == ["changed"]


def test_inputs_are_held_too_and_may_be_away(case: Path, made: Path) -> None:
    capture = made / "off-window.pcap"
    assert told(case, capture.parent) == []
    away = verify(case, case)
    assert away.is_whole
    assert [check.state for check in away.checks if check.kind == "input"] == ["missing"]
    moved = case.parent / "off-window.pcap"
    moved.write_bytes(moved.read_bytes()[:-1] + b"!")
    assert told(case, moved.parent) == [(str(capture), "changed")]


def test_what_is_no_case_is_the_operators_mistake(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="cannot be read"):
        verify(tmp_path)
    (tmp_path / "manifest.json").write_text('{"outputs": 3}')
    with pytest.raises(OperatorError, match="is not the manifest of a case"):
        verify(tmp_path)


def test_manifest_cannot_lead_out_of_the_folder(case: Path) -> None:
    manifest = json.loads((case / "manifest.json").read_text())
    manifest["outputs"][0]["file"] = "../off-window.pcap"
    (case / "manifest.json").write_text(json.dumps(manifest))
    assert ("../off-window.pcap", "changed") in told(case)
