"""A query can only name what the catalogue has; a panel says what Grafana needs to draw it."""

from __future__ import annotations

import pytest

from sensor import panels
from sensor.panels import Query


def test_a_selector_narrows_to_what_is_chosen() -> None:
    assert panels.selector("swarmtap_capture_up") == 'swarmtap_capture_up{job=~"$job", instance=~"$instance"}'
    assert panels.selector("swarmtap_flows_total", within="5m", schedule="open") == (
        'swarmtap_flows_total{job=~"$job", instance=~"$instance", site=~"$site", schedule=~"open"}[5m]'
    )
    assert 'from_site=~"$site"' in panels.selector("swarmtap_site_pair_payload_bytes_total")


def test_a_selector_knows_the_series_of_a_histogram() -> None:
    assert panels.selector("swarmtap_flow_size_bytes_bucket", le="1000.0").startswith(
        "swarmtap_flow_size_bytes_bucket{"
    )
    with pytest.raises(KeyError):
        panels.selector("swarmtap_flow_size_bytes_buckets")


@pytest.mark.parametrize("metric", ["swarmtap_flow_total", "node_load1"])
def test_a_metric_that_does_not_exist_cannot_be_drawn(metric: str) -> None:
    with pytest.raises(KeyError):
        panels.selector(metric)


def test_a_label_that_does_not_exist_cannot_be_asked_for() -> None:
    with pytest.raises(KeyError, match="swarmtap_flows_total has no label direction"):
        panels.selector("swarmtap_flows_total", direction="to_responder")


def test_counters_are_asked_for_as_rates_and_growth() -> None:
    chosen = 'swarmtap_weird_total{job=~"$job", instance=~"$instance"}'
    assert panels.rate("swarmtap_weird_total", "kind") == f"sum by (kind) (rate({chosen}[$__rate_interval]))"
    assert panels.grown("swarmtap_weird_total", "kind") == f"sum by (kind) (increase({chosen}[$__range]))"


def test_panels_flow_from_left_to_right_and_never_overlap() -> None:
    query = Query("vector(1)")
    drawn = [panels.stat("a", "b", "short", query), panels.series("c", "d", "short", query, width=20), panels.row("e")]
    made = panels.dashboard("uid", "title", "about", drawn)["panels"]
    assert [panel["gridPos"] for panel in made] == [
        {"x": 0, "y": 0, "w": 6, "h": 4},
        {"x": 0, "y": 4, "w": 20, "h": 8},
        {"x": 0, "y": 12, "w": 24, "h": 1},
    ]
    assert [panel["id"] for panel in made] == [1, 2, 3]


def test_a_panel_says_how_its_values_look() -> None:
    look = {"steps": ((1.0, "red"),), "names": (("0", "no", "red"),), "decimals": 1, "most": 5.0}
    drawn = panels.stat("a", "b", "bytes", Query("vector(1)", "{{x}}", instant=True), **look)
    panel = panels.dashboard("uid", "title", "about", [drawn])["panels"][0]
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["thresholds"]["steps"] == [{"value": None, "color": "green"}, {"value": 1.0, "color": "red"}]
    assert defaults["mappings"][0]["options"] == {"0": {"text": "no", "color": "red", "index": 0}}
    assert (defaults["unit"], defaults["decimals"], defaults["max"]) == ("bytes", 1, 5.0)
    assert (panel["targets"][0]["instant"], panel["targets"][0]["legendFormat"]) == (True, "{{x}}")


def test_a_table_shows_labels_and_a_named_value() -> None:
    drawn = panels.table("a", "b", "short", Query("vector(1)", instant=True), value="found")
    panel = panels.dashboard("uid", "title", "about", [drawn], site=False)["panels"][0]
    assert panel["targets"][0]["format"] == "table"
    assert panel["transformations"][0]["options"]["renameByName"] == {"Value": "found"}


def test_a_dashboard_without_sites_has_no_variable_for_them() -> None:
    names = [
        [each["name"] for each in panels.dashboard("u", "t", "d", [], site=site)["templating"]["list"]]
        for site in (True, False)
    ]
    assert names == [["datasource", "job", "instance", "site"], ["datasource", "job", "instance"]]
