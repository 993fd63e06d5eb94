"""Tables as Parquet: the columns of `schema.py` by name, order and type, so that pandas, DuckDB and Spark agree.

Categories are written as dictionary-encoded text: pandas reads them back as categories, everyone else as strings.
Nothing is null. What a column means travels with it as field metadata.
"""

from __future__ import annotations

import inspect
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from sensor.outfile import outfile
from sensor.schema import ActivityFrame, FlowFrame

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    import pandas as pd

    from sensor.schema import Table

ROW_GROUP: Final = 1 << 18  # rows held in memory twice; also a good unit of work for DuckDB and Spark

_DISTINCT: Final = frozenset({"community_id", "orig_port", "flow", "orig_ip"})  # of a flow: its own, or nearly


def write_flows(path: Path, frame: pd.DataFrame) -> None:
    """Write `flows.parquet`, one row per flow.

    Raises
    ------
    OperatorError
        If the file cannot be written; nothing is then left under its name.
    """
    write(path, frame, FlowFrame)


def write_activity(path: Path, frame: pd.DataFrame) -> None:
    """Write `activity.parquet`, one row per flow per window.

    Raises
    ------
    OperatorError
        If the file cannot be written; nothing is then left under its name.
    """
    write(path, frame, ActivityFrame)


def side_by_side(*writes: Callable[[], None]) -> None:
    """Write tables two at a time: most of the work is done in C++, which lets others run.

    Raises
    ------
    OperatorError
        If a file cannot be written; nothing is then left under its name.
    """
    with ThreadPoolExecutor(2) as threads:
        for written in [threads.submit(write) for write in writes]:
            written.result()


def write(path: Path, frame: pd.DataFrame, table: type[Table], without: Collection[str] = ()) -> None:
    """Write the columns of `table` out of `frame`; further columns, and those of `without`, are left out.

    Raises
    ------
    OperatorError
        If the file cannot be written; nothing is then left under its name.
    """
    schema = schema_of(table, without)
    with (
        outfile(path) as file,
        pq.ParquetWriter(
            file,
            schema,
            compression="zstd",
            compression_level=1,
            version="2.6",
            use_dictionary=_worded(schema),
            write_statistics=[field.name for field in schema if field.name not in _DISTINCT],
        ) as writer,
    ):
        for start in range(0, max(len(frame), 1), ROW_GROUP):
            rows = frame.iloc[start : start + ROW_GROUP]
            arrays = [_array(rows[field.name], field.type) for field in schema]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=ROW_GROUP)


def schema_of(table: type[Table], without: Collection[str] = ()) -> Any:
    """Return the Arrow schema of a frame's table.

    Raises
    ------
    nothing
    """
    fields = [
        pa.field(c.name, _type(c.dtype), nullable=False, metadata={"meaning": c.meaning, "unit": c.unit})
        for c in table.columns()
        if c.name not in without
    ]
    return pa.schema(fields, metadata={"table": table.__name__, "meaning": inspect.getdoc(table) or ""})


def _worded(schema: Any) -> list[str]:
    """Return the columns that are worth a dictionary: not those in which nearly every row says something else."""
    return [
        field.name
        for field in schema
        if field.name not in _DISTINCT and not (field.type == pa.int64() and field.metadata[b"unit"] == b"ns")
    ]


def _type(dtype: str) -> Any:
    if dtype == "category":
        return pa.dictionary(pa.int32(), pa.string())
    if dtype == "str":
        return pa.string()
    return pa.from_numpy_dtype(dtype)


def _array(column: pd.Series[Any], kind: Any) -> Any:
    if pa.types.is_dictionary(kind):
        categories = column.astype("category").cat
        codes = pa.array(categories.codes.to_numpy(), type=pa.int32(), mask=(categories.codes < 0).to_numpy())
        return pa.DictionaryArray.from_arrays(codes, pa.array(categories.categories.astype(str), type=pa.string()))
    if pa.types.is_string(kind):
        text = pa.array(column, from_pandas=True)
        whole = text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text
        return whole.cast(kind)
    return pa.array(column.to_numpy(), type=kind)
