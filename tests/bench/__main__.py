"""`make bench`: whole commands timed in turn against their peers and against `cat`; writes BENCHMARKS.md.

    python -m tests.bench [ROW …] [--folder DIR] [--runs N] [--keep]

Without rows all are measured, in an order in which the inputs need at most 20 GB; they go when all is done, unless
kept. Every row has its own section in BENCHMARKS.md: measuring one replaces that section, and the table of goals on top
is made of what all sections say. So a run that was interrupted goes on with the rows that are missing.
Another Suricata than the one that is installed is taken with SWARMTAP_SURICATA=$(.ci/newer suricata trixie-backports).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.bench import rows, timing

if TYPE_CHECKING:
    from tests.bench.rows import Row

_BY_HAND: Final = "<!-- by hand -->"
_SECTION: Final = re.compile(r"<!-- row (\w+) (\{[^\n]*\}) -->\n(.*?)(?=<!-- row |<!-- by hand -->|\Z)", re.DOTALL)
_HEAD: Final = """# Benchmarks

Whole processes, files in the page cache, output to nowhere, run in turn (A B C A B C …) after a warm-up; the median.
*memory* is RssAnon at its highest: what a program holds itself, without pages of the input. *× swarmtap* is a row's
wall time by swarmtap's: above 1, swarmtap is faster. Absolute seconds are this machine's; quote ratios.

Made with `make bench`; one row with `python -m tests.bench ROW`. Inputs are made by `tests/bench/inputs.py`.
"""


def main() -> None:
    """Measure, print, and write BENCHMARKS.md."""
    known = [row.name for row in rows.ROWS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(known)}")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "swarmtap-bench")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--keep", action="store_true", help="leave the inputs where they are")
    parser.add_argument("--out", type=Path, default=Path("BENCHMARKS.md"))
    options = parser.parse_args()
    if unknown := set(options.rows) - set(known):
        parser.error(f"there is no row {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # the warm-up writes bytecode, as a user's first run does
    options.folder.mkdir(parents=True, exist_ok=True)
    failed = []
    try:
        for row in rows.ROWS:
            if not options.rows or row.name in options.rows:
                failed += [] if _one(row, options.folder, options.runs, options.out) else [row.name]
    finally:
        if not options.keep:
            shutil.rmtree(options.folder, ignore_errors=True)
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}")


def _one(row: Row, folder: Path, runs: int, out: Path) -> bool:
    """Measure one row and put its section in its place; say whether that went well."""
    began = time.perf_counter()
    try:
        measured = row.measure(folder, runs)
    except (RuntimeError, OSError) as error:
        sys.stderr.write(f"{row.name}: {error}\n")
        return False
    sections = {name: (json.loads(facts), body) for name, facts, body in _sections(out)}
    facts = {"goals": measured.goals}
    sections[row.name] = (facts, "\n".join(_section(row, measured.commands, measured.figures, measured.notes)))
    write(out, sections)
    sys.stdout.write(sections[row.name][1] + f"\n({time.perf_counter() - began:.0f} s)\n\n")
    sys.stdout.flush()
    return True


def _section(row: Row, commands: dict[str, str], figures: dict[str, timing.Figures], notes: list[str]) -> list[str]:
    """Return a row's figures as Markdown."""
    lines = [f"### {row.title}", "", f"`python -m tests.bench {row.name}`", ""]
    lines += ["| program | wall s | CPU s | memory MB | × swarmtap |", "|---|---:|---:|---:|---:|"]
    ours = figures.get("swarmtap")
    for name, each in figures.items():
        if not each.ended:
            lines.append(f"| {name} | > {timing.LIMIT_S:.0f} | > {each.cpu_s:.0f} | > {each.anon_mb:.0f} | |")
            continue
        ratio = "" if ours is None or name == "swarmtap" else f"{each.wall_s / ours.wall_s:.2f}"
        lines.append(f"| {name} | {each.wall_s:.3f} | {each.cpu_s:.3f} | {each.anon_mb:.0f} | {ratio} |")
    lines += ["", *notes, *([""] if notes else [])]
    lines += ["Commands:", "", *(f"* {name}: `{command}`" for name, command in commands.items()), ""]
    return lines


def _sections(out: Path) -> list[tuple[str, str, str]]:
    text = out.read_text() if out.exists() else ""
    return [(found.group(1), found.group(2), found.group(3)) for found in _SECTION.finditer(text)]


def write(out: Path, sections: dict[str, tuple[dict[str, Any], str]]) -> None:
    """Write the page: the goals, the sections in the order of rows, and what is written by hand."""
    machine = f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}."
    lines = [_HEAD, machine, "", "## Goals", "", "| work | goal | measured | |", "|---|---|---|---|"]
    for row in rows.ROWS:
        goals = sections[row.name][0]["goals"] if row.name in sections else []
        for at, (goal, figure, met) in enumerate(goals):
            said = {True: "met", False: "**not met**", None: "no figure"}[met]
            lines.append(f"| {'' if at else f'{row.title} (`{row.name}`)'} | {goal} | {figure} | {said} |")
        if row.name not in sections:
            lines.append(f"| {row.title} (`{row.name}`) | | not measured yet | |")
    text = "\n".join([*lines, "", "## Rows", "", ""])
    for row in rows.ROWS:
        if row.name in sections:
            facts, body = sections[row.name]
            text += f"<!-- row {row.name} {json.dumps(facts, ensure_ascii=False)} -->\n{body.rstrip()}\n\n"
    kept = out.read_text().partition(_BY_HAND) if out.exists() else ("", "", "")
    out.write_text(text + "".join(kept[1:]))


if __name__ == "__main__":
    main()
