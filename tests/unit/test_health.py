"""What is missing is weighed, said once, and said again when it is over."""

from __future__ import annotations

import pandas as pd
import pytest

from sensor.health import Health
from sensor.sources.ring import RingFacts

HOUR = 3600 * 1_000_000_000


def ended(count: int, *, payload: int = 1000, gap: int = 0, one_sided: bool = False, state: str = "SF") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "one_sided": [one_sided] * count,
            "conn_state": pd.Categorical([state] * count),
            "payload_bytes": [payload] * count,
            "gap_bytes": [gap] * count,
        }
    )


def test_payload_that_was_acknowledged_but_never_seen() -> None:
    health = Health()
    health.weigh(ended(9, gap=250), HOUR)
    assert (health.loss, health.notices) == (0.0, [])  # too few to tell
    health.weigh(ended(1, gap=250), HOUR)
    assert (health.gap_ratio, health.loss) == (pytest.approx(0.2), pytest.approx(0.2))
    said = "20.0% of the payload of 10 flows within the hour was acknowledged but never seen: the mirror loses packets"
    assert health.take_notices() == [said]
    health.weigh(ended(1, gap=250), HOUR + 1)
    assert not health.take_notices()
    health.weigh(ended(0), 2 * HOUR)
    health.weigh(ended(0), 2 * HOUR + 1)
    assert (health.take_notices(), health.loss) == (["what is acknowledged is seen again"], 0.0)


def test_flows_that_show_one_direction_only() -> None:
    health = Health()
    health.weigh(ended(50, payload=0, one_sided=True, state="S0"), HOUR)  # attempts have one direction by nature
    health.weigh(ended(15), HOUR)
    health.weigh(ended(5, one_sided=True, gap=10**9, state="OTH"), HOUR)
    assert health.one_sided_ratio == 0.25
    assert health.gap_ratio == 0.0  # the side that was not shown is no gap
    assert health.loss == pytest.approx(0.125)
    assert health.take_notices() == [
        "25% of 20 flows within the hour showed one direction only; does the mirror show both?"
    ]
    health.weigh(ended(20), HOUR)
    assert health.take_notices() == ["both directions of flows are seen again"]


def test_what_the_kernel_dropped_since_the_last_look() -> None:
    health = Health()
    health.look({"eth0": RingFacts(received=1000, drops=100, is_up=True)}, 0.0)
    assert health.take_notices() == ["the kernel dropped 100 packets of 1,000: what was not seen cannot be told"]
    assert health.loss == pytest.approx(0.1)
    health.look({"eth0": RingFacts(received=2000, drops=100, is_up=True)}, 1.0)
    assert (health.loss, health.take_notices()) == (0.0, [])


def test_everything_that_is_missing_counts() -> None:
    health = Health()
    health.weigh(ended(20, gap=1000), HOUR)
    health.weigh(ended(20, one_sided=True, state="OTH"), HOUR)
    health.look({"eth0": RingFacts(received=100, drops=50, is_up=True)}, 0.0)
    assert health.loss == pytest.approx(1 - 0.5 * 0.5 * 0.75)


def test_a_link_that_is_up_and_shows_nothing() -> None:
    health = Health(silent_s=60)

    def look(frames: int, now_s: float, *, up: bool = True) -> tuple[bool, list[str]]:
        health.look({"eth0": RingFacts(link_packets=frames, is_up=up)}, now_s)
        return health.is_silent("eth0"), health.take_notices()

    assert look(7, 0) == (False, [])
    assert look(7, 59) == (False, [])
    silent = "eth0: no frame at all for 1 min while the link is up; is it still the mirror's port?"
    assert look(7, 60) == (True, [silent])
    assert look(7, 600) == (True, [])
    assert look(8, 601) == (False, ["eth0: frames come again"])
    assert look(8, 700) == (True, [silent])
    assert look(8, 701, up=False) == (False, ["eth0: went down"])
    assert look(8, 760, up=True) == (False, [])
    assert not health.is_silent("eth1")
