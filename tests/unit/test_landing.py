"""The page says what is open and when sites are, and shows hostile words as words."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

from sensor import landing

INCIDENT = {
    "id": "a", "level": "high", "rule": "w04_transfer_while_disabled", "title": "Data where peering is disabled",
    "site": "hq", "subject": "10.1.0.5 → 10.1.0.6", "when": "Tue 2026-03-10 13:00-13:01 CET (12:00 UTC)", "flows": 2,
    "payload_bytes": 3_000_000, "reason": "3.0 MB while closed", "confidence": 1.0,
}  # fmt: skip
SITE = {
    "site": "hq", "peering": "scheduled", "timezone": "Europe/Berlin", "schedule": "closed",
    "since": "2026-03-10T06:05:00+01:00", "next_change": None,
}  # fmt: skip
STATUS: dict[str, Any] = {
    "packets": 12_345, "flows": 3, "judged_until": "2026-03-10T12:00:10+00:00", "open_incidents": [INCIDENT],
    "sites": [SITE],
}  # fmt: skip


class Reader(HTMLParser):
    """Text of a page, and whether its elements are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not any(name.startswith("on") or name == "src" for name, _ in attrs)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open and data.strip():
            self.words.append(data.strip())


def read(status: dict[str, Any], *, ready: bool = True) -> list[str]:
    reader = Reader()
    reader.feed(landing.page(status, ready=ready))
    assert reader.open == []
    return reader.words


def test_incidents_and_schedule() -> None:
    told = read(STATUS)
    assert told[0] == "1 incident open · swarmtap"
    for words in ("12,345 packets · 3 flows now · judged until 2026-03-10 12:00 UTC", "3.0 MB while closed", "3.0 MB"):
        assert words in told
    row = told[told.index("Time zone") + 1 :][:5]
    assert row == ["hq", "closed", "2026-03-10 06:05", "never", "Europe/Berlin"]


def test_nothing_yet() -> None:
    told = read({}, ready=False)
    assert "No incident is open" in told
    assert "; the sensor is not ready yet." in told
    assert "Open incidents" not in told
    assert "Schedule" not in told


def test_words_of_the_network_are_words() -> None:
    hostile = dict.fromkeys(("site", "title", "reason", "subject", "when", "level"), '<script>alert("x")</script>')
    page = landing.page(STATUS | {"open_incidents": [INCIDENT | hostile]}, ready=True)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 7  # the level is a class too
    read(STATUS | {"open_incidents": [INCIDENT | hostile]})


def test_nothing_is_asked_from_elsewhere() -> None:
    page = landing.page(STATUS, ready=True)
    assert not re.search(r"https?://|<script|<link|<img|@import|url\(", page)
