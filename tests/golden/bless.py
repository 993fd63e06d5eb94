"""Renews the golden folders, after showing how they change: `python -m tests.golden.bless [capture …]`."""

from __future__ import annotations

import difflib
import shutil
import sys
from typing import TYPE_CHECKING

from tests.golden import tell

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


def difference(folder: Path, texts: dict[str, str]) -> Iterator[str]:
    """Yield the lines of a unified diff from a folder's files to the texts that they should be."""
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*")}
    for name in sorted(there.keys() | texts.keys()):
        old, new = there.get(name, ""), texts.get(name, "")
        before = f"{folder.name}/{name}" if name in there else "/dev/null"
        after = f"{folder.name}/{name}" if name in texts else "/dev/null"
        yield from difflib.unified_diff(old.splitlines(keepends=True), new.splitlines(keepends=True), before, after)
        if not old + new and before != after:
            yield f"--- {before}\n+++ {after}\n"


def bless(captures: Sequence[Path], home: Path, *, all_of_them: bool) -> bool:
    """Show how the folders change, then write them; return whether anything did.

    With `all_of_them`, folders of captures that are gone go too.
    """
    told = {capture.stem: tell.tell(capture) for capture in captures}
    if all_of_them:
        told |= {path.name: {} for path in home.iterdir() if is_golden(path) and path.name not in told}
    changed = False
    for name, texts in told.items():
        for line in difference(home / name, texts):
            changed = True
            sys.stdout.write(line)
    sys.stdout.flush()
    for name, texts in told.items():
        if (home / name).is_dir():
            shutil.rmtree(home / name)
        for file, text in texts.items():
            (home / name).mkdir(exist_ok=True)
            (home / name / file).write_text(text, encoding="utf-8")
    return changed


def is_golden(path: Path) -> bool:
    """Say whether a folder is one of a capture."""
    return path.is_dir() and (path / "summary.txt").is_file()


def main(names: Sequence[str]) -> int:
    """Bless the captures of these names, or all; exit code 1 if a name is none."""
    known = {capture.stem: capture for capture in tell.captures()}
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.stderr.write(f"no sample capture: {', '.join(unknown)}\n")
        return 1
    changed = bless([known[name] for name in names or known], tell.HERE, all_of_them=not names)
    sys.stdout.write("blessed\n" if changed else "nothing changed\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
