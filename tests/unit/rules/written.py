"""Rule files as an operator writes them, and what loading them says."""

from pathlib import Path
from textwrap import dedent

import pytest

from sensor.errors import OperatorError
from sensor.rules.load import load
from sensor.rules.ruleset import Rule

HEAD = "title: T\nname: t\nlevel: low\nlogsource: {product: swarmtap, category: activity}\n"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "r.yml"
    path.write_text(dedent(text), encoding="utf-8")
    return path


def rule(tmp_path: Path, detection: str, more: str = "") -> Rule:
    (made,) = load([written(tmp_path, HEAD + more + "detection:\n" + detection)]).rules
    return made


def wrong(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(OperatorError) as raised:
        load([written(tmp_path, text)])
    return [str(each).removeprefix(str(tmp_path) + "/") for each in raised.value.mistakes]


def wrong_item(tmp_path: Path, item: str) -> str:
    (only,) = wrong(tmp_path, HEAD + "detection:\n  a:\n    " + item + "\n  condition: a\n")
    return only.removeprefix("r.yml:")


CORRELATED = """
    title: rows
    name: rows
    logsource: {product: swarmtap, category: activity}
    detection: {a: {verdict: do}, condition: a}
    ---
    title: much
    name: much
    level: high
    correlation:
      type: value_sum
      rules: [rows]
      group-by: [orig_ip]
      timespan: 1h
      condition: {gt: 10, field: payload_bytes}
"""
