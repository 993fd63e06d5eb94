"""The report in a real browser, offline: nothing asked for, nothing complained about, every chart there and at work."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sensor.sinks.report import page
from sensor.sinks.report.marks import Beside
from tests import cases
from tests.cases import NOON, SECOND

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.needs("chromium")

HOSTILE = "<script>alert('hi')</script><img src=x onerror=alert(1)>"
MB = 1_000_000
HOUR = 3600 * SECOND
# What a person can do something with, numbered in the order of the page; of tabs, one at a time can be reached.
MARK_TOOLS = """[...document.querySelectorAll('a[href], button, input, select, [tabindex]')]
  .filter(each => each.tabIndex >= 0 && !each.disabled && each.checkVisibility({visibilityProperty: true}))
  .forEach((each, at) => { each.dataset.tool = at; })"""
FAINT = """(() => {
  const parts = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(each => each / 255)
    .map(each => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)
    .reduce((sum, each, at) => sum + each * [0.2126, 0.7152, 0.0722][at], 0);
  const over = (top, under) => {
    const alpha = top[3] ?? 1;
    return [0, 1, 2].map(at => top[at] * alpha + under[at] * (1 - alpha));
  };
  const ground = each => {
    if (!each) return [255, 255, 255];
    const own = parts(getComputedStyle(each).backgroundColor);
    return own[3] === 0 ? ground(each.parentElement) : over(own, ground(each.parentElement));
  };
  const faint = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const each = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || each.closest('svg, script, style') || !each.checkVisibility()) continue;
    const style = getComputedStyle(each), under = ground(each);
    const [one, other] = [light(over(parts(style.color), under)), light(under)];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) faint.add(`${walker.currentNode.data.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return [...faint];
})()"""
CHARTS = ("svg.hours", "#throughput svg", "table.matrix", "svg.graph", "svg.spread", "#scans table", "#protocols svg")


def story() -> str:
    """Return a page with everything on it."""
    shake = {"swarm_hash": "aa" * 32, "orig_peer_id": "x", "resp_peer_id": "y", "resp_pieces": 3}
    flows = cases.flows(
        shake | {"resp_payload_bytes": 3 * MB, "resp_piece_bytes": 3 * MB, "off_window_payload_bytes": 3 * MB},
        shake | {"orig_ip": "10.2.0.9", "orig_site": "ber", "resp_payload_bytes": 9 * MB, "resp_piece_bytes": 9 * MB,
                 "start_ns": NOON + HOUR, "end_ns": NOON + 2 * HOUR, "community_id": "1:second"},
        {"orig_ip": "10.1.0.77", "conn_state": "S0", "verdict": "too_little", "community_id": "1:third"},
        *({"orig_ip": "10.1.0.78", "resp_ip": f"10.1.9.{at}", "conn_state": "REJ", "community_id": f"1:no{at}"}
          for at in range(40)),
    )  # fmt: skip
    activity = cases.activity(
        {"payload_bytes": 3 * MB, "resp_payload_bytes": 3 * MB, "off_window_payload_bytes": 3 * MB},
        {"window_start_ns": NOON + HOUR, "last_ts_ns": NOON + HOUR, "payload_bytes": 9 * MB, "flow": 1,
         "resp_payload_bytes": 9 * MB, "orig_site": "ber", "site": "ber", "schedule": "open"},
    )  # fmt: skip
    incidents = (
        cases.incident(reason=f"{HOSTILE} moved 3.0 MB", payload_bytes=3 * MB),
        cases.incident(id="r01-1", rule="r01_horizontal_scan", level="high", reason="10.1.0.78 asked 40 hosts",
                       subject={"orig_ip": "10.1.0.78"}, evidence=(cases.evidence(flow=3, community_id="1:no0"),)),
    )  # fmt: skip
    policy = replace(cases.POLICY, source=HOSTILE)
    case = cases.case(flows=flows, activity=activity, incidents=incidents, policy=policy)
    slots = {"hq": np.array([[NOON + 8 * HOUR, NOON + 14 * HOUR]]), "ber": np.empty((0, 2), dtype=np.int64)}
    return page.page(replace(case, off_window_payload_bytes={"hq": 3 * MB}), Beside(slots=slots))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    # pyshark leaves a watcher of child processes behind that only works in the loop it was made for.
    if sys.version_info < (3, 12):
        asyncio.set_child_watcher(asyncio.ThreadedChildWatcher())
    with playwright.sync_playwright() as engine:
        made = engine.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    (folder / "report.html").write_text(story(), encoding="utf-8")
    return folder


@pytest.fixture(params=["light", "dark"])
def opened(browser: Any, folder: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Open the page with the network off; fail on any complaint and any request but for the page itself."""
    context = browser.new_context(color_scheme=request.param, offline=True, viewport={"width": 1280, "height": 860})
    tab = context.new_page()
    complaints: list[str] = []
    asked: list[str] = []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("dialog", lambda dialog: complaints.append(dialog.message))
    tab.on("request", lambda asking: asked.append(asking.url))
    url = (folder / "report.html").as_uri()
    tab.goto(url)
    yield tab
    assert complaints == []
    assert asked == [url]
    context.close()


def shown(tab: Any, selector: str) -> list[str]:
    told: list[str] = tab.locator(selector).filter(visible=True).all_inner_texts()
    return told


def test_every_chart_is_there(opened: Any) -> None:
    for chart in CHARTS:
        box = opened.locator(chart).filter(visible=True).first.bounding_box()
        assert box["width"] > 100, chart
        assert box["height"] > 5, chart
    first = opened.locator("#calendar, #levels, #off")
    assert all(first.nth(at).bounding_box()["y"] < 860 for at in range(3))
    assert opened.locator("header h1").inner_text().startswith("Off policy: 1 high and 1 medium incidents.")


def test_slots_are_drawn_over_the_calendar(opened: Any) -> None:
    # Open 20:00 to 02:00 UTC, which is 21:00 to 03:00 in Berlin: three hours on the first day.
    box = opened.locator("svg.hours .outline").first.bounding_box()
    hour = opened.locator("svg.hours .empty").first.bounding_box()["width"] / 24
    assert box["width"] / hour == pytest.approx(3, abs=0.15)


def test_hostile_text_shows_as_text(opened: Any) -> None:
    assert f"{HOSTILE} moved 3.0 MB" in opened.locator("#incidents").inner_text()
    assert HOSTILE in opened.locator("header").inner_text()
    assert opened.locator("img").count() == 0


def test_sites_take_turns_in_the_calendar(opened: Any) -> None:
    assert "hq: scheduled" in shown(opened, "figure[role=tabpanel]")[0]
    opened.get_by_role("tab", name="hq").press("ArrowRight")
    [left] = shown(opened, "figure[role=tabpanel]")
    assert "ber: disabled" in left


def test_incidents_are_filtered_by_level_and_words(opened: Any) -> None:
    assert len(shown(opened, "article")) == 2
    opened.locator("input[data-level=medium]").uncheck()
    assert [told.split("\n")[0] for told in shown(opened, "article")] == ["10.1.0.78 asked 40 hosts"]
    opened.locator("#incident-find").fill("nowhere")
    assert shown(opened, "article") == []
    assert opened.locator("#incident-count").inner_text() == "0 of 2 shown"


def test_tables_sort_both_ways(opened: Any) -> None:
    column = "#scans tbody td:nth-child(3)"
    head = opened.locator("#scans th button", has_text="hosts tried")
    head.click()
    assert shown(opened, column) == ["40", "1"]
    head.click()
    assert shown(opened, column) == ["1", "40"]
    assert opened.locator("#scans th[aria-sort]").get_attribute("aria-sort") == "ascending"


def test_flows_are_paged_sorted_and_searched(opened: Any) -> None:
    rows = "#flow-table tbody tr"
    assert opened.locator(rows).count() == 25
    assert opened.locator("#flow-count").inner_text() == "43 of 43 flows; 1 to 25 shown"
    opened.locator("#flow-on").click()
    assert opened.locator(rows).count() == 18
    opened.locator("#flow-table th button", has_text="received").click()
    assert opened.locator(f"{rows}:first-child td:nth-child(11)").inner_text() == "9.0 MB"
    opened.locator("#flow-find").fill("10.1.0.77 s0")
    assert opened.locator(rows).count() == 1
    opened.locator("#flow-find").fill("")
    opened.locator("#flow-off").check()
    assert opened.locator(f"{rows} td:nth-child(12)").all_inner_texts() == ["3.0 MB"]


def test_incident_and_host_lead_to_their_flows(opened: Any) -> None:
    opened.locator("article button.flow", has_text="1:no0").click()
    assert opened.locator("#flow-table tbody tr").count() == 1
    opened.locator("svg.graph .node[data-find='10.2.0.9']").press("Enter")
    assert "10.2.0.9" in opened.locator("#flow-table tbody tr").inner_text()


def test_light_and_dark_change_places(opened: Any) -> None:
    def page_is() -> str:
        colour: str = opened.evaluate("getComputedStyle(document.body).backgroundColor")
        return colour

    before = page_is()
    opened.locator("#theme").click()
    assert {before, page_is()} == {"rgb(255, 255, 255)", "rgb(15, 19, 25)"}


def test_keyboard_reaches_every_tool_in_the_order_of_the_page(opened: Any) -> None:
    opened.evaluate(MARK_TOOLS)
    reached: list[int] = []
    for _ in range(400):
        opened.keyboard.press("Tab")
        at = opened.evaluate("document.activeElement.dataset.tool")
        if at is None:
            break
        reached.append(int(at))
    assert reached == list(range(opened.locator("[data-tool]").count()))
    kinds = {opened.locator(f"[data-tool='{at}']").evaluate("each => each.localName") for at in reached}
    assert kinds >= {"a", "button", "input"}
    # Sorting and filtering by keys alone.
    opened.locator("#scans th button", has_text="hosts tried").focus()
    opened.keyboard.press("Enter")
    assert shown(opened, "#scans tbody td:nth-child(3)") == ["40", "1"]
    opened.locator("input[data-level=medium]").focus()
    opened.keyboard.press("Space")
    assert len(shown(opened, "article")) == 1


def test_screen_reader_is_told_a_name_for_everything(opened: Any) -> None:
    tree = opened.context.new_cdp_session(opened).send("Accessibility.getFullAXTree")["nodes"]
    told = [
        (node["role"]["value"], node.get("name", {}).get("value", "").strip())
        for node in tree
        if not node["ignored"] and "role" in node
    ]
    wanting_name = {"link", "button", "checkbox", "searchbox", "textbox", "tab", "tabpanel", "img", "image", "table",
                    "columnheader", "heading", "region", "navigation", "combobox", "graphics-document"}  # fmt: skip
    assert [role for role, name in told if role in wanting_name and not name] == []
    roles = {role for role, _ in told}
    assert roles >= {"main", "navigation", "heading", "table", "columnheader", "button", "tab", "checkbox"}
    levels = opened.locator("h1, h2, h3, h4").evaluate_all("all => all.map(each => Number(each.localName[1]))")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert opened.locator("html").get_attribute("lang") == "en"


def test_text_stands_out(opened: Any) -> None:
    # WCAG 2.2, 1.4.3: 4.5 to 1, or 3 to 1 where letters are large.
    assert opened.evaluate(FAINT) == []


def test_print_shows_every_site_and_no_tools(opened: Any) -> None:
    opened.emulate_media(media="print")
    assert len(shown(opened, "figure[role=tabpanel]")) == 2
    assert shown(opened, ".tools, nav, .tabs") == []


def test_ten_thousand_flows_are_small_and_all_there(browser: Any, tmp_path: Path) -> None:
    # How long Chromium takes to open it is a benchmark: python -m tests.bench.case --part page
    made = page.page(cases.large(10_000))
    assert len(made.encode()) < 6 * MB
    (tmp_path / "report.html").write_text(made, encoding="utf-8")
    tab = browser.new_page()
    tab.goto((tmp_path / "report.html").as_uri())
    assert tab.locator("#flow-count").inner_text() == "10,000 of 10,000 flows; 1 to 25 shown"
    tab.locator("#flow-find").fill("1:000000000000000000000009999=")
    assert tab.locator("#flow-count").inner_text().startswith("1 of 10,000 flows")
    tab.close()
