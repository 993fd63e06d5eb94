"""Incidents and what is still to be told of them, on disk: SQLite with a write-ahead log, safe against being killed.

A parcel (an incident as it was when it opened or closed, and its EVE record) is written once for each sink in the same
transaction as the incident itself, and goes when that sink has it. Numbers only grow, so each sink is told in order.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from sensor.errors import Mistake, OperatorError
from sensor.schema import Evidence, Incident

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_FILE: Final = "incidents.sqlite"
_VERSION: Final = 1
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS incident (
    id TEXT PRIMARY KEY, state TEXT NOT NULL, last_seen_ns INTEGER NOT NULL, record TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS incident_by_state ON incident (state, last_seen_ns);
CREATE TABLE IF NOT EXISTS outbox (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, sink TEXT NOT NULL, record TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS outbox_by_sink ON outbox (sink, sequence);
"""


@dataclass(frozen=True, slots=True)
class Parcel:
    """What a sink is told at once: an incident, and its record as EVE has it. `sequence` is 0 before it is kept."""

    incident: Incident
    alert: dict[str, Any] = field(default_factory=dict)
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """How much is held: parcels for each sink, and closed incidents; the oldest go first."""

    most_waiting: int = 100_000
    most_closed: int = 50_000


class Store:
    """The state folder's database; without a folder it lives in memory, and does not outlive the process.

    Every method may be called from any thread; one at a time is inside.
    """

    def __init__(self, folder: Path | None, options: StoreOptions | None = None) -> None:
        self.folder = folder
        self.notices: list[str] = []
        self.dropped: dict[str, int] = {}
        self._options = options or StoreOptions()
        self._lock = threading.Lock()
        self._opened: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        """Open the database; one that is damaged is set aside, and a new one begun.

        Raises
        ------
        OperatorError
            If the folder cannot be written to.
        """
        try:
            if self.folder is not None:
                self.folder.mkdir(parents=True, exist_ok=True)
            try:
                self._open()
            except sqlite3.DatabaseError as error:
                if self.folder is None or isinstance(error, sqlite3.OperationalError):
                    raise
                self._set_aside(error)
                self._open()
        except (OSError, sqlite3.Error) as error:
            read = f"cannot hold the sensor's state ({error})"
            right = "name a folder that the sensor may write to with --state"
            raise OperatorError(Mistake(str(self.folder), read, right)) from error
        return self

    def __exit__(self, *_: object) -> None:
        """Close the database."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def keep(self, parcels: Sequence[Parcel], updates: Sequence[Incident], sinks: Sequence[str]) -> None:
        """Keep incidents as they are now, and parcels for every sink, all or nothing.

        Raises
        ------
        sqlite3.Error
            If the disk is full, read-only or broken; nothing was kept then.
        """
        with self._lock, self._database:
            rows = [(each.id, each.state, each.last_seen_ns, _dumped(each)) for each in updates]
            self._database.executemany("INSERT OR REPLACE INTO incident VALUES (?, ?, ?, ?)", rows)
            for parcel in parcels:
                record = json.dumps({"incident": asdict(parcel.incident), "alert": parcel.alert}, separators=(",", ":"))
                self._database.executemany(
                    "INSERT INTO outbox (sink, record) VALUES (?, ?)", [(sink, record) for sink in sinks]
                )
            if parcels:
                self._bound(sinks)

    def due(self, sink: str, most: int, after: int = 0) -> list[Parcel]:
        """Return what a sink is to be told next, beyond a sequence number, oldest first.

        Raises
        ------
        sqlite3.Error
            If the database cannot be read.
        """
        query = "SELECT sequence, record FROM outbox WHERE sink = ? AND sequence > ? ORDER BY sequence LIMIT ?"
        with self._lock:
            rows = self._database.execute(query, (sink, after, most)).fetchall()
        found = []
        for sequence, record in rows:
            read = json.loads(record)
            found.append(Parcel(_incident(read["incident"]), read["alert"], sequence))
        return found

    def done(self, sink: str, parcels: Iterable[Parcel]) -> None:
        """Forget what a sink has been told.

        Raises
        ------
        sqlite3.Error
            If the disk is full, read-only or broken; it will be told again.
        """
        with self._lock, self._database:
            self._database.executemany(
                "DELETE FROM outbox WHERE sink = ? AND sequence = ?", [(sink, each.sequence) for each in parcels]
            )

    def waiting(self, sink: str) -> int:
        """Return how many parcels wait for a sink.

        Raises
        ------
        sqlite3.Error
            If the database cannot be read.
        """
        with self._lock:
            return int(self._database.execute("SELECT count(*) FROM outbox WHERE sink = ?", (sink,)).fetchone()[0])

    def living(self) -> list[Incident]:
        """Return the incidents that are not closed, oldest first.

        Raises
        ------
        sqlite3.Error
            If the database cannot be read.
        """
        query = "SELECT record FROM incident WHERE state <> 'closed' ORDER BY last_seen_ns, id"
        with self._lock:
            rows = self._database.execute(query).fetchall()
        return [_incident(json.loads(record)) for (record,) in rows]

    @property
    def _database(self) -> sqlite3.Connection:
        if self._opened is None:
            raise sqlite3.ProgrammingError("the store is not open")
        return self._opened

    def _open(self) -> None:
        path = ":memory:" if self.folder is None else str(self.folder / _FILE)
        opened = sqlite3.connect(path, timeout=5.0, check_same_thread=False)
        try:
            opened.execute("PRAGMA journal_mode=WAL")
            opened.execute("PRAGMA synchronous=FULL")
            found = [row[0] for row in opened.execute("PRAGMA integrity_check(1)")]
            if found != ["ok"]:
                raise sqlite3.DatabaseError("; ".join(found))
            version = opened.execute("PRAGMA user_version").fetchone()[0]
            if version > _VERSION:
                raise sqlite3.OperationalError(f"it was written by a newer version of swarmtap ({version})")
            opened.executescript(_TABLES)
            opened.execute(f"PRAGMA user_version={_VERSION}")
        except sqlite3.Error:
            opened.close()
            raise
        self._opened = opened

    def _set_aside(self, error: sqlite3.Error) -> None:
        if self.folder is None:
            return
        path = self.folder / _FILE
        aside = path.with_name(f"{_FILE}.damaged-{time.time_ns() // 1_000_000_000}")
        path.replace(aside)
        for rest in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                (self.folder / f"{_FILE}{rest}").unlink()
        self.notices.append(f"{path} was damaged ({error}); it is now {aside.name}, and a new one was begun")

    def _bound(self, sinks: Sequence[str]) -> None:
        for sink in sinks:
            gone = self._database.execute(
                "DELETE FROM outbox WHERE sequence IN (SELECT sequence FROM outbox WHERE sink = ?"
                " ORDER BY sequence DESC LIMIT -1 OFFSET ?)",
                (sink, self._options.most_waiting),
            ).rowcount
            self.dropped[sink] = self.dropped.get(sink, 0) + gone
        self._database.execute(
            "DELETE FROM incident WHERE id IN (SELECT id FROM incident WHERE state = 'closed'"
            " ORDER BY last_seen_ns DESC LIMIT -1 OFFSET ?)",
            (self._options.most_closed,),
        )


def _dumped(incident: Incident) -> str:
    return json.dumps(asdict(incident), separators=(",", ":"))


def _incident(read: dict[str, Any]) -> Incident:
    evidence = tuple(Evidence(**each) for each in read["evidence"])
    return Incident(**{**read, "attack": tuple(read["attack"]), "evidence": evidence})
