"""Carried rows against one plain frame, however they came and whatever was forgotten of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor import text
from sensor.rules import carried
from sensor.rules.carried import Carried

ENDS = ("orig_hi", "orig_lo", "orig_port", "resp_hi", "resp_lo", "resp_port")
V4 = 0xFFFF << 32


def frame(start: int, many: int, *, site: str = "hq") -> pd.DataFrame:
    """Return rows that differ in number and originator, with the text that belongs to their numbers."""
    at = np.arange(start, start + many)
    ends = {
        "orig_hi": np.zeros(many, np.uint64), "orig_lo": V4 + at.astype(np.uint64), "orig_port": at % 60_000,
        "resp_hi": np.zeros(many, np.uint64), "resp_lo": np.full(many, V4 + 0x0A000001, np.uint64),
        "resp_port": np.full(many, 7680),
    }  # fmt: skip
    ports = [ends[name].astype(np.uint16) for name in ("orig_port", "resp_port")]
    told = {
        "orig_ip": text.addresses(ends["orig_hi"], ends["orig_lo"]),
        "resp_ip": text.addresses(ends["resp_hi"], ends["resp_lo"]),
        "community_id": text.community_ids(
            ends["orig_hi"], ends["orig_lo"], ports[0], ends["resp_hi"], ends["resp_lo"], ports[1]
        ),
    }
    sites = pd.Categorical([site] * many, categories=[site, "unknown"])
    return pd.DataFrame({"number": at, "one": np.int64(1), "site": sites, **ends, **told})


def test_what_can_be_told_again_from_numbers_is_carried_as_numbers() -> None:
    names = ["number", "orig_ip", "community_id"]
    assert carried.carried(names, frame(0, 1)) == ["number", *ENDS[:2], ENDS[2], *ENDS[3:]]
    assert carried.carried(["number", "orig_ip"], frame(0, 1)) == ["number", "orig_hi", "orig_lo"]
    assert carried.carried(names, frame(0, 1).drop(columns="orig_port")) == names


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.sampled_from([1, 4, 65_536]), st.randoms())
def test_rows_are_what_one_frame_would_hold(sizes: list[int], small: int, chance: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(carried, "_SMALL", small)
        rows, plain = Carried(), frame(0, 0)
        for start, many in enumerate(sizes):
            new = frame(start * 10, many, site=chance.choice(["hq", "branch"]))
            rows.add(new.drop(columns=["orig_ip", "resp_ip", "community_id"]))
            plain = pd.concat([plain, new.astype({"site": "str"})], ignore_index=True)
            if chance.random() < 0.4:
                kept = np.array([chance.random() < 0.7 for _ in range(len(plain))], dtype=np.bool_)
                rows.keep(kept)
                plain = plain[kept].reset_index(drop=True)
            if chance.random() < 0.4 and len(plain):
                values = np.array([chance.randrange(9) for _ in range(len(plain))])
                rows.set("one", values)
                plain["one"] = values
    assert len(rows) == len(plain)
    if not len(plain):
        assert rows.frame() is None
        return
    which = np.array([chance.random() < 0.6 for _ in range(len(plain))], dtype=np.bool_)
    which[chance.randrange(len(plain))] = True
    chosen, expected = rows.choose(which), plain[which].reset_index(drop=True)
    assert len(chosen) == len(expected)
    for name in ("number", "one", "site", "orig_lo"):
        assert chosen[name].astype("str").tolist() == expected[name].astype("str").tolist()
        assert rows.all()[name].astype("str").tolist() == plain[name].astype("str").tolist()
    at = np.array([chance.randrange(len(expected)) for _ in range(5)])
    names = ["community_id", "number", "orig_ip", "resp_ip"]
    pd.testing.assert_frame_equal(
        chosen.take(at, names), expected.iloc[at][names].reset_index(drop=True), check_dtype=False
    )
    whole = rows.frame()
    assert whole is not None
    assert whole["number"].tolist() == plain["number"].tolist()


def test_a_part_is_replaced_with_its_own_share_of_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carried, "_SMALL", 1)
    rows = Carried([frame(0, 3), frame(10, 2), frame(20, 1)])
    rows.replace(lambda part, mine: part[~mine].reset_index(drop=True), np.array([1, 0, 0, 1, 1, 0], dtype=np.bool_))
    assert rows.all()["number"].tolist() == [1, 2, 20]
    assert "orig_ip" in rows.all()
    assert "no such column" not in rows.all()


def test_what_came_in_many_rows_is_not_copied() -> None:
    first, second = frame(0, carried._SMALL), frame(100_000, 5)
    rows = Carried()
    rows.add(first)
    rows.add(second)
    rows.add(frame(200_000, 5))
    assert [len(part) for part in rows._parts] == [carried._SMALL, 10]
    assert np.shares_memory(rows._parts[0]["number"].to_numpy(), first["number"].to_numpy())
