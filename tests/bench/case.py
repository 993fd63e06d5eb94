"""Offline work over many files: GB/s by format and jobs, memory by total size, what the report adds to a run.

    python -m tests.bench.case [--folder DIR] [--files N] [--runs N] [--part formats|memory|report …]

Files are made once into the folder: mixed traffic with 2 % on the port and bodies of text, so that they compress as
captures do. Figures are medians of whole processes in turn; GB are of what is read once it is decompressed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tests.bench import inputs
from tests.bench.__main__ import run
from tests.captures import COMPRESSIONS, compressed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.__main__ import Figures

_FILE_BYTES = 14_000_000  # about 10 MB once they are compressed
_BODY_FROM = 120  # of a frame; shorter ones have nothing but headers
_HEADERS = 54
_PIECE_HEADER = 13
_TEXT = np.arange(48, 112, dtype=np.uint8)
_PARTS = ("formats", "memory", "report")


def _tile() -> inputs.Tile:
    """Return mixed traffic whose bodies are letters of chance."""
    made = inputs.tile(0.02, 20_000, 1)
    data, chance = made.data.copy(), np.random.default_rng(1)
    for start, end in zip(made.times, [*made.times[1:], len(data)], strict=True):
        first = start + 16 + _HEADERS + _PIECE_HEADER
        if end - first >= _BODY_FROM:
            data[first:end] = _TEXT[chance.integers(0, len(_TEXT), end - first)]
    return inputs.Tile(made.prelude, data, made.times, made.seqs, made.steps, made.span_us)


def make(folder: Path, kind: str, count: int) -> Path:
    """Make so many files of a format that follow each other in time; those that are there stay."""
    out = folder / f"{count}-{kind}"
    if len(list(out.glob("*.pcap*"))) == count:
        return out
    out.mkdir(parents=True, exist_ok=True)
    sys.stderr.write(f"making {out} …\n")
    whole = folder / "whole.pcap"
    inputs.write(whole, _tile(), count * _FILE_BYTES)
    data = np.memmap(whole, dtype=np.uint8, mode="r")
    at = start = 24
    for number in range(count):
        end = len(data) if number == count - 1 else start + _FILE_BYTES
        while at < end:
            at += 16 + int.from_bytes(data[at + 8 : at + 12].tobytes(), "little")
        raw = data[:24].tobytes() + data[start:at].tobytes()
        start = at
        name = f"{number:04}.pcap" if kind == "plain" else f"{number:04}.pcap.{kind}"
        (out / name).write_bytes(raw if kind == "plain" else compressed(raw, kind))
    whole.unlink()
    return out


def _command(folder: Path, *more: str) -> list[str]:
    return [str(Path(sys.executable).parent / "swarmtap"), "analyze", str(folder), *more]


def _in_turn(commands: Sequence[list[str]], runs: int) -> list[Figures]:
    """Return the median run of each command, by wall time."""
    taken: list[list[Figures]] = [[] for _ in commands]
    for command in commands:
        run(command)
    for _ in range(runs):
        for at, command in enumerate(commands):
            taken[at].append(run(command))
    return [sorted(each, key=lambda figures: figures.wall_s)[len(each) // 2] for each in taken]


def formats(folder: Path, count: int, runs: int) -> list[str]:
    """Return GB/s by format and jobs."""
    lines = [
        "| format | jobs | wall s | CPU s | GB/s | peak MB | one job / it |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for kind in ("plain", *COMPRESSIONS):
        files = make(folder, kind, count if kind in ("plain", "zst") else max(count // 10, 2))
        size = len(list(files.glob("*.pcap*"))) * _FILE_BYTES
        found = _in_turn([_command(files, "--jobs", str(jobs)) for jobs in (1, 2)], runs)
        for jobs, each in zip((1, 2), found, strict=True):
            ratio = found[0].wall_s / each.wall_s
            rate = size / 1e9 / each.wall_s
            cells = f"{each.wall_s:.2f} | {each.cpu_s:.2f} | {rate:.2f} | {each.peak_mb:.0f} | {ratio:.2f}"
            lines.append(f"| {kind} | {jobs} | {cells} |")
    return lines


def memory(folder: Path, count: int, runs: int) -> list[str]:
    """Return peak memory by how much is read."""
    lines = ["| files | GB | peak MB | CPU s per GB |", "|---:|---:|---:|---:|"]
    for files in sorted({max(count // 8, 1), max(count // 2, 1), count}):
        (each,) = _in_turn([_command(make(folder, "zst", files))], runs)
        size = files * _FILE_BYTES / 1e9
        lines.append(f"| {files} | {size:.2f} | {each.peak_mb:.0f} | {each.cpu_s / size:.2f} |")
    return lines


def report(folder: Path, count: int, runs: int) -> list[str]:
    """Return what the report adds to a run that writes a case: its CPU seconds, and its share."""
    from sensor import pipeline
    from sensor.rules.load import load
    from sensor.settings import load_policy
    from sensor.sinks.report import page

    files = make(folder, "zst", count)
    with tempfile.TemporaryDirectory() as out:
        (whole,) = _in_turn([_command(files, "-o", out)], runs)
    names = sorted(str(path) for path in files.iterdir())
    case = pipeline.analyze(names, load_policy(None), load([Path("rules")]))
    taken = []
    for _ in range(max(runs, 2)):
        began = time.process_time()
        page.page(case)
        taken.append(time.process_time() - began)
    first, again = taken[0], statistics.median(taken[1:])
    return [
        "| run with -o, CPU s | the report, CPU s (first, again) | share |",
        "|---:|---:|---:|",
        f"| {whole.cpu_s:.2f} | {first:.2f}, {again:.2f} | {first / whole.cpu_s:.1%} |",
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "swarmtap-bench")
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--part", nargs="*", choices=_PARTS, default=list(_PARTS))
    options = parser.parse_args()
    for part in options.part:
        lines = {"formats": formats, "memory": memory, "report": report}[part](
            options.folder, options.files, options.runs
        )
        sys.stdout.write("\n".join([*lines, "", ""]))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
