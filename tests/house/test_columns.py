"""Every column has a meaning, and the page of columns says what the code says."""

from __future__ import annotations

import inspect

import pytest

from sensor import schema
from tests.house import columns

TABLES = [
    table
    for _, table in inspect.getmembers(schema, inspect.isclass)
    if issubclass(table, schema.Table) and table is not schema.Table
]


def test_page_is_as_generated() -> None:
    written = columns.PAGE.read_text(encoding="utf-8")
    assert written == columns.page(), "run python -m tests.house.columns"


def test_page_has_every_table_once() -> None:
    assert sorted(t.__name__ for t in (*columns.FRAMES, *columns.ROWS)) == sorted(t.__name__ for t in TABLES)


def test_page_has_every_enumeration() -> None:
    named = {
        name
        for name, value in vars(schema).items()
        if name.isupper() and isinstance(value, tuple) and all(isinstance(word, str) for word in value)
    }
    assert named == {*columns.WORDS, "WEIRDS"}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_columns_are_documented(table: type[schema.Table]) -> None:
    found = table.columns()
    assert found
    assert table.__doc__
    for column in found:
        assert column.meaning.strip(), f"{table.__name__}.{column.name} has no meaning"
        assert not column.meaning.endswith("."), f"{table.__name__}.{column.name}: a meaning is a phrase"


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
@pytest.mark.parametrize(("suffix", "unit"), [("_ns", "ns"), ("_bytes", "byte"), ("_s", "s")])
def test_units_live_in_names(table: type[schema.Table], suffix: str, unit: str) -> None:
    for column in table.columns():
        if column.name.endswith(suffix):
            assert column.unit == unit, f"{table.__name__}.{column.name} is in {column.unit or 'no unit'}"


def test_weird_kinds_are_documented() -> None:
    rows = [line for line in columns.page().splitlines() if line.startswith(tuple(f"| `{k}` |" for k in schema.WEIRDS))]
    assert len(rows) == len(schema.WEIRDS)
    assert not [row for row in rows if row.endswith("|  |")]
