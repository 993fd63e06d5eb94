"""The folder of samples: its files are fresh, its pages say what is true, its policy is one that the product reads."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from sensor.samples import POLICY, STORIES, truth, write_all, write_office
from sensor.samples.grounds import OPEN, SITES
from sensor.schedule import Schedules
from sensor.schema import SCHEDULES
from sensor.settings import load_policy, warnings

PCAPS = Path(__file__).parents[3] / "pcaps"


def test_the_committed_folder_is_a_fresh_one(tmp_path: Path) -> None:
    written = write_all(tmp_path / "new")
    assert sorted(path.name for path in written) == sorted(path.name for path in PCAPS.iterdir())
    for path in written:
        assert path.read_bytes() == (PCAPS / path.name).read_bytes(), path.name


def test_the_program_writes_the_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sensor.samples"]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=True)
    assert sorted(map(Path, done.stdout.split())) == sorted(tmp_path.iterdir())
    lost = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (lost.returncode, lost.stderr) == (1, "say where: python -m sensor.samples FOLDER\n")


def test_the_office_is_a_capture_and_its_policy(tmp_path: Path) -> None:
    capture, policy = write_office(tmp_path / "demo")
    assert capture.read_bytes() == (PCAPS / "office-week.pcap").read_bytes()
    assert policy.read_text() == POLICY == (PCAPS / "office.yaml").read_text()


@pytest.mark.parametrize("name", sorted(STORIES))
def test_a_page_says_what_is_in_its_capture(name: str) -> None:
    page, story, true = (PCAPS / f"{name}.md").read_text(), STORIES[name], truth(name)
    assert page.startswith(f"# {name}: {story.title}\n")
    assert f"| packets | {true.packets:,} |" in page
    assert f"| flows | {len(true.flows)} |" in page
    expected = re.search(r"## Expected findings\n\n(.*?)\n\n##", page, re.DOTALL)
    assert expected is not None
    assert expected[1].count("* `") == len(story.findings)
    assert (expected[1] == "None.") == (not story.findings)


def test_the_overview_names_every_capture() -> None:
    page = (PCAPS / "README.md").read_text()
    for name, story in STORIES.items():
        assert f"| [{name}]({name}.md) | {story.title} | {truth(name).packets:,} | {len(truth(name).flows)} |" in page


def test_the_policy_has_no_mistake_and_the_sites_of_the_stories() -> None:
    policy = load_policy(PCAPS / "office.yaml")
    assert warnings(PCAPS / "office.yaml", int(datetime(2026, 6, 8, tzinfo=UTC).timestamp()) * 1_000_000_000) == []
    stated = {(str(network), site.name) for site in policy.sites for network in site.subnets}
    assert stated == {(str(network), name) for network, name in SITES}


def test_the_policys_calendar_opens_and_closes_as_worked_out_by_hand() -> None:
    policy = load_policy(PCAPS / "office.yaml")
    names = [site.name for site in policy.sites]
    for name in names:
        for start, end in OPEN[name]:
            at = np.array([start - 1, start, end - 1, end])
            side = np.full(4, names.index(name), np.int32)
            state, _, _ = Schedules(policy, start, end).judge(side, side, at)
            assert [SCHEDULES[code] for code in state] == ["closed", "open", "open", "closed"]
