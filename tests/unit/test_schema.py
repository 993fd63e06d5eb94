"""Tables say what they are: columns with dtype and meaning, rows as kernels read them, enumerations as promised."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Annotated, Literal

import numpy as np
import pytest

from sensor import schema
from sensor.schema import Column, Handshakes, Messages, Packets, Table, Tracks

TABLES = [
    kind for kind in vars(schema).values() if isinstance(kind, type) and issubclass(kind, Table) and kind is not Table
]
ROWS = [kind for kind in TABLES if not kind.__name__.endswith("Frame")]
FRAMES = [kind for kind in TABLES if kind.__name__.endswith("Frame")]
UNITS = {"_ns": "ns", "_s": "s", "_ms": "ms", "_bytes": "byte", "_packets": "packet"}


class Sample(Table):
    """A table for this test."""

    small: Annotated[np.uint8, "bits", "flags"]
    large: Annotated[np.int64, "ns", "when"]
    raw: Annotated[Literal["uint8[3]"], "", "three bytes"]


class Framed(Table):
    """A frame for this test."""

    name: Annotated[Literal["str"], "", "its name"]
    site: Annotated[Literal["category"], "", "its site"]
    sure: Annotated[np.bool_, "", "whether"]


def test_a_table_is_its_annotations() -> None:
    assert Sample.names() == ["small", "large", "raw"]
    assert Sample.columns() == (
        Column("small", "uint8", "bits", "flags"),
        Column("large", "int64", "ns", "when"),
        Column("raw", "uint8[3]", "", "three bytes"),
    )
    assert [column.dtype for column in Framed.columns()] == ["str", "category", "bool"]


def test_rows_are_aligned_as_kernels_read_them() -> None:
    dtype = Sample.dtype()
    assert dtype.names == ("small", "large", "raw")
    assert [dtype.fields[name][1] for name in dtype.names] == [0, 8, 16]  # type: ignore[index]
    assert (dtype.itemsize, dtype.isalignedstruct, dtype["raw"].shape) == (24, True, (3,))


def test_empty_rows_are_zero() -> None:
    assert len(Sample.empty()) == 0
    rows = Sample.empty(2)
    assert rows.dtype == Sample.dtype()
    assert not rows.tobytes().strip(b"\0")
    assert Sample.empty(2) is not rows


def test_a_column_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        Sample.columns()[0].name = "other"  # type: ignore[misc]


def test_all_tables_are_looked_at() -> None:
    assert {"Frames", "Packets", "Tracks", "Windows", "Endings", "Messages", "Handshakes"} <= {k.__name__ for k in ROWS}
    assert {"ActivityFrame", "JudgedFrame", "FlowFrame", "FindingFrame"} <= {k.__name__ for k in FRAMES}


@pytest.mark.parametrize("table", TABLES, ids=lambda kind: kind.__name__)
def test_every_column_says_what_it_is(table: type[Table]) -> None:
    assert (table.__doc__ or "").strip()
    for column in table.columns():
        assert column.meaning.strip(), column.name
        assert column.name.isidentifier()
        assert column.name == column.name.lower()
        # Units live in names, and the unit that is declared is that of the name.
        for ending, unit in UNITS.items():
            if column.name.endswith(ending):
                assert column.unit == unit, column.name
        assert not column.dtype.startswith("float") or "_ns" not in column.name, "time is never a float"


@pytest.mark.parametrize("table", ROWS, ids=lambda kind: kind.__name__)
def test_rows_hold_numbers_only(table: type[Table]) -> None:
    assert all(table.dtype()[name].base.kind in "iu" for name in table.names())
    assert table.dtype().isalignedstruct


@pytest.mark.parametrize("table", FRAMES, ids=lambda kind: kind.__name__)
def test_frames_hold_what_pandas_and_parquet_have(table: type[Table]) -> None:
    for column in table.columns():
        assert column.dtype in {"str", "category", "object"} or np.dtype(column.dtype).kind in "iufb"


def test_columns_of_one_name_mean_one_thing_in_the_frames_of_a_case() -> None:
    activity = {column.name for column in schema.ActivityFrame.columns()}
    judged = {column.name for column in schema.JudgedFrame.columns()}
    assert not activity & judged, "rules see both side by side"


def test_sizes_that_memory_is_planned_by() -> None:
    # Of each there is one per packet, or per message: a column more is a decision.
    assert (Packets.dtype().itemsize, Tracks.dtype().itemsize, Messages.dtype().itemsize) == (120, 40, 56)
    assert Handshakes.dtype()["swarm_hash"].shape == (32,)
    assert Handshakes.dtype()["peer_id"].shape == (16,)


@pytest.mark.parametrize(
    "names",
    [
        schema.SCOPES, schema.PEERINGS, schema.SCHEDULES, schema.OUTCOMES, schema.VERDICTS, schema.CONN_STATES,
        schema.END_REASONS, schema.ROLES, schema.LEVELS, schema.WEIRDS,
    ],
)  # fmt: skip
def test_an_enumeration_names_each_once(names: tuple[str, ...]) -> None:
    assert len(set(names)) == len(names) < 128  # codes are int8


def test_orders_that_others_rely_on() -> None:
    assert schema.VERDICTS[0] == "too_little"  # zeroed rows have said nothing
    assert schema.OUTCOMES == (
        "attempt",
        "refused",
        "listener",
        "established",
        "transfer",
    )  # each further than the last
    assert schema.PEERINGS == ("disabled", "scheduled", "allowed", "unknown")  # each less strict than the last
    assert schema.LEVELS == ("informational", "low", "medium", "high", "critical")


def test_each_weird_has_its_bit() -> None:
    assert list(schema.WEIRD_BIT) == list(schema.WEIRDS)
    assert [schema.WEIRD_BIT[name] for name in schema.WEIRDS] == [2**at for at in range(len(schema.WEIRDS))]
    assert len(schema.WEIRDS) <= 32  # Packets.weird is uint32


def test_our_kinds_of_message_are_none_of_the_protocol() -> None:
    ours = [value for name, value in vars(schema).items() if name.startswith("KIND_")]
    assert len(set(ours)) == len(ours)
    assert all(20 < kind < 256 for kind in ours)
