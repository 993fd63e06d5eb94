"""One page, whole and quiet: nothing fetched, nothing run, everything escaped, the case's own numbers in it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from sensor.policy import Policy, Site
from sensor.sinks import report
from tests import cases
from tests.cases import NOON, SECOND

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 3600 * SECOND
VOID = {"meta", "rect", "circle"}


class Page(HTMLParser):
    """Holds the page to balanced tags, and collects its tags and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open[-1] != "style":
            self.text.append(data.strip())


def rows(page: str, title: str) -> list[list[str]]:
    section = page.split(f"<h2>{title}</h2>")[1].split("</section>", maxsplit=1)[0]
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in re.findall(r"<tr>(.*?)</tr>", section)]
    assert cells
    return cells


def test_page_is_whole_and_needs_nothing_from_elsewhere() -> None:
    made = report.page(cases.case(incidents=(cases.incident(),)))
    page = Page(made)
    policy = [attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv")]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "a", "form"}
    assert not re.search(r"https?:|url\(|@import|src=| on\w+=", made)
    assert "prefers-color-scheme: dark" in made
    assert "@media print" in made
    assert "$" not in made


def test_conclusion_and_level_head_the_page() -> None:
    made = report.page(cases.case(incidents=(cases.incident(), cases.incident(level="high"))))
    assert '<header class="high">' in made
    assert "<h1>Off policy: 1 high and 1 medium incidents.</h1>" in made
    assert '<header class="quiet">' in report.page(cases.case())


def test_incident_is_told_with_reason_time_and_flow() -> None:
    page = Page(report.page(cases.case(incidents=(cases.incident(confidence=0.5, attack=("T1046",)),))))
    assert "3.0 MB of unique payload while hq was closed" in page.text
    when = "Tue 2026-03-10 13:00-13:01 CET (12:00 UTC)"
    assert f"hq · within hq · {when} · 2 flows · 3.0 MB · confidence 50% · closed · T1046" in page.text
    assert "1:beV1u+LD013n0TD913ZJfaMWp+Y=" in page.text


def test_many_alike_are_folded_and_more_are_counted() -> None:
    many = tuple(cases.incident(id=str(at)) for at in range(130))
    made = report.page(cases.case(incidents=many))
    Page(made)
    assert made.count("<article>") == 100
    assert "<summary>127 more</summary>" in made
    assert "and 30 more in <code>incidents.json</code>" in made


def test_hostile_text_is_text() -> None:
    evil = "<script>alert(1)</script>\"'&\x1b[2J\u202e$conclusion"
    case = cases.case(
        inputs=(cases.source(name=evil, damage=evil),),
        policy=Policy(sites=(Site("hq", ()),), source=evil),
        incidents=(cases.incident(title=evil, reason=evil, rule="w01_<b>", subject={"orig_ip": evil}, attack=(evil,)),),
    )
    made = report.page(case)
    assert "script" not in {tag for tag, _ in Page(made).tags}
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;&amp;\\x1b[2J\\u202e$conclusion" in made
    assert not {"\x1b", "\u202e"} & set(made)


def test_map_has_a_cell_per_hour_with_payload_in_local_time() -> None:
    activity = cases.activity(
        {"window_start_ns": NOON, "payload_bytes": 1000},
        {"window_start_ns": NOON + 10 * SECOND, "payload_bytes": 2000},
        {"window_start_ns": NOON + 13 * HOUR, "payload_bytes": 5_000_000, "off_window_payload_bytes": 4_000_000},
    )
    berlin = Policy(sites=(Site("hq", (), timezone="Europe/Berlin"),))
    made = report.page(cases.case(activity=activity, policy=berlin))
    titles = re.findall(r'<g class="(\w+)"><title>(.*?)</title><rect[^>]*fill-opacity="([\d.]+)"', made)
    assert titles == [
        ("in", "2026-03-10 Tue 13:00: 3.0 kB", "0.64"),
        ("off", "2026-03-11 Wed 02:00: 5.0 MB, 4.0 MB of it off schedule", "1.00"),
    ]
    assert made.count("<circle") == 1
    assert "Hours in Europe/Berlin" in made
    assert "Hours in UTC" in report.page(cases.case(activity=activity))  # sites of several zones


def test_map_is_bounded() -> None:
    days = cases.activity(*({"window_start_ns": NOON + day * 24 * HOUR, "payload_bytes": 1} for day in range(70)))
    made = report.page(cases.case(activity=days))
    assert made.count("<title>2026-") == 62
    assert "The 8 days before are not shown." in made


def test_matrix_says_who_gave() -> None:
    activity = cases.activity(
        {"orig_site": "hq", "resp_site": "ber", "orig_payload_bytes": 1000, "resp_payload_bytes": 70_000},
        {"orig_site": "ber", "resp_site": "hq", "orig_payload_bytes": 30_000},
    )
    assert rows(report.page(cases.case(activity=activity)), "Who gave to whom") == [
        ["from ↓ to →", "ber", "hq"],
        ["ber", "0 B", "100 kB"],
        ["hq", "1.0 kB", "0 B"],
    ]


def test_sites_protocols_health_and_inputs() -> None:
    made = report.page(
        cases.case(
            activity=cases.activity({"schedule": "closed", "payload_bytes": 7000}),
            flows=cases.flows({"verdict": "tls", "orig_gap_bytes": 9, "orig_payload_bytes": 7000}),
            weird={"tso_length": 4},
        )
    )
    assert rows(made, "Sites and schedules")[1] == ["hq", "scheduled", "Europe/Berlin", "1", "7.0 kB"]
    assert rows(made, "What the flows speak")[1] == ["tls", "1", "7.0 kB"]
    assert ["acknowledged but never seen", "9 B"] in rows(made, "Capture health")
    assert ["tso length", "4"] in rows(made, "Capture health")
    assert rows(made, "Inputs")[1] == [
        "office.pcap",
        "pcap",
        "Tue 2026-03-10 12:00-13:00 UTC",
        "-",
        "cd" * 32,
        "5.0 kB",
        "100",
    ]


def test_same_case_same_bytes(tmp_path: Path) -> None:
    report.write(tmp_path / "a.html", cases.case(incidents=(cases.incident(),)))
    report.write(tmp_path / "b.html", cases.case(incidents=(cases.incident(),)))
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_case_without_a_packet() -> None:
    empty = cases.case(
        inputs=(), packets=0, packets_7680=0, payload_bytes=0, flows=cases.flows(), activity=cases.activity(), peers=0,
        first_packet_ns=0, last_packet_ns=0,
    )  # fmt: skip
    page = Page(report.page(empty))
    assert "No traffic on TCP 7680 in 0 packets." in page.text
    assert "Payload by hour" not in page.text
