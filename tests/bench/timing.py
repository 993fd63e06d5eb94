"""Whole processes, timed: wall and CPU seconds, and how much memory of its own each held at most."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LIMIT_S: Final = 120.0
_LOOK_S: Final = 0.01
_SLOW_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What a command took; `anon_mb` is RssAnon, which pages of the input do not count in.

    Of several runs: the median of times, the largest of memory. `ended` is false if it was stopped at the limit.
    """

    wall_s: float
    cpu_s: float
    anon_mb: float
    ended: bool = True


def run(command: Sequence[str], limit_s: float = LIMIT_S) -> Figures:
    """Run a command once, its output to nowhere.

    Raises
    ------
    RuntimeError
        If it fails; a damaged input (3) is no failure.
    """
    with tempfile.TemporaryFile() as errors, Path(os.devnull).open("wb") as nowhere:
        began = time.perf_counter()
        # A session of its own, so that what it starts ends with it.
        child = subprocess.Popen(command, stdout=nowhere, stderr=errors, start_new_session=True)
        watched = _Watched(child.pid, began + limit_s)
        watched.start()
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - began
        watched.over.set()
        watched.join()
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode not in {0, 3} and not watched.stopped:
            errors.seek(0)
            message = (
                f"{' '.join(command)} ended with {child.returncode}: {errors.read()[-400:].decode(errors='replace')}"
            )
            raise RuntimeError(message)
    return Figures(wall, used.ru_utime + used.ru_stime, watched.most_kb / 1024, not watched.stopped)


def compare(commands: Mapping[str, Sequence[str]], runs: int) -> tuple[dict[str, Figures], dict[str, str]]:
    """Run commands in turn (A B C A B C …) after a warm-up; one that takes longer than 10 s runs once.

    Returns figures by name, and why those that failed did.
    """
    taken: dict[str, list[Figures]] = {}
    failed: dict[str, str] = {}
    for name, command in commands.items():
        try:
            first = run(command)
        except (RuntimeError, OSError) as error:
            failed[name] = str(error)
            continue
        taken[name] = [first] if first.wall_s > _SLOW_S else []
    for _ in range(runs):
        for name, several in taken.items():
            if not several or several[0].wall_s <= _SLOW_S:
                several.append(run(commands[name]))
    return {name: middle(several) for name, several in taken.items()}, failed


def middle(several: Sequence[Figures]) -> Figures:
    """Return what stands for several runs."""
    return Figures(
        statistics.median(each.wall_s for each in several),
        statistics.median(each.cpu_s for each in several),
        max(each.anon_mb for each in several),
        all(each.ended for each in several),
    )


class _Watched(threading.Thread):
    """Looks at a process's memory until it ends, and ends it at the limit."""

    def __init__(self, pid: int, until: float) -> None:
        super().__init__(daemon=True)
        self._pid, self._until = pid, until
        self.over = threading.Event()
        self.most_kb, self.stopped = 0, False

    def run(self) -> None:
        while not self.over.wait(_LOOK_S):
            with contextlib.suppress(OSError, StopIteration):
                status = Path(f"/proc/{self._pid}/status").read_text()
                line = next(line for line in status.splitlines() if line.startswith("RssAnon"))
                self.most_kb = max(self.most_kb, int(line.split()[1]))
            if time.perf_counter() > self._until and not self.stopped:
                self.stopped = True
                with contextlib.suppress(OSError):
                    os.killpg(self._pid, 9)
