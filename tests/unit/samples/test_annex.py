"""The annex: the committed captures are these, tshark finds nothing malformed, and each means what it says."""

from __future__ import annotations

import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from sensor.samples import annex, borders
from sensor.samples.annex import PIECES, build, state_of, truth
from sensor.samples.grounds import utc

PCAPS = Path(__file__).parents[3] / "pcaps"
NAMES = sorted(PIECES)
BORDERS = {story.name for _, story in borders.STORIES}
SECOND = 1_000_000_000


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_capture_is_a_fresh_build(name: str) -> None:
    assert build(name) == (PCAPS / f"{name}.pcap").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_it_has_the_flows_and_the_finding_that_it_promises(name: str) -> None:
    story = PIECES[name].story
    assert len(truth(name).flows) == story.flows
    assert len(story.findings) == 1 or name in BORDERS


def test_policies_are_committed() -> None:
    written = {"annex.yaml": annex.POLICY, "annex.csv": annex.INVENTORY, "weekly.yaml": annex.WEEKLY}
    assert {name: (PCAPS / name).read_text() for name in written} == written


@pytest.mark.needs("tshark")
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_malformed(name: str) -> None:
    command = ["tshark", "-n", "-r", str(PCAPS / f"{name}.pcap"), "-o", "ip.check_checksum:TRUE"]
    # Beyond the length of the two broken messages tshark is right to complain.
    allowed = name in {"bad-length", "unknown-id", "new-messages", "pushes", "strangers", "desk-corners"}
    shown = subprocess.run(
        [*command, "-Y", "_ws.malformed or ip.checksum.status == 0 or !tcp"], capture_output=True, text=True, check=True
    ).stdout
    assert shown == "" or allowed


def test_the_laboratory_is_open_on_tuesday_evenings() -> None:
    monday = utc("2026-05-04T20:00:00")
    day = 86_400 * SECOND
    moments = (monday, monday + day, monday + day + 7199 * SECOND, monday + day + 7200 * SECOND)
    states = [state_of("10.30.0.5", "10.30.0.6", moment) for moment in moments]
    assert states == ["closed", "open", "open", "closed"]
    assert state_of("10.31.0.5", "10.31.0.6", monday) == "open"


def test_the_clock_jumps_and_frames_stay_in_order() -> None:
    times = [frame.ts_ns for frame in annex.frames("clock-jump")]
    back = [one - other for one, other in pairwise(times) if other < one]
    assert len(back) == 1
    assert back[0] > 40 * SECOND
