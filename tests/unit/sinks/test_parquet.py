"""What other programs rely on: names, order, types, same bytes, whole or absent."""

from __future__ import annotations

import resource
import signal
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sensor.errors import OperatorError
from sensor.schema import ActivityFrame, FlowFrame
from sensor.sinks import parquet
from tests import cases

if TYPE_CHECKING:
    from pathlib import Path


def test_columns_are_those_of_the_schema_in_order(tmp_path: Path) -> None:
    parquet.write_flows(tmp_path / "flows.parquet", cases.flows({}))
    parquet.write_activity(tmp_path / "activity.parquet", cases.activity({}))
    assert pq.read_schema(tmp_path / "flows.parquet").names == FlowFrame.names()
    assert pq.read_schema(tmp_path / "activity.parquet").names == ActivityFrame.names()


def test_tables_written_side_by_side_are_those_written_alone_and_failures_are_told(tmp_path: Path) -> None:
    frames = [cases.flows({"flow": at}) for at in range(3)]
    names = ["one", "two", "three"]
    parquet.side_by_side(*(partial(parquet.write_flows, tmp_path / n, f) for n, f in zip(names, frames, strict=True)))
    for name, frame in zip(names, frames, strict=True):
        parquet.write_flows(tmp_path / "alone", frame)
        assert (tmp_path / name).read_bytes() == (tmp_path / "alone").read_bytes()
    with pytest.raises(OperatorError):
        parquet.side_by_side(partial(parquet.write_flows, tmp_path / "one" / "beneath a file", frames[0]))


def test_values_and_dtypes_come_back(tmp_path: Path) -> None:
    frame = cases.flows(
        {"verdict": "tls", "orig_ip": "2001:db8::1", "resp_payload_bytes": 2**40, "role_guessed": True},
        {"orig_site": "unknown", "vlan": 4095, "swarm_hash": "ab" * 32},
    )
    parquet.write_flows(tmp_path / "flows.parquet", frame)
    back = pd.read_parquet(tmp_path / "flows.parquet")
    pd.testing.assert_frame_equal(back, frame[FlowFrame.names()], check_categorical=False)
    assert back["verdict"].tolist() == ["tls", "do"]
    assert isinstance(back["verdict"].dtype, pd.CategoricalDtype)
    assert back["resp_payload_bytes"].tolist() == [1 << 40, 0]
    assert back["ip_version"].dtype == np.int8


def test_physical_types_are_plain_for_readers_that_know_no_arrow(tmp_path: Path) -> None:
    parquet.write_activity(tmp_path / "activity.parquet", cases.activity({}))
    columns = {c.name: c for c in pq.ParquetFile(tmp_path / "activity.parquet").schema}
    assert str(columns["schedule"].logical_type) == "String"
    assert columns["window_start_ns"].physical_type == "INT64"
    assert columns["window_s"].physical_type == "INT32"
    assert all(column.max_definition_level == 0 for column in columns.values())  # required: nothing is null


def test_meanings_travel_and_no_pandas_index_does(tmp_path: Path) -> None:
    parquet.write_flows(tmp_path / "flows.parquet", cases.flows({}))
    schema = pq.read_schema(tmp_path / "flows.parquet")
    assert schema.field("orig_gap_bytes").metadata[b"meaning"] == b"originator's bytes ACKed but never seen"
    assert schema.field("orig_gap_bytes").metadata[b"unit"] == b"byte"
    assert b"pandas" not in schema.metadata


def test_same_rows_same_bytes_whatever_the_index(tmp_path: Path) -> None:
    frame = cases.flows({}, {"orig_port": 50001})
    parquet.write_flows(tmp_path / "one", frame)
    parquet.write_flows(tmp_path / "two", frame.set_index(pd.Index([7, 9])))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_no_rows_is_a_table_with_columns(tmp_path: Path) -> None:
    parquet.write_flows(tmp_path / "flows.parquet", cases.flows())
    table = pq.read_table(tmp_path / "flows.parquet")
    assert table.num_rows == 0
    assert table.schema.names == FlowFrame.names()


def test_long_tables_are_cut_into_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP", 2)
    frame = cases.flows(*({"orig_port": port} for port in range(5)))
    parquet.write_flows(tmp_path / "flows.parquet", frame)
    assert pq.ParquetFile(tmp_path / "flows.parquet").metadata.num_row_groups == 3
    assert pd.read_parquet(tmp_path / "flows.parquet")["orig_port"].tolist() == [0, 1, 2, 3, 4]


def test_missing_category_is_our_mistake(tmp_path: Path) -> None:
    frame = cases.flows({"verdict": None})
    with pytest.raises(pa.ArrowInvalid):
        parquet.write_flows(tmp_path / "flows.parquet", frame)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_leaves_nothing_half(tmp_path: Path) -> None:
    frame = cases.flows(*({"orig_ip": f"10.1.{at // 200}.{at % 200}"} for at in range(2000)))
    was = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, was[1]))
    try:
        with pytest.raises(OperatorError, match="free some space there"):
            parquet.write_flows(tmp_path / "flows.parquet", frame)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, was)
        signal.signal(signal.SIGXFSZ, ignored)
    assert list(tmp_path.iterdir()) == []
