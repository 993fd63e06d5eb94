"""Rows by site and day, in files that appear whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

from sensor.schema import ActivityFrame, FlowFrame
from sensor.sinks import spool
from sensor.sinks.spool import Spool
from tests import cases

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86400 * cases.SECOND


def test_rows_go_to_their_site_and_day(tmp_path: Path) -> None:
    made = Spool(tmp_path)
    made.add(
        cases.activity({"site": "hq"}, {"site": "ber"}, {"site": "hq", "window_start_ns": cases.NOON + DAY}),
        cases.flows({"orig_site": "ber"}),
    )
    made.work(list)
    assert not list(tmp_path.iterdir())  # they gather for a while
    made.close()
    found = {str(path.parent.relative_to(tmp_path)): path for path in tmp_path.rglob("*.parquet")}
    assert sorted(found) == [
        "activity/site=ber/day=2026-03-10",
        "activity/site=hq/day=2026-03-10",
        "activity/site=hq/day=2026-03-11",
        "flows/site=ber/day=2026-03-10",
    ]
    assert list(pd.read_parquet(found["activity/site=hq/day=2026-03-11"], partitioning=None)) == ActivityFrame.names()
    assert list(pd.read_parquet(found["flows/site=ber/day=2026-03-10"], partitioning=None)) == FlowFrame.names()


def test_what_cannot_be_written_waits(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    made = Spool(tmp_path / "file", every_s=0.0)
    made.add(cases.activity({}), cases.flows())
    with pytest.raises(OSError, match="cannot be written"):
        made.work(list)
    assert len(made._frames) == 1


def test_what_was_written_before_a_failure_is_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, put = Spool(tmp_path, every_s=0.0), Spool._put
    failures = iter((False, True, True, False, False))

    def failing(self: Spool, table: str, site: str, day: int, rows: pd.DataFrame) -> None:
        if next(failures):
            raise OSError(28, "No space left on device")
        put(self, table, site, day, rows)

    monkeypatch.setattr(Spool, "_put", failing)
    made.add(cases.activity({"site": "hq"}, {"site": "ber"}, {"site": "unknown"}), cases.flows())
    for _ in range(2):
        with pytest.raises(OSError, match="No space"):
            made.work(list)
    made.work(list)
    written = sorted(path.parent.parent.name for path in tmp_path.rglob("*.parquet"))
    assert written == ["site=ber", "site=hq", "site=unknown"]

    assert not made._rows


def test_what_waits_is_bounded_and_the_rest_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "MOST_ROWS", 3)
    made = Spool(tmp_path)
    for _ in range(3):
        made.add(cases.activity({}, {}), cases.flows())
    assert made.lost_rows == 4
