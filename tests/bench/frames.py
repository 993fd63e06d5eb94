"""Rules, summary and Parquet of one capture, and nothing else: `python -m tests.bench.frames FILE FOLDER`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from rich.console import Console

from sensor import heap
from sensor.pipeline import analyze
from sensor.rules.kept import load
from sensor.settings import load_policy
from sensor.sinks import parquet, summary


def main(capture: str, folder: Path) -> None:
    """Write `flows.parquet` and `activity.parquet`, and print the summary."""
    heap.keep()  # as the command does
    folder.mkdir(exist_ok=True)
    case = analyze([capture], load_policy(None), load([Path("rules")]))
    summary.render(case, Console())
    parquet.side_by_side(
        partial(parquet.write_flows, folder / "flows.parquet", case.flows),
        partial(parquet.write_activity, folder / "activity.parquet", case.activity),
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
