"""Grafana's dashboard linter, as tests; and nothing that the sensor counts is left without a panel or an alert.

The linter has 17 rules:

* template-datasource, -job, -instance, -label-promql, -on-time-change-reload:
  `test_variables_as_the_linter_wants_them`;
* panel-datasource, -title-description, -units, -no-targets: `test_panel_as_the_linter_wants_it`;
* target-promql, -rate-interval, -job, -instance, -counter-agg: `test_target_as_the_linter_wants_it`;
* target-logql, -logql-auto: nothing to hold, as the one data source is a Prometheus (`test_variables_…`), and every
  target is parsed as PromQL (`test_target_…`);
* uneditable-dashboard: `test_dashboard_is_addressable_and_closed`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import promql_parser
import pytest
import yaml

from sensor.catalogue import CATALOGUE
from tests.house import tree
from tests.live.test_stage import EXPECTED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sensor.panels import Json

BOARDS = {
    path.stem: json.loads(tree.text(path)) for path in tree.files() if path.parts[:2] == ("grafana", "dashboards")
}
PANELS = [
    pytest.param(board, panel, id=f"{name}: {panel['title']}")
    for name, board in BOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
]
TARGETS = [
    pytest.param(target, id=f"{param.id} {target['refId']}")
    for param in PANELS
    for target in param.values[1]["targets"]
]
UNITS = {"short", "bytes", "decbytes", "Bps", "pps", "percentunit", "s", "dateTimeFromNow"}  # of Grafana's list
STANDINS = {"$__rate_interval": "5m", "$__range": "1h", "$__interval": "1m"}
FOLDER = Path("grafana/provisioning")


def parsed(expression: str) -> Any:
    for name, value in STANDINS.items():
        expression = expression.replace(name, value)
    return promql_parser.parse(expression)


def walk(node: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Yield each selector of an expression with the names of the functions around it."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node, above
    elif isinstance(node, promql_parser.MatrixSelector):
        yield node.vector_selector, above
    else:
        inside = (*above, node.func.name) if isinstance(node, promql_parser.Call) else above
        for name in ("expr", "lhs", "rhs", "param"):
            if getattr(node, name, None) is not None:
                yield from walk(getattr(node, name), inside)
        for argument in getattr(node, "args", ()):
            yield from walk(argument, inside)


def selectors(expression: str) -> list[tuple[str, dict[str, str], tuple[str, ...]]]:
    found = []
    for selector, above in walk(parsed(expression)):
        labels = {each.name: each.value for each in selector.matchers.matchers}
        found.append((str(selector.name), labels, above))
    return found


def variables(board: Json) -> dict[str, Json]:
    return {each["name"]: each for each in board["templating"]["list"]}


def test_the_walk_finds_every_selector() -> None:
    found = selectors(
        'topk(3, sum by (a) (rate(x_total{job=~"$job"}[$__rate_interval])) / (y > 0)) or max_over_time(z[5m:1m])'
    )
    assert [(name, above) for name, _, above in found] == [
        ("x_total", ("rate",)), ("y", ()), ("z", ("max_over_time",)),
    ]  # fmt: skip
    assert found[0][1] == {"job": "$job"}


@pytest.mark.parametrize("name", BOARDS)
def test_dashboard_is_addressable_and_closed(name: str) -> None:
    board = BOARDS[name]
    assert board["uid"] == f"swarmtap-{name}"
    assert board["title"].startswith("swarmtap / ")
    assert board["tags"] == ["swarmtap"]
    assert board["editable"] is False
    assert board["description"]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("name", BOARDS)
def test_panels_neither_overlap_nor_leave_the_page(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARDS[name]["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        taken |= cells


@pytest.mark.parametrize("name", BOARDS)
def test_variables_as_the_linter_wants_them(name: str) -> None:
    found = variables(BOARDS[name])
    assert (
        found["datasource"] | {"type": "datasource", "query": "prometheus", "label": "Data source"}
        == found["datasource"]
    )
    assert [each for each in found.values() if each["type"] == "datasource"] == [found["datasource"]]
    for each in found.values():
        if each["type"] != "query":
            continue
        wanted = {"multi": True, "includeAll": True, "allValue": ".+", "refresh": 2, "label": each["name"].capitalize()}
        assert each | wanted == each
        assert each["datasource"]["uid"] == "${datasource}"
        asked = re.fullmatch(r"label_values\((.+), (\w+)\)", each["query"]["query"])
        assert asked
        ((metric, _, _),) = selectors(asked[1])
        assert each["name"] == asked[2]
        assert asked[2] in {*next(m.labels for m in CATALOGUE if m.name == metric), "job", "instance"}
    assert {"job", "instance"} <= set(found)


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_panel_as_the_linter_wants_it(board: Json, panel: Json) -> None:
    assert board
    assert panel["datasource"]["uid"] == "${datasource}"
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["targets"]
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    references = [target["refId"] for target in panel["targets"]]
    assert references == sorted(set(references))
    assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
    if panel["type"] in {"timeseries", "state-timeline", "bargauge", "heatmap"}:
        assert all(target.get("legendFormat") for target in panel["targets"])


@pytest.mark.parametrize("target", TARGETS)
def test_target_as_the_linter_wants_it(target: Json) -> None:
    expression = target["expr"]
    assert "$" not in re.sub(r"\$(__rate_interval|__range|__interval|job|instance|site)\b", "", expression)
    found = selectors(expression)
    assert found
    for label in ("job", "instance"):
        assert expression.count(f'{label}=~"${label}"') == len(found)
    for metric, labels, above in found:
        assert labels["job"] == "$job", metric
        assert labels["instance"] == "$instance", metric
        if metric.endswith(("_total", "_bucket")):
            assert above[-1] in {"rate", "increase"}, f"{metric} is a counter"
        else:
            assert not {"rate", "irate", "increase"} & set(above), f"{metric} is a gauge"
    assert all(within == "$__rate_interval" for within in re.findall(r"rate\([^\[]*\[([^\]]+)\]", expression))


@pytest.mark.parametrize("target", TARGETS)
def test_legend_names_labels_that_the_query_keeps(target: Json) -> None:
    legend = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
    grouped = re.search(r"by \(([^)]+)\)", target["expr"])
    if grouped:
        assert legend <= {label.strip() for label in grouped[1].split(",")}


@pytest.mark.parametrize("name", BOARDS)
def test_variables_are_used_and_defined(name: str) -> None:
    board = BOARDS[name]
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps([board["panels"], board["annotations"]])))
    assert used == set(variables(board))


def asked(expressions: list[str]) -> set[str]:
    names = {name for expression in expressions for name, _, _ in selectors(expression)}
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def test_every_metric_is_drawn_and_none_but_those() -> None:
    drawn = asked([target["expr"] for param in PANELS for target in param.values[1]["targets"]])
    told = asked([
        rule["expr"]
        for path in tree.files()
        if path.parts[:2] == ("rules", "prometheus")
        for group in yaml.safe_load(tree.text(path))["groups"]
        for rule in group["rules"]
    ])  # fmt: skip
    names = {each.name for each in CATALOGUE}
    # An alert says that something is wrong, a panel since when: whoever comes for the one looks at the other.
    assert not names - drawn, "counted, and drawn nowhere"
    assert not {name for name in drawn | told if name.startswith("swarmtap_")} - names, "asked for, and never counted"


@pytest.mark.parametrize("name", BOARDS)
def test_every_panel_has_an_expectation(name: str) -> None:
    titles = [panel["title"] for panel in BOARDS[name]["panels"] if panel["type"] != "row"]
    assert sorted(titles) == sorted(EXPECTED[name]), "tests/live/test_stage.py says what each panel must show"


def test_scrape_interval_is_one() -> None:
    # Grafana derives $__rate_interval from its data source's interval; it must be the one that Prometheus keeps.
    source = yaml.safe_load(tree.text(FOLDER / "datasources" / "prometheus.yml"))["datasources"][0]
    prometheus = yaml.safe_load(tree.text(Path("packaging/prometheus.yml")))
    assert source["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"] == "15s"
    assert source["uid"] == "prometheus"
