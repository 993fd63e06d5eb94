"""Cases judged anew: the same policy changes nothing, another exactly what it should."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sensor import casefolder, whatif
from sensor.errors import OperatorError
from sensor.pipeline import Options, analyze
from sensor.rules.load import load
from sensor.samples.annex import POLICY as ANNEX
from sensor.samples.pages import POLICY
from sensor.settings import load_policy

if TYPE_CHECKING:
    from sensor.policy import Policy

ROOT = Path(__file__).parents[2]
PCAPS = ROOT / "pcaps"
RULES = load([ROOT / "rules"])


def made(tmp_path: Path, capture: str, policy: str) -> Path:
    case = analyze([str(PCAPS / f"{capture}.pcap")], load_policy(PCAPS / f"{policy}.yaml"), RULES, Options(hashes=True))
    casefolder.write(case, tmp_path / "case", ["analyze"], "now")
    return tmp_path / "case"


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("week"), "office-week", "office")


def policy(tmp_path: Path, text: str) -> Policy:
    path = tmp_path / "new.yaml"
    path.write_text(text)
    (tmp_path / "annex.csv").write_bytes((PCAPS / "annex.csv").read_bytes())
    return load_policy(path)


@pytest.mark.parametrize(
    ("capture", "under"),
    [("slot-edge", "office"), ("sudden-hour", "weekly"), ("server-seeds", "annex"), ("connect-only", "annex")],
)
def test_the_same_policy_finds_the_same_incidents(tmp_path: Path, capture: str, under: str) -> None:
    folder = made(tmp_path, capture, under)
    stored = whatif.read(folder)
    again = {incident.id: incident for incident in whatif.rejudge(stored, load_policy(PCAPS / f"{under}.yaml"), RULES)}
    assert {each["id"] for each in stored.incidents} == set(again)
    assert stored.incidents
    for each in stored.incidents:
        told = asdict(again[each["id"]])
        for name in (
            "rule",
            "level",
            "site",
            "subject",
            "first_seen_ns",
            "last_seen_ns",
            "flows",
            "payload_bytes",
            "reason",
        ):
            assert told[name] == each[name], (each["rule"], name)
    found = whatif.compare(stored, load_policy(PCAPS / f"{under}.yaml"), RULES)
    assert (found.gone, found.new, found.changed, found.same) == ([], [], [], len(stored.incidents))


def test_a_wider_window_takes_away_the_transfer_in_it_and_nothing_else(
    week: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = "  - name: thursdays\n    time_intervals:\n      - weekdays: ['thursday']\n"
    more += "        times: [{start_time: '13:00', end_time: '16:00'}]\n"
    wider = POLICY.replace("  - name: nightly ", more + "  - name: nightly ").replace(
        "[first-days]", "[first-days, thursdays]"
    )
    assert whatif.tell(week, policy(tmp_path, wider), RULES, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(each["rule"], each["subject"]) for each in told["gone"]] == [
        ("w01_off_window_transfer", {"site_pair": "hq~hq"})
    ]
    assert (told["new"], told["changed"], told["same"], told["unjudged"]) == ([], [], 12, ["s04_clock"])
    whatif.tell(week, policy(tmp_path, wider), RULES, as_json=False)
    text = capsys.readouterr().out
    assert text.startswith("Under this policy: 1 gone, 0 new, 0 changed, 12 as before.\n\nhq\n  gone    medium")


def test_a_stricter_policy_brings_incidents_and_changes_others(week: Path, tmp_path: Path) -> None:
    folder = week
    longer = POLICY.replace("grace: {before: 0m, after: 5m}", "grace: {before: 0m, after: 2m}")
    found = whatif.compare(whatif.read(folder), policy(tmp_path, longer), RULES)
    assert [(old["rule"], new["payload_bytes"] > old["payload_bytes"]) for old, new in found.changed] == [
        ("w05_window_overrun", True)
    ]
    assert (found.gone, found.new) == ([], [])
    shut = POLICY.replace("    peering: scheduled\n    update_windows: [weekend-early]", "    peering: disabled")
    found = whatif.compare(whatif.read(folder), policy(tmp_path, shut), RULES)
    assert [(each["rule"], each["site"]) for each in found.new] == [("w04_transfer_while_disabled", "servers")]
    assert (found.gone, found.changed) == ([], [])


def test_flows_and_spans_are_judged_anew_too(tmp_path: Path) -> None:
    folder = made(tmp_path, "forbidden-pair", "annex")
    both = ANNEX.replace("    peering: allowed\n    peers: same_site\n", "    peering: allowed\n    peers: any\n")
    found = whatif.compare(whatif.read(folder), policy(tmp_path, both), RULES)
    assert [each["rule"] for each in found.gone] == ["t01_forbidden_site_pair"]
    folder = made(tmp_path / "limit", "over-limit", "annex")
    found = whatif.compare(whatif.read(folder), policy(tmp_path, ANNEX.replace("20MB", "90MB")), RULES)
    assert [each["rule"] for each in found.gone] == ["w07_over_limit"]


def test_a_folder_that_is_no_case_is_named(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="no case that can be judged anew"):
        whatif.read(tmp_path)
