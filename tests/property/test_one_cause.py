"""One cause, one incident: a day with twenty causes in it, told as twenty, live as offline, and again."""

from __future__ import annotations

import json
import sqlite3
import struct
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sensor.inputs import Inputs
from sensor.order import Ordered
from sensor.pipeline import Pipeline, analyze
from sensor.reading import Options
from sensor.rules.load import load
from sensor.samples import day
from sensor.settings import load_policy
from tests import captures

if TYPE_CHECKING:
    from sensor.schema import Incident

ROOT = Path(__file__).parents[2]
RULES = load([ROOT / "rules"])
POLICY = load_policy(ROOT / "pcaps" / "office.yaml")
SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("day") / "day.pcap"
    path.write_bytes(day.build())
    return path


@pytest.fixture(scope="module")
def offline(capture: Path) -> tuple[Incident, ...]:
    return analyze([str(capture)], POLICY, RULES).incidents


def told(incidents: tuple[Incident, ...]) -> dict[str, tuple[object, ...]]:
    return {
        each.id: (each.rule, each.subject, each.level, each.first_seen_ns, each.last_seen_ns, each.flows,
                  each.payload_bytes, each.reason, [place.number for place in each.evidence])
        for each in incidents
    }  # fmt: skip


def test_twenty_causes_are_twenty_incidents(offline: tuple[Incident, ...]) -> None:
    found = Counter((each.rule, tuple(sorted(each.subject.items()))) for each in offline)
    assert found == Counter((cause.rule, cause.subject) for cause in day.CAUSES)
    assert len(offline) == len(day.CAUSES) == 20


def test_a_second_run_says_the_same(capture: Path, offline: tuple[Incident, ...]) -> None:
    assert told(analyze([str(capture)], POLICY, RULES).incidents) == told(offline)


@pytest.mark.parametrize("step_s", [60, 7200])
def test_watched_as_it_happens_the_incidents_are_the_same(
    capture: Path, offline: tuple[Incident, ...], step_s: int
) -> None:
    """Packets come a few at a time and the clock moves on through silence, as it does on a live interface."""
    pipeline: Pipeline | None = None
    opened = set()
    for portion in Inputs([str(capture)], Options()).start().portions():
        ordered = portion.ordered
        steps = ordered.packets["ts_ns"] // (step_s * SECOND)
        edges = [0, *(np.flatnonzero(np.diff(steps)) + 1).tolist(), len(steps)]
        for start, end in pairwise(edges):
            packets = ordered.packets[start:end]
            pipeline = pipeline or Pipeline(POLICY, RULES, Options(), int(packets["ts_ns"][0]))
            opened |= {each.id for each in pipeline.advance(int(packets["ts_ns"][0])).changed}
            pipeline.push(Ordered(packets, ordered.data))
    assert pipeline is not None
    opened |= {each.id for each in pipeline.advance(None).changed}
    assert told(pipeline.incidents.all()) == told(offline)
    assert opened == {each.id for each in offline}, "no other was ever told"


def test_after_a_restart_in_the_middle_the_incidents_are_the_same(
    capture: Path, offline: tuple[Incident, ...], tmp_path: Path
) -> None:
    """The first half is replayed by one process, the second by another that has its state folder only."""
    data = capture.read_bytes()
    halves = bytearray(data[:24]), bytearray(data[:24])
    at, cut_ns = 24, day.START + 15 * 3600 * SECOND + 720 * SECOND
    while at < len(data):
        seconds, micros, size, _ = struct.unpack_from("<IIII", data, at)
        halves[seconds * SECOND + micros * 1000 >= cut_ns].extend(data[at : at + 16 + size])
        at += 16 + size
    for number, half in enumerate(halves):
        path = tmp_path / f"{number}.pcap"
        path.write_bytes(half)
        run = [
            sys.executable,
            "-m",
            "sensor",
            "watch",
            "--replay",
            str(path),
            "--speed",
            "0",
            "--listen",
            "127.0.0.1:0",
        ]
        options = ["-p", str(ROOT / "pcaps" / "office.yaml"), "--state", str(tmp_path / "state")]
        done = subprocess.run([*run, *options], capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stderr
    with sqlite3.connect(tmp_path / "state" / "incidents.sqlite") as database:
        kept = [json.loads(record) for (record,) in database.execute("SELECT record FROM incident")]
    found = {each["id"]: (each["rule"], each["subject"], each["first_seen_ns"], each["flows"]) for each in kept}
    assert found == {each.id: (each.rule, each.subject, each.first_seen_ns, each.flows) for each in offline}


def test_public_captures_of_windows_hosts_have_no_incident() -> None:
    found = analyze(sorted(map(str, captures.public("real").glob("*.pcap"))), load_policy(None), RULES)
    assert found.packets > 100
    assert found.incidents == ()
