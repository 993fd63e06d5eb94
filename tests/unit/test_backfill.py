"""A case as OpenMetrics: at capture time, from 0, by the tallies' own rules, and nothing that a case does not know."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from sensor import backfill
from sensor.backfill import BackfillOptions
from sensor.errors import OperatorError
from sensor.sinks import parquet
from tests import cases
from tests.cases import NOON, SECOND

if TYPE_CHECKING:
    from pathlib import Path

    from sensor.policy import Policy

START = NOON // SECOND
POLICY = replace(cases.POLICY, time_intervals={"nights": ()})  # open never


@pytest.fixture
def case(tmp_path: Path) -> Path:
    rows = (
        {"resp_payload_bytes": 1000, "orig_packets": 2},
        {"window_start_ns": NOON + 60 * SECOND, "resp_payload_bytes": 500, "orig_packets": 1},
    )
    incident = {"site": "hq", "level": "high", "first_seen_ns": NOON + SECOND, "last_seen_ns": NOON + 20 * SECOND}
    folder = tmp_path / "office"
    folder.mkdir()
    parquet.write_activity(folder / "activity.parquet", cases.activity(*rows))
    parquet.write_flows(folder / "flows.parquet", cases.flows({"start_ns": NOON, "end_ns": NOON + 65 * SECOND}))
    (folder / "incidents.json").write_text(json.dumps([incident]))
    (folder / "manifest.json").write_text(json.dumps({"policy": {"source": "built-in", "sha256": ""}}))
    return folder


def told(case: Path, policy: Policy | None = POLICY, step_s: int = 0) -> str:
    out = io.StringIO()
    backfill.write(backfill.read(case), policy, BackfillOptions("office", step_s), out)
    return out.getvalue()


def points(text: str, start: str) -> list[tuple[int, float]]:
    rows = (line.rsplit(" ", 2) for line in text.splitlines() if line.startswith(start))
    return [(int(at) - START, float(value)) for _, value, at in rows]


def test_counters_start_at_zero_and_grow_when_the_window_ends(case: Path) -> None:
    name = 'swarmtap_flow_payload_bytes_total{job="swarmtap-case",instance="office",site="hq",scope="same_site",'
    name += 'schedule="closed",direction="to_originator"}'
    assert points(told(case), name) == [(0, 0), (15, 1000), (30, 1000), (45, 1000), (60, 1000), (75, 1500), (90, 1500)]
    assert points(told(case, step_s=60), name) == [(0, 0), (60, 1000), (120, 1500), (180, 1500)]


def test_gauges_come_and_go(case: Path) -> None:
    text = told(case)
    flows = points(text, 'swarmtap_flows_active{job="swarmtap-case",instance="office",site="hq"}')
    assert flows == [(0, 0), (15, 1), (30, 0), (45, 0), (60, 0), (75, 1), (90, 0)]
    peers = points(text, 'swarmtap_peers_active{job="swarmtap-case",instance="office",site="hq",side="responder"}')
    assert peers == flows
    incidents = points(text, 'swarmtap_incidents_open{job="swarmtap-case",instance="office",site="hq",level="high"}')
    assert incidents == [(0, 0), (15, 1), (30, 1), (45, 0), (60, 0), (75, 0), (90, 0)]


def test_schedules_are_told_only_with_their_policy(case: Path) -> None:
    assert 'swarmtap_schedule_open{job="swarmtap-case",instance="office",site="ber"} 0 ' in told(case)
    without = told(case, None)
    assert "swarmtap_schedule" not in without
    assert 'site="hq"' in without


def test_what_a_case_does_not_know_is_not_told(case: Path) -> None:
    text = told(case)
    for name in ("swarmtap_findings", "swarmtap_capture", "swarmtap_sink", "swarmtap_config", "_bucket"):
        assert name not in text
    assert text.endswith("\n# EOF\n")
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(set(names)) == len(names)


def test_an_empty_case_is_an_empty_text(case: Path) -> None:
    parquet.write_activity(case / "activity.parquet", cases.activity())
    assert told(case) == "# EOF\n"


@pytest.mark.parametrize(("length_s", "step_s"), [(0, 15), (30_000, 15), (30_001, 30), (100_000, 60), (10**9, 240)])
def test_steps_by_length(length_s: int, step_s: int) -> None:
    assert backfill._step_s(length_s * SECOND) == step_s


def test_to_a_file_and_to_standard_output(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert backfill.run(case, None, case / "case.om", BackfillOptions("office")) == 0
    assert "samples as job swarmtap-case, instance office" in capsys.readouterr().err
    assert backfill.run(case, None, None, BackfillOptions("office")) == 0
    assert capsys.readouterr().out == (case / "case.om").read_text(encoding="utf-8")


@pytest.mark.parametrize("source", ["gone.yaml", "other.yaml"])
def test_a_policy_that_changed_is_not_used(case: Path, capsys: pytest.CaptureFixture[str], source: str) -> None:
    (case / "other.yaml").write_text("version: 1\nsites:\n  - {name: hq, subnets: [10.1.0.0/16], peering: allowed}\n")
    stated: dict[str, Any] = {"policy": {"source": str(case / source), "sha256": "ab" * 32}}
    (case / "manifest.json").write_text(json.dumps(stated))
    backfill.run(case, None, case / "case.om", BackfillOptions("office"))
    assert "is not the policy of this case any more" in capsys.readouterr().err
    assert "swarmtap_schedule" not in (case / "case.om").read_text(encoding="utf-8")


def test_no_case_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="name a folder that `analyze -o` wrote"):
        backfill.read(tmp_path)
    with pytest.raises(OperatorError, match="has no manifest"):
        backfill.policy_source(tmp_path)


def test_label_values_are_escaped() -> None:
    assert backfill._head(("swarmtap_flows_active", ('a"b\\c\n',)), "x").endswith(r'site="a\"b\\c\n"}')


@pytest.mark.needs("promtool")
def test_prometheus_takes_it(case: Path, tmp_path: Path) -> None:
    backfill.run(case, None, case / "case.om", BackfillOptions("office"))
    program = shutil.which("promtool")
    assert program
    command = [program, "tsdb", "create-blocks-from", "openmetrics", case / "case.om", tmp_path / "data"]
    made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert made.returncode == 0, made.stderr
    listed = subprocess.run(
        [program, "tsdb", "list", tmp_path / "data"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert str(NOON // 1_000_000) in listed
