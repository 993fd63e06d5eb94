"""Who gave to whom: by direction of the bytes, not by who connected."""

from __future__ import annotations

import re

from sensor.sinks.report import peers
from tests import cases

MB = 1_000_000


def test_matrix_says_who_gave() -> None:
    activity = cases.activity(
        {"orig_site": "hq", "resp_site": "ber", "orig_payload_bytes": 1000, "resp_payload_bytes": 69_000,
         "off_window_payload_bytes": 70_000},
        {"orig_site": "ber", "resp_site": "hq", "orig_payload_bytes": 30_000},
    )  # fmt: skip
    made = peers.matrix(cases.case(activity=activity))
    rows = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in re.findall(r"<tr>(.*?)</tr>", made)]
    assert rows == [
        ["gives ↓ takes →", "ber", "hq"],
        ["ber", "-", "99.0 kB<small>69.0 kB off schedule</small>"],
        ["hq", "1.0 kB<small>1.0 kB off schedule</small>", "-"],
    ]
    assert peers.matrix(cases.case(activity=cases.activity({}))) == ""


def test_graph_draws_gifts_and_not_the_requests_for_them() -> None:
    flows = cases.flows(
        {"orig_payload_bytes": 500, "resp_payload_bytes": 9 * MB, "off_window_payload_bytes": 9 * MB},
        {"orig_ip": "10.2.0.1", "orig_site": "ber", "orig_payload_bytes": 4 * MB},
    )
    made = peers.graph(cases.case(flows=flows))
    assert re.findall(r'class="edge (\w+)"[^>]*><title>(.*?)</title>', made) == [
        ("off", "10.1.0.6 gave 10.1.0.5 9.0 MB"),
        ("in", "10.2.0.1 gave 10.1.0.6 4.0 MB"),
    ]
    assert re.findall(r'data-find="(.*?)"', made) == ["10.2.0.1", "10.1.0.5", "10.1.0.6"]
    assert peers.graph(cases.case(flows=cases.flows({}))) == ""


def test_graph_is_bounded_and_keeps_what_is_off_schedule() -> None:
    rows = [
        {"orig_ip": f"10.1.1.{at}", "resp_ip": f"10.1.2.{at}", "resp_payload_bytes": (at + 1) * MB} for at in range(50)
    ]
    rows[0]["off_window_payload_bytes"] = 5
    made = peers.graph(cases.case(flows=cases.flows(*rows)))
    shown = re.findall(r'data-find="(.*?)"', made)
    assert len(shown) == 60
    assert {"10.1.1.0", "10.1.2.0", "10.1.1.49"} <= set(shown)
    assert "10.1.1.1" not in shown
    assert "40 are not" in made
