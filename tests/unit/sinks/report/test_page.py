"""One page, whole and quiet: nothing fetched, nothing run but its own script, everything escaped."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from sensor.policy import Policy, Site
from sensor.sinks.report import page
from sensor.sinks.report.marks import Beside
from tests import cases

if TYPE_CHECKING:
    from pathlib import Path

VOID = {"meta", "input"}
EVIL = "<script>alert(1)</script>\"'&\x1b[2J\u202e$conclusion"


class Page(HTMLParser):
    """Holds the page to balanced tags, and collects its tags and text."""

    def __init__(self, said: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(said)
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
        if data.strip() and self.open[-1] not in {"style", "script"}:
            self.text.append(data.strip())


def sha(part: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()


def test_page_is_whole_and_needs_nothing_from_elsewhere() -> None:
    beside = Beside(files={"w01-0a1b2c": "evidence/w01-0a1b2c.pcap"})
    made = page.page(cases.case(incidents=(cases.incident(),)), beside)
    whole = Page(made)
    [style] = re.findall(r"<style>(.*?)</style>", made, re.DOTALL)
    data, script = re.findall(r"<script[^>]*>(.*?)</script>", made, re.DOTALL)
    policy = [attrs["content"] for tag, attrs in whole.tags if attrs.get("http-equiv")]
    assert policy == [
        f"default-src 'none'; style-src '{sha(style)}'; script-src '{sha(script)}'; base-uri 'none'; form-action 'none'"
    ]
    assert "<" not in data
    assert not {tag for tag, _ in whole.tags} & {"link", "img", "iframe", "object", "form", "base"}
    links = {attrs["href"] for tag, attrs in whole.tags if tag == "a"}
    assert {link for link in links if link and not link.startswith("#")} == {"evidence/w01-0a1b2c.pcap"}
    assert not re.search(r"https?:|@import|src=| on\w+=| style=", made)
    assert "prefers-color-scheme: dark" in made
    assert "@media print" in made


def test_conclusion_and_level_head_the_page() -> None:
    made = page.page(cases.case(incidents=(cases.incident(), cases.incident(level="high"))))
    assert '<header class="high">' in made
    assert "<h1>Off policy: 1 high and 1 medium incidents.</h1>" in made
    assert '<header class="quiet">' in page.page(cases.case())


def test_links_lead_to_sections_that_are_there() -> None:
    whole = Page(page.page(cases.case(incidents=(cases.incident(),))))
    names = {attrs["id"] for _, attrs in whole.tags if "id" in attrs}
    links = [attrs["href"] for tag, attrs in whole.tags if tag == "a"]
    assert all(link is not None and link.removeprefix("#") in names for link in links)


def test_hostile_text_is_text() -> None:
    case = cases.case(
        inputs=(cases.source(name=EVIL, damage=EVIL),),
        policy=Policy(sites=(Site("hq", ()),), source=EVIL),
        incidents=(cases.incident(title=EVIL, reason=EVIL, rule="w01_<b>", subject={"orig_ip": EVIL}, attack=(EVIL,)),),
        flows=cases.flows({"community_id": EVIL, "swarm_hash": EVIL, "orig_payload_bytes": 5}),
    )
    made = page.page(case, Beside(files={"w01-0a1b2c": EVIL}))
    assert [tag for tag, _ in Page(made).tags].count("script") == 2
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;&amp;\\x1b[2J\\u202e$conclusion" in made
    assert "\\u003cscript\\u003ealert(1)" in made
    assert not {"\x1b", "\u202e"} & set(made)


def test_inputs_are_not_in_the_page_unless_damaged() -> None:
    # How the packets were cut into files must not show: the same packets give the same page.
    made = page.page(cases.case(inputs=(cases.source(name="a.pcap"), cases.source(name="b.pcap", damage="cut off"))))
    assert "a.pcap" not in made
    assert "b.pcap" in made


def test_same_case_same_bytes(tmp_path: Path) -> None:
    page.write(tmp_path / "a.html", cases.case(incidents=(cases.incident(),)))
    page.write(tmp_path / "b.html", cases.case(incidents=(cases.incident(),)))
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_case_without_a_packet() -> None:
    empty = cases.case(
        inputs=(), packets=0, packets_7680=0, payload_bytes=0, flows=cases.flows(), activity=cases.activity(), peers=0,
        first_packet_ns=0, last_packet_ns=0,
    )  # fmt: skip
    whole = Page(page.page(empty))
    assert "No traffic on TCP 7680 in 0 packets." in whole.text
    assert "No traffic on TCP 7680." in whole.text
