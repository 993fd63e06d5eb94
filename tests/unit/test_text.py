"""Columns of text: the dtype pandas gives strings of its own, right rows from strided tables, nothing for no rows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sensor import text
from sensor.schema import Handshakes, Packets


def test_addresses_come_from_strided_columns() -> None:
    packets = Packets.empty(2)
    packets["src_lo"] = [0xFFFF0A000001, 1]
    packets["src_hi"] = [0, 0x20010DB8 << 32]
    got = text.addresses(packets["src_hi"], packets["src_lo"])
    assert list(got) == ["10.0.0.1", "2001:db8::1"]
    assert got.dtype == pd.Series(["a"]).dtype


def test_words_are_chosen_by_their_number() -> None:
    got = text.chosen(["CHG-1", "CHG-2", ""], np.array([-1, 1, 0, -1], dtype=np.int32))
    assert list(got) == ["", "CHG-2", "CHG-1", ""]
    assert got.dtype == pd.Series(["a"]).dtype
    assert len(text.chosen([""], np.zeros(0, dtype=np.int32))) == 0


def test_hashes_and_guids_come_from_handshakes() -> None:
    handshakes = Handshakes.empty(2)
    handshakes["swarm_hash"][0] = np.arange(32)
    handshakes["peer_id"][1] = np.arange(16)
    assert list(text.hexes(handshakes["swarm_hash"])) == [bytes(range(32)).hex(), "00" * 32]
    assert list(text.hexes(handshakes["swarm_hash"], np.array([False, True]))) == ["", "00" * 32]
    assert list(text.guids(handshakes["peer_id"])) == [
        "00000000-0000-0000-0000-000000000000",
        "03020100-0504-0706-0809-0a0b0c0d0e0f",
    ]
    assert list(text.guids(handshakes["peer_id"], np.array([False, False]))) == ["", ""]


def test_community_ids_take_a_seed() -> None:
    address = (np.zeros(1, dtype=np.uint64), np.array([0xFFFF80E86E78], dtype=np.uint64))
    other = (np.zeros(1, dtype=np.uint64), np.array([0xFFFF4223FACC], dtype=np.uint64))
    high, low = np.array([34855], dtype=np.uint16), np.array([80], dtype=np.uint16)
    assert list(text.community_ids(*address, high, *other, low)) == ["1:LQU9qZlK+B5F3KDmev6m5PMibrg="]
    assert list(text.community_ids(*other, low, *address, high)) == ["1:LQU9qZlK+B5F3KDmev6m5PMibrg="]
    assert list(text.community_ids(*address, high, *other, low, seed=1)) == ["1:3V71V58M3Ksw/yuFALMcW0LAHvc="]


def test_no_rows() -> None:
    none = np.zeros(0, dtype=np.uint64)
    ports = np.zeros(0, dtype=np.uint16)
    assert len(text.addresses(none, none)) == 0
    assert len(text.hexes(np.zeros((0, 32), dtype=np.uint8))) == 0
    assert len(text.guids(np.zeros((0, 16), dtype=np.uint8))) == 0
    assert len(text.community_ids(none, none, ports, none, none, ports)) == 0


def test_columns_take_part_in_frames() -> None:
    frame = pd.DataFrame({"ip": text.addresses(np.zeros(3, np.uint64), np.array([1, 2, 1], np.uint64))})
    assert frame.groupby("ip").size().to_dict() == {"::1": 2, "::2": 1}
    assert (frame["ip"] == "::1").tolist() == [True, False, True]
