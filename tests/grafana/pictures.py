"""Draws dashboards with Grafana's own components: `python -m tests.grafana.pictures FOLDER`, once per release.

The stage of tests/live gives the data: a sensor that replays the sample week, and a Prometheus that scraped it and has
the week's case at capture time. The sensor's own page is pictured, too. Needs
`npm`, `prometheus`, `prometheus-alertmanager` and a Chromium; packages and pictures go to FOLDER, the pictures of docs/
are made smaller from there. Two kinds of panel are in no package: a state timeline is drawn as steps, a heat map not.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.house import tree
from tests.live.panels import View
from tests.live.stage import SCRAPE_S, Stage, get, until
from tests.live.stage import WEEK as OFFICE

HERE = Path(__file__).parent
DRAWN = ("overview", "site", "swarms", "health", "case")
WEEK = (1_780_876_800.0, 1_781_481_600.0)  # 2026-06-08 to 2026-06-15 UTC: the case of the sample week, back-filled
WEEK_STEP_S = 900.0
WIDTH = 1440
CHROMIUM = "/usr/bin/chromium"


def legend(target: dict[str, Any], labels: dict[str, str]) -> str:
    written = target.get("legendFormat", "")
    return re.sub(r"\{\{(\w+)\}\}", lambda name: labels.get(name[1], ""), written)


def filled(pairs: list[tuple[float, str]], view: View) -> list[tuple[float, str]]:
    """Return a value or nothing for each step, as Grafana does: a line then ends where its series does."""
    known = {round((at - view.start) / view.scrape_s): number for at, number in pairs if number != "NaN"}
    steps = range(int((view.end - view.start) / view.scrape_s) + 1)
    return [(view.start + step * view.scrape_s, known.get(step, "")) for step in steps]


def answered(stage: Stage, panel: dict[str, Any], view: View) -> list[dict[str, Any]]:
    """Return a panel's series: the legend, labels, and pairs of milliseconds and number."""
    series = []
    for target in panel["targets"]:
        expression = view.resolved(target["expr"])
        if target["instant"]:
            found = [(each["metric"], [each["value"]]) for each in stage.query(expression, view.end)]
        else:
            ranged = stage.query_range(expression, view.start, view.end, view.scrape_s)
            found = [(each["metric"], filled(each["values"], view)) for each in ranged]
        series += [
            {
                "name": legend(target, labels),
                "labels": {key: value for key, value in labels.items() if key not in ("job", "instance", "__name__")},
                "values": [[at * 1000, float(number)] if number else [at * 1000, None] for at, number in pairs],
            }
            for labels, pairs in found
        ]
    return series


def data(folder: Path) -> dict[str, Any]:
    boards = {}
    with Stage(folder, backfilled=OFFICE) as stage:
        landing(stage, folder.parent / "landing.png")
        stage.wait_for_end()
        for name in DRAWN:
            view = View(*WEEK, WEEK_STEP_S) if name == "case" else View(stage.began, stage.ended, SCRAPE_S)
            board = json.loads(tree.text(Path(f"grafana/dashboards/{name}.json")))
            panels = [
                panel | {"series": answered(stage, panel, view) if panel["type"] != "row" else []}
                for panel in board["panels"]
            ]
            boards[name] = {
                "title": board["title"], "panels": panels, "from": view.start * 1000, "to": view.end * 1000,
            }  # fmt: skip
    return boards


def landing(stage: Stage, picture: Path) -> None:
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        until("an incident that is open", lambda: "Open incidents" in get(f"{stage.sensor}/"))
        page.goto(stage.sensor)
        page.screenshot(path=picture)
        browser.close()


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "vite.config.mjs", "index.html", "drawn.jsx"):
        shutil.copy(HERE / name, folder)
    stage = folder / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir()
    if not (folder / "node_modules").is_dir():
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--legacy-peer-deps"], cwd=folder, check=True)
    subprocess.run(["npx", "vite", "build"], cwd=folder, check=True)
    (folder / "dist" / "data.js").write_text(f"window.boards = {json.dumps(data(stage))};")
    with sync_playwright() as player:
        browser = player.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--allow-file-access-from-files"]
        )
        for name in DRAWN:
            page = browser.new_page(viewport={"width": WIDTH, "height": 900})
            page.on("pageerror", lambda error: sys.stderr.write(f"{error}\n"))
            page.goto(f"{(folder / 'dist' / 'index.html').as_uri()}#{name}")
            page.wait_for_selector("#drawn", timeout=60_000)
            page.wait_for_timeout(1500)
            page.screenshot(path=folder / f"{name}.png", full_page=True)
        browser.close()


if __name__ == "__main__":
    main()
