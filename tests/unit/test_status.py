"""What `/status` tells of incidents and schedules: the worst first, in the site's own time."""

from __future__ import annotations

from sensor import status
from sensor.schedule import ALWAYS_NS, NEVER_NS, SiteState
from tests import cases
from tests.cases import NOON


def test_sites_in_their_own_time() -> None:
    closed = SiteState("hq", "scheduled", "Europe/Berlin", "closed", NOON, NEVER_NS)
    always = SiteState("lab", "allowed", "UTC", "allowed", ALWAYS_NS, NEVER_NS)
    told = status.sites((closed, always))
    assert told[0] == {
        "site": "hq",
        "peering": "scheduled",
        "timezone": "Europe/Berlin",
        "schedule": "closed",
        "since": "2026-03-10T13:00:00+01:00",
        "next_change": None,
    }
    assert (told[1]["since"], told[1]["schedule"]) == (None, "allowed")


def test_open_incidents_the_worst_first() -> None:
    found = [
        cases.incident(id="a", state="open", level="medium"),
        cases.incident(id="b", state="closed", level="critical"),
        cases.incident(id="c", state="ongoing", level="high", site="elsewhere"),
    ]
    told = status.incidents(found, {"hq": "Europe/Berlin"})
    assert [each["id"] for each in told] == ["c", "a"]
    assert told[1]["when"].startswith("Tue 2026-03-10 13:00-13:01 CET")
    assert told[0]["when"].endswith("UTC")


def test_no_more_than_a_page_of_incidents() -> None:
    assert len(status.incidents([cases.incident(id=str(at), state="open") for at in range(500)], {})) == 100


def test_instants() -> None:
    assert status.instant(NOON) == "2026-03-10T12:00:00+00:00"
    assert status.instant(None) is None
