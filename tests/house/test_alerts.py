"""Alert and recording rules: Prometheus' own tools have nothing to say, each alert has a runbook and a story."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from sensor import dashboards
from tests.house import tree

FOLDER = Path("rules/prometheus")
STORIES = Path("tests/prometheus/alerts.yml")
ALERTMANAGER = Path("packaging/alertmanager.yml")
RULES = [
    rule
    for name in ("alerts", "recording")
    for group in yaml.safe_load(tree.text(FOLDER / f"{name}.yml"))["groups"]
    for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDS = [rule["record"] for rule in RULES if "record" in rule]
TOLD = {story["name"]: story for story in yaml.safe_load(tree.text(STORIES))["tests"]}
UIDS = {board()["uid"] for board in dashboards.BOARDS.values()}


def run(*command: str) -> str:
    program = shutil.which(command[0])
    assert program
    done = subprocess.run(
        [program, *command[1:]], cwd=tree.ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.needs("promtool")
@pytest.mark.parametrize("name", ["alerts", "recording"])
def test_promtool_checks_rules(name: str) -> None:
    assert "SUCCESS" in run("promtool", "check", "rules", "--lint=all", "--lint-fatal", str(FOLDER / f"{name}.yml"))


@pytest.mark.needs("promtool")
def test_every_story_goes_as_told() -> None:
    assert "SUCCESS" in run("promtool", "test", "rules", str(STORIES))


@pytest.mark.needs("promtool")
def test_the_stories_would_notice(tmp_path: Path) -> None:
    """Rename one metric, and one threshold: a story must fail for each."""
    text = tree.text(FOLDER / "alerts.yml")
    for before, after in (("swarmtap_sink_drops_total", "swarmtap_sink_lost_total"), ("> 10e6", "> 10e3")):
        assert before in text
        text = text.replace(before, after)
    for path in (FOLDER / "recording.yml", STORIES):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(tree.text(path))
    (tmp_path / FOLDER / "alerts.yml").write_text(text)
    done = subprocess.run(
        ["promtool", "test", "rules", str(tmp_path / STORIES)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    failed = set(re.findall(r"name: (\w+),\n", done.stdout + done.stderr))
    assert failed == {"SwarmtapDeliveryDrops", "SwarmtapOffScheduleTraffic"}


@pytest.mark.parametrize("name", ALERTS)
def test_alert_is_complete(name: str) -> None:
    rule = ALERTS[name]
    assert re.fullmatch(r"Swarmtap([A-Z][a-z]+)+", name)
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url", "dashboard_url"}
    assert "{{" not in rule["annotations"]["summary"]
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"
    board = re.match(r"/d/([\w-]+)\?var-", rule["annotations"]["dashboard_url"])
    assert board
    assert board[1] in UIDS


@pytest.mark.parametrize("name", ALERTS)
def test_alert_has_a_runbook(name: str) -> None:
    page = tree.text(Path(f"docs/runbooks/{name}.md"))
    assert page.startswith(
        f"# {name}\n\n**{ALERTS[name]['labels']['severity']}.** {ALERTS[name]['annotations']['summary']}\n"
    )
    headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert headings == ["What it means", "Where to look", "What to do", "Note"]
    assert f"| [{name}]({name}.md) |" in tree.text(Path("docs/runbooks/README.md"))


def test_no_runbook_is_left_over() -> None:
    pages = {path.stem for path in tree.files() if path.parts[:2] == ("docs", "runbooks")}
    assert pages == set(ALERTS) | {"README"}


@pytest.mark.parametrize("name", ALERTS)
def test_alert_has_a_story(name: str) -> None:
    """Quiet before, firing, gone: three looks, of which the middle one fires."""
    looks = TOLD[name]["alert_rule_test"]
    assert [bool(look["exp_alerts"]) for look in looks] == [False, True, False]
    assert {look["alertname"] for look in looks} == {name}


def test_records_are_named_by_level_metric_and_operation() -> None:
    assert RECORDS
    for name in RECORDS:
        assert re.fullmatch(r"[a-z_]+:swarmtap_[a-z_]+:(ratio_)?rate\d+m", name), name
        assert "_total" not in name
        assert name in tree.text(STORIES)


@pytest.mark.needs("amtool")
def test_alertmanager_takes_its_sample() -> None:
    assert "SUCCESS" in run("amtool", "check-config", str(ALERTMANAGER))


@pytest.mark.needs("amtool")
@pytest.mark.parametrize(
    ("severity", "receiver"), [("critical", "on-call"), ("warning", "network"), ("info", "nobody")]
)
def test_alertmanager_routes_by_severity(severity: str, receiver: str) -> None:
    routed = run("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", f"severity={severity}")
    assert routed.strip() == receiver


def test_inhibitions_name_alerts() -> None:
    for rule in yaml.safe_load(tree.text(ALERTMANAGER))["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            for pattern in matcher.split('"')[1].split("|"):
                assert any(re.fullmatch(pattern, name) for name in ALERTS), pattern


@pytest.mark.needs("promtool")
def test_promtool_takes_the_configuration(tmp_path: Path) -> None:
    text = tree.text(Path("packaging/prometheus.yml"))
    (tmp_path / "prometheus.yml").write_text(text.replace("/etc/prometheus/rules", str(tree.ROOT / FOLDER)))
    told = run("promtool", "check", "config", str(tmp_path / "prometheus.yml"))
    assert told.count("SUCCESS") == 4
