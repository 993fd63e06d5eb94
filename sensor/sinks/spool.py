"""Judged activity and finished flows as Parquet files for object storage: `TABLE/site=SITE/day=DAY/PART.parquet`.

A file appears whole or not at all, and is never changed; whoever takes it away may delete it. Rows gather for a while
first, so that a quiet port does not make thousands of tiny files.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from sensor.errors import OperatorError
from sensor.outfile import outfile
from sensor.schema import ActivityFrame, FlowFrame

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    from sensor.schema import Incident
    from sensor.store import Parcel

EVERY_S: Final = 300.0
MOST_ROWS: Final = 1_000_000
_NS: Final = 1_000_000_000
_TIMES: Final = {"activity": "window_start_ns", "flows": "start_ns"}


class Spool:
    """One folder of files.

    Parameters
    ----------
    folder
        Where they go.
    every_s
        How long rows gather.
    """

    name = "spool"

    def __init__(self, folder: Path, every_s: float = EVERY_S) -> None:
        self._folder = folder
        self._every_s = every_s
        self._frames: deque[tuple[str, pd.DataFrame]] = deque()
        self._files: deque[tuple[str, str, int, pd.DataFrame]] = deque()  # of the first frame, what is not written yet
        self._rows = 0
        self._lock = threading.Lock()
        self._since = time.monotonic()
        self._part = 0
        self.lost_rows = 0

    def add(self, activity: pd.DataFrame, flows: pd.DataFrame) -> None:
        """Take rows to be written; returns at once. Beyond MOST_ROWS they are lost, and counted.

        Raises
        ------
        nothing
        """
        held = {
            "activity": activity[[*ActivityFrame.names(), "site"]],
            "flows": flows[FlowFrame.names()].assign(site=flows["orig_site"]),
        }
        with self._lock:
            for table, frame in held.items():
                if self._rows + len(frame) > MOST_ROWS:
                    self.lost_rows += len(frame)
                elif len(frame):
                    self._frames.append((table, frame))
                    self._rows += len(frame)

    def deliver(self, parcel: Parcel) -> None:
        """Do nothing: incidents go elsewhere."""

    def work(self, living: Callable[[], list[Incident]]) -> None:
        """Write what has gathered, when it is time.

        Raises
        ------
        OSError
            If a file could not be written; its rows are kept.
        """
        del living
        if time.monotonic() - self._since >= self._every_s:
            self._write()

    def reopen(self) -> None:
        """Do nothing: no file stays open."""

    def close(self) -> None:
        """Write what has gathered.

        Raises
        ------
        OSError
            If a file could not be written.
        """
        self._write()

    def _write(self) -> None:
        while self._frames:
            table, frame = self._frames[0]
            if not self._files:
                days = frame[_TIMES[table]] // (86400 * _NS)
                for (site, day), rows in frame.groupby(["site", days], observed=True, sort=True):
                    self._files.append((table, str(site), int(cast("int", day)), rows.drop(columns="site")))
            while self._files:  # one that was written is not written again when the next one fails
                self._put(*self._files[0])
                self._files.popleft()
            with self._lock:
                self._frames.popleft()
                self._rows -= len(frame)
        self._since = time.monotonic()

    def _put(self, table: str, site: str, day: int, rows: pd.DataFrame) -> None:
        date = datetime.fromtimestamp(day * 86400, UTC).date().isoformat()
        self._part += 1
        name = f"{time.time_ns()}-{os.getpid()}-{self._part}.parquet"
        path = self._folder / table / f"site={quote(site, safe='')}" / f"day={date}" / name
        try:
            with outfile(path) as file:
                pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), file, compression="zstd")
        except OperatorError as error:
            raise OSError(str(error)) from error
