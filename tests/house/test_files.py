"""Names, sizes and addresses of the project's files."""

from __future__ import annotations

import re
from pathlib import Path

from tests.house import tree

VAGUE = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}
LONG = 300  # twice what a file aims at wants a reason
REASONS = {
    "carve.py": "two readings of the same packets, and what both know of a piece",
    "activity.py": "one join of five tables; its parts would pass each other the same columns",
    "spans.py": "hours, days and slots are counted in one walk, and remembered together",
    "samples/annex.py": "the stories of the annex, side by side",
    "samples/borders.py": "the near misses, side by side",
    "sources/filter.py": "one program for the kernel, jump by jump",
    "sources/ring.py": "one ring: how it is opened, read and told of",
    "watching.py": "one run of the sensor, from its start to its end",
    "capturing.py": "both ends of one pipe",
    "mdns.py": "a message, its records, and what they make of a host",
    "cli.py": "every command's options and help, and nothing else",
    "incidents.py": "one life of an incident: opened, gone on with, closed, taken up again",
    "kernels/headers.py": "one pass over a frame, from its link to its TCP header",
    "kernels/records.py": "two formats, and the wide walk of one, over the same readers of numbers",
    "dashboards.py": "five dashboards, each a list of panels",
    "dissect.py": "the oracle of the fast lane: every header in one place, written twice on purpose",
    "inspecting.py": "one conversation as a tree, and the words for all that can be in it",
    "panels.py": "one kind of panel after another, and what they share",
    "pipeline.py": "the one place that knows the order",
    "schedule.py": "slots, their algebra and what is asked of them share one structure",
    "schema.py": "one declaration of every table",
    "settings.py": "one reading of one file format",
    "swarms.py": "one ledger: what goes into it and what is told of it share its rows",
    "kernels/ahead.py": "one file of machine code: how it is made and how it is loaded must agree",
    "kernels/framing.py": "one state machine",
    "kernels/tracking.py": "one table: its kernels share its layout and its invariants",
    "rules/judge.py": "one rule's state, from rows to findings",
    "samples/office.py": "the stories of one week, side by side",
    "samples/stack.py": "one TCP stack",
    "sinks/metrics.py": "one collector; a metric is a line here and a line in the catalogue",
    "sources/chains.py": "two formats as chains of records, and who walks ahead in one of them",
    "sources/files.py": "two formats and their damage, behind one reader",
}
# A folder of one machine has no place in a product; a test builds its own, and documents show examples of /captures.
ONE_MACHINE = re.compile(r"(?<![\w.:/-])/(?:work|root|home/\w+|Users/\w+)/")
TEXT = [path for path in tree.files() if path.suffix not in {".pcap", ".png", ".parquet"}]


def lines(module: Path) -> int:
    return len(tree.text("sensor" / module).splitlines())


def test_long_files_have_a_reason() -> None:
    long = {str(module): lines(module) for module in tree.modules() if lines(module) >= LONG}
    assert not {name: length for name, length in long.items() if name not in REASONS}


def test_reasons_name_modules() -> None:
    # A file may have become short since; its reason may stay for when it grows again, but not without the file.
    assert {Path(name) for name in REASONS} <= set(tree.modules())


def test_no_vague_names() -> None:
    assert not [path for path in tree.files() if {part.split(".")[0].lower() for part in path.parts} & VAGUE]


def test_no_folder_of_one_machine() -> None:
    told = {path: ONE_MACHINE.findall((tree.ROOT / path).read_bytes().decode("utf-8", "replace")) for path in TEXT}
    assert not {str(path): found for path, found in told.items() if found}


def test_folders_of_one_machine_are_known() -> None:
    for folder in ("root", "work", "home/me", "Users/me"):
        assert ONE_MACHINE.search(f"see '/{folder}/x'")
        assert not ONE_MACHINE.search(f"https://example.org/{folder}/x and ../{folder}/x")
