"""The rows of the benchmark: an input, the commands that are compared on it, and the goals that its figures answer."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tests.bench import inputs, programs, timing
from tests.bench.programs import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.bench.timing import Figures

GB: Final = 10**9
MB: Final = 10**6
_MB_OF_GOAL: Final = 2000  # anonymous memory in a flood
Goal = tuple[str, str, bool | None]
"""What was wanted, what was measured, and whether that is enough (None: it could not be measured)."""


@dataclass(slots=True)
class Measured:
    """What one row found."""

    figures: dict[str, Figures]
    commands: dict[str, str]
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def at_most(self, factor: float, peer: str) -> None:
        """Add the goal that swarmtap takes at most so many times what a peer takes."""
        ours, theirs = self.figures["swarmtap"].wall_s, self._of(peer)
        goal = f"≤ {factor:g} × {peer}"
        self.goals.append(
            (goal, f"{ours / theirs:.2f} ×", ours <= factor * theirs) if theirs else (goal, "no figure", None)
        )

    def faster(self, factor: float, peer: str) -> None:
        """Add the goal that a peer takes at least so many times what swarmtap takes."""
        ours, theirs = self.figures["swarmtap"].wall_s, self._of(peer)
        goal = f"≥ {factor:g} × faster than {peer}"
        if theirs:
            ended = all(each.ended for name, each in self.figures.items() if name.startswith(peer))
            ratio = theirs / ours
            self.goals.append((goal, f"{'' if ended else '> '}{ratio:.2f} ×", ratio >= factor))
        else:
            self.goals.append((goal, "no figure", None))

    def seconds(self, limit_s: float, name: str = "swarmtap") -> None:
        """Add the goal of a bound on the time of one of ours."""
        took = self.figures[name]
        self.goals.append((f"≤ {limit_s:g} s", f"{took.wall_s:.2f} s", took.ended and took.wall_s <= limit_s))

    def memory(self, limit_mb: float, name: str = "swarmtap") -> None:
        """Add the goal of a bound on the memory of one of ours."""
        held = self.figures[name]
        self.goals.append((f"≤ {limit_mb:,g} MB", f"{held.anon_mb:,.0f} MB", held.ended and held.anon_mb <= limit_mb))

    def _of(self, peer: str) -> float | None:
        return next((each.wall_s for name, each in self.figures.items() if name.startswith(peer)), None)


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its name on the command line, its title, and how it is measured."""

    name: str
    title: str
    measure: Callable[[Path, int], Measured]


def _compared(folder: Path, chosen: Sequence[Program], runs: int) -> Measured:
    """Measure the programs that are there, and say which are not, or fail.

    Raises
    ------
    RuntimeError
        If ours fails.
    """
    there = {each.name: each.command for each in chosen if each.command}
    told = {name: shlex.join(command).replace(sys.prefix, ".venv") for name, command in there.items()}
    told = {
        name: command.replace(str(folder), "FOLDER").replace(programs.SURICATA, "suricata")
        for name, command in told.items()
    }
    absent = [f"{each.name}: {each.absent}." for each in chosen if not each.command]
    figures, failed = timing.compare(there, runs)
    if ours := [said for name, said in failed.items() if name.startswith("swarmtap")]:
        raise RuntimeError(ours[0])
    absent += [f"{name}: it failed ({said[-200:].strip()})." for name, said in failed.items()]
    return Measured(figures, told, notes=absent)


def _cat(path: Path) -> Program:
    return Program("cat", ("cat", str(path)))


def _everybody(path: Path, folder: Path) -> list[Program]:
    return [
        _cat(path),
        programs.tcpdump(path),
        programs.suricata(path, folder),
        programs.nfstream(path, folder),
        programs.own(path),
    ]


# --- inputs ----------------------------------------------------------------------------------------------------------
def _mixed(folder: Path, size: int) -> Path:
    """Return a mixed capture of this size: cut from a longer one, or made."""
    path = folder / "mixed.pcap"
    made = inputs.tile(0.02, 20_000, 1)
    if not path.exists() or path.stat().st_size < size:
        _say(path, size)
        inputs.write(path, made, size)
    inputs.cut(path, made, size)
    return path


def _made(folder: Path, name: str, write: Callable[[Path], None], size: int) -> Path:
    path = folder / name
    if not path.exists():
        _say(path, size)
        write(path)
    return path


def _say(path: Path, size: int) -> None:
    sys.stderr.write(f"making {path} ({size / GB:.2f} GB) …\n")


def _flood(folder: Path, packets: int) -> Path:
    return _made(
        folder, f"flood{packets // 1_000_000}.pcap", lambda path: inputs.write_flood(path, packets), packets * 70
    )


# --- rows ------------------------------------------------------------------------------------------------------------
def _help(folder: Path, runs: int) -> Measured:
    found = _compared(folder, [Program("swarmtap", (programs.OWN, "--help"))], runs)
    found.seconds(0.25)
    return found


def _small(folder: Path, runs: int) -> Measured:
    path = _made(folder, "small.pcap", lambda at: inputs.write(at, inputs.tile(0.02, 5_000, 1), 5 * MB), 5 * MB)
    found = _compared(
        folder, [_cat(path), programs.tcpdump(path), programs.suricata(path, folder), programs.own(path)], runs
    )
    found.seconds(1.0)
    return found


def _grown(size: int) -> Callable[[Path, int], Measured]:
    """Return how the cost of a mixed capture of a size is measured: seconds a GB, and memory."""

    def measure(folder: Path, runs: int) -> Measured:
        path = _mixed(folder, size)
        found = _compared(folder, [_cat(path), programs.own(path)], min(runs, 3))
        ours = found.figures["swarmtap"]
        each = f"{ours.wall_s / size * GB:.3f} s a GB, {ours.anon_mb:.0f} MB"
        found.goals.append(("linear cost; memory independent of size", each, ours.anon_mb < _MB_OF_GOAL / 2))
        return found

    return measure


def _mixed8(folder: Path, runs: int) -> Measured:
    path = _mixed(folder, 8 * GB)
    found = _compared(folder, _everybody(path, folder), min(runs, 3))
    found.at_most(1.0, "cat")
    found.faster(2.0, "tcpdump")
    found.faster(2.5, "Suricata")
    return found


def _cores(folder: Path, runs: int) -> Measured:
    path = _mixed(folder, 8 * GB)
    both = sorted(os.sched_getaffinity(0))[:2]
    if len(both) < 2 or not shutil.which("taskset"):
        message = "needs two processors and taskset (util-linux)"
        raise RuntimeError(message)
    one = ("taskset", "-c", str(both[0]), *programs.own(path).command)
    found = _compared(folder, [Program("swarmtap on one core", one), programs.own(path)], runs)
    ratio = found.figures["swarmtap on one core"].wall_s / found.figures["swarmtap"].wall_s
    found.goals.append(("two cores ≥ 1.7 × one", f"{ratio:.2f} ×", ratio >= 1.7))
    return found


def _mixed1(folder: Path, runs: int) -> Measured:
    path = _mixed(folder, GB)
    found = _compared(folder, _everybody(path, folder), runs)
    found.at_most(3.0, "tcpdump")
    return found


def _do4(folder: Path, runs: int) -> Measured:
    path = _made(folder, "do.pcap", lambda at: inputs.write(at, inputs.tile(1.0, 20_000, 1), 4 * GB), 4 * GB)
    found = _compared(folder, _everybody(path, folder), min(runs, 3))
    path.unlink()
    found.at_most(3.0, "cat")
    found.faster(2.0, "Suricata")
    return found


def _flood1(folder: Path, _: int) -> Measured:
    path = _flood(folder, 1_000_000)
    return _compared(
        folder, [_cat(path), programs.tcpdump(path), programs.suricata(path, folder), programs.own(path)], 1
    )


def _flood5(folder: Path, _: int) -> Measured:
    path = _flood(folder, 5_000_000)
    tables = Program("swarmtap", (sys.executable, "-m", "tests.bench.frames", str(path), str(folder / "tables")))
    chosen = [
        _cat(path),
        programs.tcpdump(path),
        programs.suricata(path, folder),
        programs.nfstream(path, folder),
        tables,
    ]
    found = _compared(folder, chosen, 1)
    found.notes.append("swarmtap here: rules, summary, `flows.parquet` and `activity.parquet`.")
    found.seconds(12)
    found.memory(_MB_OF_GOAL)
    found.faster(5, "Suricata")
    return found


def _packed(kind: str, size: int, tool: Sequence[str], unpack: Sequence[str]) -> Callable[[Path, int], Measured]:
    """Return how a compressed capture is measured against what only decompresses it."""

    def measure(folder: Path, runs: int) -> Measured:
        if not shutil.which(tool[0]):
            message = f"{tool[0]} is not installed"
            raise RuntimeError(message)
        path = folder / f"mixed.pcap.{kind}"
        plain = _mixed(folder, size)
        if not path.exists():
            _say(path, size)
            with path.open("wb") as out:
                subprocess.run([*tool, str(plain)], stdout=out, check=True)
        name = shlex.join(unpack)
        found = _compared(folder, [Program(name, (*unpack, str(path))), programs.own(path)], min(runs, 3))
        share = found.figures[name].wall_s / found.figures["swarmtap"].wall_s
        found.goals.append((f"≥ 0.9 × `{name}` alone", f"{share:.2f} ×", share >= 0.9))
        path.unlink()
        return found

    return measure


ROWS: Final = (
    Row("help", "`swarmtap --help`", _help),
    Row("small", "5 MB mixed, summary", _small),
    Row("mixed16", "16 GB mixed", _grown(16 * GB)),
    Row("mixed8", "8 GB mixed, 2 % DO", _mixed8),
    Row("cores", "8 GB mixed, one core and two", _cores),
    Row("mixed4", "4 GB mixed", _grown(4 * GB)),
    Row("zst", "4 GB mixed, zstd", _packed("zst", 4 * GB, ("zstd", "-q", "-3", "-c"), ("zstd", "-q", "-dc"))),
    Row("mixed1", "1 GB mixed, 2 % DO", _mixed1),
    Row("gz", "1 GB mixed, gzip", _packed("gz", GB, ("gzip", "-1", "-c"), ("zcat",))),
    Row("do4", "4 GB, all DO, with decoder and rules", _do4),
    Row("flood1", "1 M SYNs, a flow each, summary", _flood1),
    Row("flood5", "5 M SYNs, a flow each, with rules, summary and Parquet", _flood5),
)
