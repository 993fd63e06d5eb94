"""What the project consists of: its own files, not what lies beside them."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]


@cache
def files() -> tuple[Path, ...]:
    """Return every file of the project, relative to its root: what git has, and not what a run left behind."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return tuple(sorted(path for name in listed.stdout.split("\0") if name and (ROOT / (path := Path(name))).is_file()))


@cache
def modules() -> tuple[Path, ...]:
    """Return every module of the sensor, relative to the package."""
    return tuple(path.relative_to("sensor") for path in files() if path.parts[0] == "sensor" and path.suffix == ".py")


def text(path: Path) -> str:
    """Return a file of the project as text."""
    return (ROOT / path).read_text(encoding="utf-8")
