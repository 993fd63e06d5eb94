"""Policies proposed from cases: what is in them, and that a clean week stays clean under its own."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sensor import casefolder, settings
from sensor.learn import learn, propose
from sensor.pipeline import Options, analyze
from sensor.rules.load import load
from sensor.samples.annex import HOUR, Scene
from sensor.samples.delivery import Content, Transfer
from sensor.samples.files import Shape, write
from sensor.samples.frames import Host, render
from sensor.samples.grounds import BRANCH, HQ, branch, hq, utc
from sensor.samples.stack import Tape
from sensor.settings import load_policy

ROOT = Path(__file__).parents[2]
RULES = load([ROOT / "rules"])


@pytest.fixture(scope="module")
def clean_week(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Analyze a week of two sites that update at their own hours, without a policy."""
    folder = tmp_path_factory.mktemp("clean")
    scene = Scene(Tape("clean-week"))
    update = Content("clean", 40)
    for night in range(7):
        for turn in range(3):
            at = utc("2026-06-08T20:05:00") + (24 * night + turn) * HOUR
            scene.talk(hq(20 + night, subnet=20 + turn), hq(40 + night), at, HQ).run(Transfer(update, range(4)))
        scene.talk(branch(20 + night), branch(40), utc("2026-06-08T03:31:00") + 24 * night * HOUR, BRANCH).run(
            Transfer(update, range(2))
        )
    scene.knock(Host("10.1.33.9"), hq(41), utc("2026-06-09T21:00:00"))
    (folder / "week.pcap").write_bytes(write(render(scene.tape.segments, 160), Shape(snaplen=160)))
    case = analyze([str(folder / "week.pcap")], load_policy(None), RULES, Options(hashes=True))
    casefolder.write(case, folder / "case", ["analyze"], "now")
    return folder


@pytest.mark.parametrize("timezone", ["UTC", "Europe/Berlin", "Asia/Kolkata"])
def test_a_clean_week_has_no_finding_under_the_policy_that_it_proposes(clean_week: Path, timezone: str) -> None:
    policy = clean_week / "learned.yaml"
    assert learn(clean_week / "case", policy, timezone, RULES) == []
    assert settings.warnings(policy) == []
    case = analyze([str(clean_week / "week.pcap")], load_policy(policy), RULES, Options())
    assert case.incidents == ()
    assert set(case.off_window_payload_bytes.values()) == {0}


def test_what_was_seen_is_what_is_proposed(clean_week: Path) -> None:
    policy = clean_week / "learned.yaml"
    learn(clean_week / "case", policy, "Etc/UTC", RULES)
    read = load_policy(policy)
    found = {tuple(map(str, site.subnets)): (site.peering, site.update_windows) for site in read.sites}
    assert found == {
        ("10.1.20.0/24", "10.1.21.0/24", "10.1.22.0/24"): ("scheduled", ("site-1-hours",)),
        ("10.1.33.0/24",): ("allowed", ()),
        ("10.2.5.0/24",): ("scheduled", ("site-3-hours",)),
    }
    (hours,) = read.time_intervals["site-1-hours"]
    assert (hours.times, hours.weekdays) == (((20 * 60, 23 * 60),), ((0, 6),))
    (hours,) = read.time_intervals["site-3-hours"]
    assert (hours.times, hours.weekdays) == (((3 * 60, 4 * 60),), ((0, 6),))
    text = policy.read_text()
    assert "21 flows, 88.1 MB of update data" in text
    assert "# no update data was seen here" in text


def test_what_no_policy_can_excuse_is_said(tmp_path: Path) -> None:
    case = analyze([str(ROOT / "pcaps" / "sweep.pcap")], load_policy(None), RULES, Options(hashes=True))
    casefolder.write(case, tmp_path / "case", ["analyze"], "now")
    left = learn(tmp_path / "case", tmp_path / "p.yaml", "UTC", RULES)
    assert [line.split(":")[0] for line in left] == ["high r01_horizontal_scan"]


def test_nothing_seen_is_a_policy_too(tmp_path: Path) -> None:
    frame = pd.DataFrame({"orig_local": [], "resp_local": [], "verdict": [], "payload_bytes": [], "orig_ip": [],
                          "resp_ip": [], "window_start_ns": [], "flow": []})  # fmt: skip
    frame = frame.astype({"orig_local": "bool", "resp_local": "bool", "orig_ip": "str", "resp_ip": "str"})
    path = tmp_path / "p.yaml"
    path.write_text(propose(frame, "UTC"))
    assert [site.name for site in load_policy(path).sites] == ["nowhere"]
