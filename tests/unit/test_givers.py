"""Who gives most, counted by hand."""

from __future__ import annotations

from sensor.givers import DAY_NS, Giver, Givers
from tests import cases

DAY = cases.NOON // DAY_NS


def test_the_first_giver_of_each_site_and_what_its_share_is() -> None:
    givers = Givers()
    givers.push(
        cases.activity(
            {"orig_ip": "10.1.0.5", "resp_ip": "10.1.0.6", "resp_piece_bytes": 300},
            {"orig_ip": "10.1.0.7", "resp_ip": "10.1.0.6", "resp_piece_bytes": 300},
            {"orig_ip": "10.1.0.8", "resp_ip": "10.1.0.9", "orig_piece_bytes": 200},
            {"orig_ip": "10.2.0.1", "resp_ip": "10.1.0.9", "orig_site": "ber", "orig_piece_bytes": 50},
            {"orig_ip": "10.1.0.20", "resp_ip": "10.1.0.21"},
        )
    )
    assert givers.over(DAY) == {"hq": Giver("10.1.0.6", 600, 0.75, 5), "ber": Giver("10.2.0.1", 50, 1.0, 1)}
    assert givers.over(DAY) == {}


def test_a_day_is_a_day_and_ties_have_one_answer() -> None:
    givers = Givers()
    late = {"window_start_ns": cases.NOON + DAY_NS, "resp_piece_bytes": 7}
    givers.push(
        cases.activity(
            {"resp_ip": "10.1.0.6", "resp_piece_bytes": 5},
            {"resp_ip": "10.1.0.7", "resp_piece_bytes": 5},
            {**late, "resp_ip": "10.1.0.8"},
        )
    )
    assert givers.over(DAY)["hq"] == Giver("10.1.0.7", 5, 0.5, 3)
    assert givers.over(DAY + 1)["hq"].host == "10.1.0.8"
