"""Evidence of incidents, cut from a tape that was written from samples."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sensor import pipeline
from sensor.cutting import CUTTINGS, Cutter
from sensor.posting import RefusedError
from sensor.rules.load import load
from sensor.settings import load_policy
from sensor.sources.files import Reader
from sensor.store import Parcel
from sensor.tape import Tape, TapeOptions, pieces
from tests import cases
from tests.captures import ROOT, SAMPLES

if TYPE_CHECKING:
    from pathlib import Path

    from sensor.schema import Incident


def taped(folder: Path, *names: str) -> TapeOptions:
    """Write samples onto a tape whose files are as old as they."""
    options = TapeOptions(str(folder / "tape"))
    (folder / "tape" / CUTTINGS).mkdir(parents=True, exist_ok=True)
    with Tape(options) as tape:
        for name in names:
            with Reader(str(SAMPLES / f"{name}.pcap"), 0) as reader:
                for batch in reader.batches():
                    tape.write(batch.frames, batch.data)
    for path in pieces(folder / "tape"):
        path.rename(path.with_name(f"tape-0-{1_700_000_000 * 10**9:020d}.pcap"))
    return options


def incidents_of(name: str) -> tuple[Incident, ...]:
    case = pipeline.analyze(
        [str(SAMPLES / f"{name}.pcap")], load_policy(SAMPLES / "office.yaml"), load([ROOT / "rules"])
    )
    return case.incidents


def packets_in(path: Path) -> int:
    with Reader(str(path), 0) as reader:
        return sum(len(batch.frames) for batch in reader.batches())


def test_an_incident_has_its_flows_and_no_others(tmp_path: Path) -> None:
    options = taped(tmp_path, "disabled-transfer", "allowed-night")
    cutter = Cutter(options)
    (incident,) = (each for each in incidents_of("disabled-transfer") if each.rule == "w04_transfer_while_disabled")
    cutter.deliver(Parcel(incident))
    path = tmp_path / "tape" / CUTTINGS / f"{incident.id}.pcap"
    assert packets_in(path) == packets_in(SAMPLES / "disabled-transfer.pcap")
    again = pipeline.analyze([str(path)], load_policy(SAMPLES / "office.yaml"), load([ROOT / "rules"]))
    assert incident.id in {each.id for each in again.incidents}  # frames were cut, and tell the same
    before = path.read_bytes()
    # Later the tape has nothing of it any more: what was cut stays.
    for piece in pieces(tmp_path / "tape"):
        piece.unlink()
    taped(tmp_path, "allowed-night")
    cutter.deliver(Parcel(replace(incident, state="closed")))
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_what_the_tape_does_not_have_is_said(tmp_path: Path) -> None:
    cutter = Cutter(taped(tmp_path, "allowed-night"))
    incident = incidents_of("disabled-transfer")[0]
    with pytest.raises(RefusedError, match="none of its packets"):
        cutter.deliver(Parcel(incident))
    with pytest.raises(RefusedError, match="nothing of its time"):
        cutter.deliver(Parcel(replace(incident, first_seen_ns=10**18, last_seen_ns=10**18)))
    cutter.deliver(Parcel(cases.incident(evidence=())))  # an incident of silence has none
    cutter.work(list)
    cutter.reopen()
    cutter.close()
    assert not list((tmp_path / "tape" / CUTTINGS).iterdir())


def test_cuttings_are_bounded_too(tmp_path: Path) -> None:
    options = taped(tmp_path, "disabled-transfer")
    incident = incidents_of("disabled-transfer")[0]
    Cutter(options).deliver(Parcel(replace(incident, id="first")))
    folder = tmp_path / "tape" / CUTTINGS
    size = (folder / "first.pcap").stat().st_size
    small = Cutter(replace(options, most_bytes=2 * size))
    for name in ("second", "third"):
        small.deliver(Parcel(replace(incident, id=name)))
    assert sorted(path.name for path in folder.iterdir()) == ["second.pcap", "third.pcap"]
