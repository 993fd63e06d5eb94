"""The store: in order, all or nothing, whole after being killed, set aside when it is damaged."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from sensor.errors import OperatorError
from sensor.store import Parcel, Store, StoreOptions
from tests import cases

if TYPE_CHECKING:
    from pathlib import Path


def parcels(*ids: str, state: str = "open") -> list[Parcel]:
    return [Parcel(cases.incident(id=each, state=state), {"event_type": "alert", "id": each}) for each in ids]


def keep(store: Store, told: list[Parcel], *sinks: str) -> None:
    store.keep(told, [parcel.incident for parcel in told], sinks)


def waiting(store: Store, sink: str) -> list[str]:
    return [parcel.incident.id for parcel in store.due(sink, 100)]


def test_each_sink_is_told_in_order_until_it_has_it() -> None:
    with Store(None) as store:
        keep(store, parcels("a", "b"), "eve", "webhook")
        keep(store, parcels("c"), "eve", "webhook")
        assert waiting(store, "eve") == ["a", "b", "c"]
        store.done("eve", store.due("eve", 2))
        assert (waiting(store, "eve"), waiting(store, "webhook")) == (["c"], ["a", "b", "c"])
        assert (store.waiting("eve"), store.waiting("webhook"), store.waiting("other")) == (1, 3, 0)
        first = store.due("webhook", 1)[0]
        assert [parcel.incident.id for parcel in store.due("webhook", 9, first.sequence)] == ["b", "c"]


def test_a_parcel_comes_back_as_it_went(tmp_path: Path) -> None:
    parcel = Parcel(
        cases.incident(attack=("attack.t1046",), subject={"orig_ip": "10.1.0.5", "resp_port": 7680}), {"a": [1]}
    )
    with Store(tmp_path) as store:
        store.keep([parcel], [parcel.incident], ["eve"])
    with Store(tmp_path) as store:
        (found,) = store.due("eve", 1)
        assert (found.incident, found.alert) == (parcel.incident, parcel.alert)


def test_what_is_open_is_known_after_a_restart(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        keep(store, parcels("a", "b"))
        keep(store, parcels("a", state="closed"))
    with Store(tmp_path) as store:
        assert [incident.id for incident in store.living()] == ["b"]


def test_what_is_held_is_bounded_and_the_oldest_goes() -> None:
    with Store(None, StoreOptions(most_waiting=2, most_closed=1)) as store:
        keep(store, parcels("a", "b", "c", state="closed"), "eve")
        assert waiting(store, "eve") == ["b", "c"]
        assert store.dropped == {"eve": 1}
        assert store._database.execute("SELECT count(*) FROM incident").fetchone() == (1,)


def test_all_or_nothing(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        keep(store, parcels("a"), "eve")
        store._database.execute(
            "CREATE TRIGGER full BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
        with pytest.raises(sqlite3.Error, match="disk full"):
            keep(store, parcels("b"), "eve")
        assert [incident.id for incident in store.living()] == ["a"]
        assert waiting(store, "eve") == ["a"]


def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "incidents.sqlite").write_bytes(b"not a database at all" * 100)
    with Store(tmp_path) as store:
        keep(store, parcels("a"), "eve")
        assert waiting(store, "eve") == ["a"]
        assert "was damaged (file is not a database)" in store.notices[0]
    assert len(list(tmp_path.glob("incidents.sqlite.damaged-*"))) == 1


def test_a_newer_file_is_left_alone(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store._database.execute("PRAGMA user_version=99")
    with pytest.raises(OperatorError, match="newer version of swarmtap"), Store(tmp_path):
        pass


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(OperatorError, match=r"cannot hold the sensor's state.*--state"),
        Store(tmp_path / "file" / "state"),
    ):
        pass
