"""`make bench`: whole commands timed in turn against their peers and against `cat`; writes BENCHMARKS.md.

    python -m tests.bench [--folder DIR] [--runs N] [--only NAME …]

Inputs are made once into the folder (some GB). Every figure is the median of several whole processes, run in turn with
the others (A B C A B C …) after a warm-up, so that a machine that drifts drifts for all.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench import inputs

FILTER = "tcp port 7680 or (vlan and (tcp port 7680 or (vlan and tcp port 7680)))"
GB, MB = 10**9, 10**6


@dataclass(frozen=True, slots=True)
class Work:
    """One input and what is said of it."""

    name: str
    title: str
    goal: str


WORKS = (
    Work("small", "5 MB mixed", "swarmtap at most 1.0 s"),
    Work("mixed1", "1 GB mixed, 2 % DO", "swarmtap at most 3 × tcpdump"),
    Work("mixed8", "8 GB mixed, 2 % DO", "swarmtap at most 1.0 × cat, at most 0.5 × tcpdump"),
    Work("do1", "1 GB, all DO", "swarmtap at most 3 × cat"),
    Work("flood", "1 M SYNs, a flow each", "linear in flows"),
    Work("zst", "1 GB mixed, zstd", "zstd -dc at least 0.9 × swarmtap"),
)


@dataclass(frozen=True, slots=True)
class Figures:
    """What a command took: wall and CPU seconds (median), peak resident MB (largest)."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def make(work: Work, folder: Path) -> Path:
    """Make an input unless it is there."""
    path = folder / f"{work.name}.pcap{'.zst' if work.name == 'zst' else ''}"
    if path.exists():
        return path
    sys.stderr.write(f"making {path} …\n")
    if work.name == "flood":
        inputs.write_flood(path, 1_000_000)
    elif work.name == "zst":
        plain = make(next(each for each in WORKS if each.name == "mixed1"), folder)
        subprocess.run(["zstd", "-q", "-3", plain, "-o", path], check=True)
    else:
        size = {"small": 5 * MB, "mixed1": GB, "mixed8": 8 * GB, "do1": GB}[work.name]
        inputs.write(path, inputs.tile(1.0 if work.name == "do1" else 0.02, 20_000, 1), size)
    return path


def commands(work: Work, path: Path) -> dict[str, list[str]]:
    """Return the commands that are compared on an input."""
    own = {"swarmtap": [str(Path(sys.executable).parent / "swarmtap"), "analyze", str(path)]}
    if work.name == "zst":
        return {"zstd -dc": ["zstd", "-q", "-dc", str(path)]} | own
    found = {"cat": ["cat", str(path)]}
    if shutil.which("tcpdump"):
        found["tcpdump"] = ["tcpdump", "-r", str(path), "-w", "/dev/null", FILTER]
    return found | own


def run(command: list[str]) -> Figures:
    """Run a command once, its output to nowhere."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as errors, Path(os.devnull).open("wb") as nowhere:
        child = subprocess.Popen(command, stdout=nowhere, stderr=errors)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    if child.returncode not in {0, 3}:
        message = f"{command} ended with {child.returncode}"
        raise RuntimeError(message)
    return Figures(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def compare(found: dict[str, list[str]], runs: int) -> dict[str, Figures]:
    """Run commands in turn and return each one's figures."""
    for command in found.values():
        run(command)
    taken: dict[str, list[Figures]] = {name: [] for name in found}
    for _ in range(runs):
        for name, command in found.items():
            taken[name].append(run(command))
    return {
        name: Figures(
            statistics.median(each.wall_s for each in all_of_it),
            statistics.median(each.cpu_s for each in all_of_it),
            max(each.peak_mb for each in all_of_it),
        )
        for name, all_of_it in taken.items()
    }


def table(work: Work, figures: dict[str, Figures]) -> list[str]:
    """Return a work's figures as Markdown."""
    ours = figures["swarmtap"].wall_s
    lines = [
        f"### {work.title}",
        "",
        f"Goal: {work.goal}.",
        "",
        "| command | wall s | CPU s | peak MB | swarmtap / it |",
    ]
    lines.append("|---|---:|---:|---:|---:|")
    for name, each in figures.items():
        ratio = "" if name == "swarmtap" else f"{ours / each.wall_s:.2f}"
        lines.append(f"| {name} | {each.wall_s:.3f} | {each.cpu_s:.3f} | {each.peak_mb:.0f} | {ratio} |")
    return [*lines, ""]


def version(command: list[str]) -> str:
    """Return the first line a program says of its version."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return (done.stdout or done.stderr).splitlines()[0]


def main() -> None:
    """Measure, print, and write BENCHMARKS.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "swarmtap-bench")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=[work.name for work in WORKS])
    parser.add_argument("--out", type=Path, default=Path("BENCHMARKS.md"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    lines = [
        "# Benchmarks",
        "",
        (
            "Whole processes, files in the page cache, output to nowhere; the median of "
            f"{options.runs} runs taken in turn. The last column is swarmtap's wall time divided by the row's: "
            "below 1, swarmtap is faster. Absolute seconds are this machine's; quote ratios."
        ),
        "",
        "Made with `make bench` (inputs are made by `tests/bench/inputs.py`).",
        "",
        f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}, "
        + version(["tcpdump", "--version"]) + ".",
        "",
        "## Offline: `swarmtap analyze FILE` (flows, messages, windows, rules, summary)",
        "",
    ]  # fmt: skip
    for work in WORKS:
        if options.only and work.name not in options.only:
            continue
        path = make(work, options.folder)
        part = table(work, compare(commands(work, path), options.runs))
        sys.stdout.write("\n".join(part) + "\n")
        lines += part
    kept = options.out.read_text().partition("<!-- by hand -->") if options.out.exists() else ("", "", "")
    options.out.write_text("\n".join(lines) + "".join(kept[1:]))


if __name__ == "__main__":
    main()
