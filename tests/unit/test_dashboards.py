"""The dashboards in `grafana/` are the ones that are built, and they are valid for Grafana's own schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sensor import dashboards

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "tests" / "grafana" / "dashboard.schema.json").read_text(encoding="utf-8"))
# What Prometheus' annotations and Grafana's own variables carry beyond the schema that Grafana publishes.
ANNOTATION = {"expr", "step", "tagKeys", "textFormat", "titleFormat", "useValueForTime"}
VARIABLE = {"definition"}


def published(board: dict[str, Any]) -> dict[str, Any]:
    """Return a dashboard without what the published schema has forgotten."""
    made = json.loads(json.dumps(board))
    for each in made["annotations"]["list"]:
        assert set(each) >= ANNOTATION
        for key in ANNOTATION:
            del each[key]
    for each in made["templating"]["list"]:
        for key in VARIABLE & set(each):
            del each[key]
    return dict(made)


@pytest.mark.parametrize("name", dashboards.BOARDS)
def test_file_is_what_is_built(name: str) -> None:
    written = (dashboards.FOLDER / f"{name}.json").read_text(encoding="utf-8")
    assert written == dashboards.text(name), "write them anew: python -m sensor.dashboards"


def test_no_file_is_left_over() -> None:
    assert {path.stem for path in dashboards.FOLDER.iterdir()} == set(dashboards.BOARDS)


def test_main_writes_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboards, "FOLDER", tmp_path / "made")
    dashboards.main()
    assert {path.stem for path in (tmp_path / "made").iterdir()} == set(dashboards.BOARDS)


@pytest.mark.parametrize("name", dashboards.BOARDS)
def test_dashboard_is_valid(name: str) -> None:
    jsonschema.Draft7Validator(SCHEMA).validate(published(dashboards.BOARDS[name]()))


def test_the_schema_would_notice() -> None:
    board = published(dashboards.BOARDS["overview"]())
    board["panels"][0]["gridPos"]["w"] = "six"
    board["panels"][0]["fieldConfig"]["defaults"]["unitt"] = "bytes"
    assert len(list(jsonschema.Draft7Validator(SCHEMA).iter_errors(board))) > 0
