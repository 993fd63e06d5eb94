"""Offline work over many files: GB/s by format and jobs, memory by total size, what the report adds and how it opens.

    python -m tests.bench.case [--folder DIR] [--files N] [--runs N] [--part formats|memory|report|page …]

Files are made once into the folder (some 9 GB for 200): mixed traffic with 2 % on the port and bodies of letters, so
that they compress as captures do. Slow formats get a twentieth of the files. Figures are medians of whole processes in
turn; GB are of what is read once it is decompressed. With all parts it writes its tables into BENCHMARKS.md, between
its marks.
"""

from __future__ import annotations

import argparse
import itertools
import lzma
import shutil
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from tests.bench import inputs, timing
from tests.captures import COMPRESSIONS, ROOT, SAMPLES, compressed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MARKS: Final = "<!-- case: begin -->", "<!-- case: end -->"
_PACKETS: Final = 17_500  # of a file: 14 MB, about 10 MB once they are compressed
_BODY_FROM: Final = 120  # of a frame; shorter ones have nothing but headers
_HEADERS: Final = 54
_PIECE_HEADER: Final = 13
_TEXT: Final = np.arange(48, 112, dtype=np.uint8)
_QUICK: Final = ("plain", "zst")
_FLOWS: Final = (1_000, 10_000)


def _tile() -> inputs.Tile:
    """Return mixed traffic whose bodies are letters of chance."""
    made = inputs.tile(0.02, _PACKETS, 1)
    data, chance = made.data.copy(), np.random.default_rng(1)
    for start, end in zip(made.times, [*made.times[1:], len(data)], strict=True):
        first = start + 16 + _HEADERS + _PIECE_HEADER
        if end - first >= _BODY_FROM:
            data[first:end] = _TEXT[chance.integers(0, len(_TEXT), end - first)]
    return inputs.Tile(made.prelude, data, made.times, made.seqs, made.steps, made.span_us)


def _following(count: int) -> Iterator[bytes]:
    """Yield captures that follow each other in time."""
    tile = _tile()
    for number, records in enumerate(itertools.islice(inputs.turns(tile), count)):
        yield inputs.FILE_HEADER + (b"" if number else tile.prelude) + records


def _overlapping(count: int) -> Iterator[bytes]:
    """Yield captures of the same time, as so many sensors would record it: each packet is in one of them."""
    tile = _tile()
    edges = [*tile.times.tolist(), len(tile.data)]
    dealt = [bytearray(inputs.FILE_HEADER) for _ in range(count)]
    dealt[0] += tile.prelude
    for records in itertools.islice(inputs.turns(tile), count):
        for at, (start, end) in enumerate(itertools.pairwise(edges)):
            dealt[at % count] += records[start:end]
    yield from (bytes(each) for each in dealt)


def make(folder: Path, name: str, kind: str, captures: Iterator[bytes], count: int) -> Path:
    """Write captures in a format; those that are there stay."""
    out = folder / name
    if len(list(out.glob("*.pcap*"))) == count:
        return out
    sys.stderr.write(f"making {out} …\n")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)

    def write(at: int, raw: bytes) -> None:
        if kind == "plain":
            (out / f"{at:04}.pcap").write_bytes(raw)
        else:
            # The quickest xz there is to make; it is read as fast as any.
            packed = lzma.compress(raw, preset=0) if kind == "xz" else compressed(raw, kind)
            (out / f"{at:04}.pcap.{kind}").write_bytes(packed)

    numbered = enumerate(captures)
    with ThreadPoolExecutor(2) as pool:
        while some := list(itertools.islice(numbered, 4)):
            list(pool.map(lambda each: write(*each), some))
    return out


def _command(folder: Path, *more: str) -> list[str]:
    return [str(Path(sys.executable).parent / "swarmtap"), "analyze", str(folder), *more]


def _gb(count: int) -> float:
    return count * len(_tile().data) / 1e9


def _in_turn(commands: Sequence[list[str]], runs: int) -> list[timing.Figures]:
    """Return what stands for several runs of each command, after one of the first that does not count (if several)."""
    if runs > 1:
        timing.run(commands[0])
    taken: list[list[timing.Figures]] = [[] for _ in commands]
    for _ in range(runs):
        for several, command in zip(taken, commands, strict=True):
            several.append(timing.run(command))
    return [timing.middle(several) for several in taken]


def formats(folder: Path, count: int, runs: int) -> list[str]:
    """Return GB/s by format and jobs."""
    lines = [
        "| format | files | GB | jobs | wall s | CPU s | GB/s | memory MB | one job / it |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for kind in ("plain", *COMPRESSIONS):
        some = count if kind in _QUICK else max(count // 20, 2)
        files = make(folder, f"{some}-{kind}", kind, _following(some), some)
        found = _in_turn([_command(files, "--jobs", str(jobs)) for jobs in (1, 2)], runs)
        for jobs, each in zip((1, 2), found, strict=True):
            speed = f"{each.wall_s:.2f} | {each.cpu_s:.2f} | {_gb(some) / each.wall_s:.2f} | {each.anon_mb:.0f}"
            ratio = found[0].wall_s / each.wall_s
            lines.append(f"| {kind} | {some} | {_gb(some):.2f} | {jobs} | {speed} | {ratio:.2f} |")
    return lines


def memory(folder: Path, count: int, runs: int) -> list[str]:
    """Return peak memory by how much is read: one file after the other, and all at the same time."""
    lines = ["| zstd files | GB | memory MB | CPU s per GB |", "|---|---:|---:|---:|"]
    several = [(files, "one after the other", _following) for files in sorted({max(count // 8, 1), count // 2, count})]
    for files, how, captures in [*several, (count, "all of the same time", _overlapping)]:
        name = f"{files}-zst" if captures is _following else f"{files}-zst-overlapping"
        (each,) = _in_turn([_command(make(folder, name, "zst", captures(files), files))], min(runs, 2))
        lines.append(f"| {files}, {how} | {_gb(files):.2f} | {each.anon_mb:.0f} | {each.cpu_s / _gb(files):.2f} |")
    return lines


def report(folder: Path, count: int, runs: int) -> list[str]:
    """Return what the report adds to a run that writes a case: its CPU seconds, and its share."""
    from sensor import pipeline
    from sensor.rules.load import load
    from sensor.settings import load_policy
    from sensor.sinks.report import page

    lines = [
        "| run with -o | CPU s | the report, CPU s: first, again | share |",
        "|---|---:|---:|---:|",
    ]
    files = make(folder, f"{count}-zst", "zst", _following(count), count)
    week = SAMPLES / "office-week.pcap"
    policy = load_policy(SAMPLES / "office.yaml")
    for name, source in ((f"{count} zstd files", files), ("the sample week", week)):
        with tempfile.TemporaryDirectory() as out:
            (whole,) = _in_turn([_command(source, "-p", str(SAMPLES / "office.yaml"), "-o", out)], min(runs, 2))
        names = [str(path) for path in sorted(source.iterdir())] if source.is_dir() else [str(source)]
        case = pipeline.analyze(names, policy, load([ROOT / "rules"]))
        taken = []
        for _ in range(3):
            began = time.process_time()
            page.page(case)
            taken.append(time.process_time() - began)
        first, again = taken[0], statistics.median(taken[1:])
        cells = f"{whole.cpu_s:.2f} | {first:.2f}, {again:.2f} | {first / whole.cpu_s:.1%}"
        lines.append(f"| {name} | {cells} |")
    return lines


def page(folder: Path, _: int, runs: int) -> list[str]:
    """Return how large the report is, and how long Chromium takes to open it."""
    import playwright.sync_api as playwright

    from sensor.sinks.report import page
    from tests import cases

    lines = ["| flows in the report | MB | opened after, ms | found among them after, ms |", "|---:|---:|---:|---:|"]
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for flows in _FLOWS:
            made = page.page(cases.large(flows))
            file = folder / "report.html"
            file.write_text(made, encoding="utf-8")
            opened, searched = [], []
            for _ in range(runs):
                tab = browser.new_page()
                tab.goto(file.as_uri())
                opened.append(tab.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))
                began = time.perf_counter()
                tab.locator("#flow-find").fill("10.1.77.")
                tab.locator("#flow-count", has_text=f" of {flows:,} flows").wait_for()
                searched.append((time.perf_counter() - began) * 1000)
                tab.close()
            cells = (
                f"{len(made.encode()) / 1e6:.1f} | {statistics.median(opened):.0f} | {statistics.median(searched):.0f}"
            )
            lines.append(f"| {flows:,} | {cells} |")
        browser.close()
    return lines


_PARTS: Final = {"formats": formats, "memory": memory, "report": report, "page": page}


def _keep(lines: list[str]) -> None:
    """Put the tables into BENCHMARKS.md."""
    out = ROOT / "BENCHMARKS.md"
    before, mark, rest = out.read_text().partition(MARKS[0])
    if mark:
        after = rest.partition(MARKS[1])[2]
        out.write_text("\n".join([before + MARKS[0], "", *lines, MARKS[1]]) + after)


def main() -> None:
    """Measure, print, and keep what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "swarmtap-bench-case")
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--part", nargs="*", choices=_PARTS, default=list(_PARTS))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    told = []
    for part in options.part:
        lines = [*_PARTS[part](options.folder, options.files, options.runs), ""]
        sys.stdout.write("\n".join([*lines, ""]))
        sys.stdout.flush()
        told += lines
    if set(options.part) == set(_PARTS):
        _keep(told)


if __name__ == "__main__":
    main()
