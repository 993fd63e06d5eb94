"""How contents spread: seeders, takers and times, from the direction of pieces."""

from __future__ import annotations

import re

import pandas as pd

from sensor.sinks.report import spread
from tests import cases
from tests.cases import NOON, SECOND

A = "aa" * 32
FLOW = {"swarm_hash": A, "orig_peer_id": "x", "resp_peer_id": "y", "resp_piece_bytes": 2_000_000, "resp_pieces": 2,
        "resp_payload_bytes": 2_000_100}  # fmt: skip


def cells(made: str) -> list[list[str]]:
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", made, re.DOTALL)]
    return [row for row in rows if row]


def test_first_seeder_gave_first() -> None:
    later = FLOW | {"start_ns": NOON + 60 * SECOND, "end_ns": NOON + 61 * SECOND, "off_window_payload_bytes": 1_000_050}
    later |= {"orig_ip": "10.1.0.7", "resp_ip": "10.1.0.5"}
    made = spread.spread(cases.case(flows=cases.flows(later, FLOW)))
    assert cells(made) == [
        [
            "aaaaaaaaaaaaaaaa…",
            "3",
            "10.1.0.6",
            "2026-03-10 12:00:00",
            "2026-03-10 12:01:01",
            "4",
            "4.0 MB",
            "1.0 MB",
            "-",
            "-",
        ]
    ]
    assert re.findall(r'class="gift (\w+)"><title>(.*?)</title>', made) == [
        ("in", "2026-03-10 12:00:00: 10.1.0.6 gave 10.1.0.5 2 pieces, 2.0 MB"),
        ("off", "2026-03-10 12:01:00: 10.1.0.5 gave 10.1.0.7 2 pieces, 2.0 MB, 1.0 MB of it off schedule"),
    ]
    assert "10.1.0.6 ★" in made


def test_what_was_given_again_is_the_ledgers() -> None:
    edges = pd.DataFrame({"swarm_hash": [A, A], "duplicate_bytes": [5_000_000, 1_000_000], "crossed_again": [2, 1]})
    made = spread.spread(cases.case(flows=cases.flows(FLOW), swarm_edges=edges))
    assert cells(made)[0][-2:] == ["6.0 MB", "3"]


def test_handshake_without_a_piece_and_no_handshake_at_all() -> None:
    made = spread.spread(cases.case(flows=cases.flows({"swarm_hash": A, "orig_peer_id": "x"})))
    assert cells(made) == [["aaaaaaaaaaaaaaaa…", "1", *"--------"]]
    assert "<svg" not in made
    assert spread.spread(cases.case(flows=cases.flows({}))) == ""


def test_drawings_are_bounded() -> None:
    rows = [FLOW | {"swarm_hash": f"{at:064x}", "resp_piece_bytes": at + 1} for at in range(9)]
    rows += [FLOW | {"orig_ip": f"10.1.3.{at}"} for at in range(40)]
    made = spread.spread(cases.case(flows=cases.flows(*rows)))
    assert made.count("<svg") == 6
    assert "17 peers not drawn" in made
