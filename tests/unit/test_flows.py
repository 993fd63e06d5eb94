"""The flow table as a stage: windows and endings leave once, when they are done; it grows, and scratch never shows."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor import flows
from sensor.decode import decode
from sensor.flows import FlowOptions, FlowTable
from sensor.schema import END_REASONS, Endings, Rows, Windows
from tests.builders import do_handshake
from tests.memory import held_kb
from tests.streams import NOON, SECOND, Tape, batch_of


def packets_of(*tapes: Tape) -> Rows:
    return decode(batch_of(sorted((f for tape in tapes for f in tape.frames), key=lambda frame: frame[0])))


def syns(count: int, *, step_ns: int = 1000, hosts: int = 250) -> Rows:
    """Return one SYN each of so many flows."""
    tapes = [
        Tape(f"10.{at // hosts}.0.{at % hosts + 1}", orig_port=2000 + at % hosts, start_ns=NOON + at * step_ns).syn()
        for at in range(count)
    ]
    return packets_of(*tapes)


def told(windows: Rows) -> list[tuple[int, int]]:
    """Return (flow, seconds of the window's start after noon)."""
    return [(int(row["flow"]), int(row["window_start_ns"] - NOON) // SECOND) for row in windows]


def test_nothing_is_told_while_it_goes_on() -> None:
    table = FlowTable()
    table.push(packets_of(Tape().open()))
    windows, endings = table.take()
    assert (len(windows), len(endings), table.living, table.waiting) == (0, 0, 1, 0)


def test_a_window_is_told_when_the_next_one_begins() -> None:
    table = FlowTable()
    tape = Tape().open().orig(0, b"ab").orig(2, b"cde", at_ms=9_999).orig(5, b"f", at_ms=10_000)
    table.push(packets_of(tape))
    assert table.waiting == 2, "the window, and the flow that has begun"
    windows, endings = table.take()
    assert (told(windows), len(endings)) == ([(0, 0)], 0)
    assert windows["orig_payload_bytes"].tolist() == [5]
    assert (windows["first_ts_ns"][0], windows["last_ts_ns"][0]) == (NOON, NOON + 9_999_000_000)
    assert table.waiting == 0
    assert [len(rows) for rows in table.take()] == [0, 0], "each is handed out once"
    table.sweep(NOON, everything=True)
    windows, endings = table.take()
    assert (told(windows), windows["orig_payload_bytes"].tolist()) == ([(0, 10)], [1])
    assert endings["flow"].tolist() == [0]


@pytest.mark.parametrize(("until_s", "told_windows"), [(-10, []), (0, []), (10, [(0, 0)]), (1000, [(0, 0)])])
def test_a_sweep_tells_the_windows_that_have_ended(until_s: int, told_windows: list[tuple[int, int]]) -> None:
    table = FlowTable()
    table.push(packets_of(Tape().open()))
    table.sweep(NOON + until_s * SECOND)
    windows, endings = table.take()
    assert (told(windows), len(endings), table.living) == (told_windows, 0, 1)
    table.sweep(NOON + until_s * SECOND)
    assert [len(rows) for rows in table.take()] == [0, 0]


def test_a_flow_that_goes_on_after_a_sweep_gets_a_new_window() -> None:
    table = FlowTable()
    packets = packets_of(Tape().open().orig(0, do_handshake(), at_ms=25_000))
    table.push(packets[:3])
    table.sweep(NOON + 20 * SECOND)
    table.push(packets[3:])
    table.sweep(NOON, everything=True)
    windows, endings = table.take()
    assert told(windows) == [(0, 0), (0, 20)]
    assert windows["orig_packets"].tolist() == [2, 1]
    assert windows["established"].tolist() == [1, 1]
    assert END_REASONS[endings["end_reason"][0]] == "flushed"


@pytest.mark.parametrize(
    ("closed", "until_s", "reason"),
    [(False, 7200, ""), (False, 7201, "idle"), (True, 300, ""), (True, 302, "closed")],
)
def test_a_sweep_ends_flows_that_have_rested(until_s: int, reason: str, *, closed: bool) -> None:
    table = FlowTable()
    tape = Tape().open()
    table.push(packets_of(tape.close() if closed else tape))
    table.sweep(NOON + until_s * SECOND)
    endings = table.take()[1]
    assert [END_REASONS[e["end_reason"]] for e in endings] == ([reason] if reason else [])
    assert table.living == (0 if reason else 1)


def test_windows_are_as_long_as_asked() -> None:
    table = FlowTable(FlowOptions(window_s=60))
    tape = Tape()
    for second in (0, 59, 60, 121):
        tape.orig(second, b"x", at_ms=second * 1000)
    table.push(packets_of(tape))
    table.sweep(NOON, everything=True)
    assert table.window_ns == 60 * SECOND
    assert told(table.take()[0]) == [(0, 0), (0, 60), (0, 120)]


def test_what_was_handed_out_stays_as_it_was() -> None:
    table = FlowTable()
    tracks = table.push(packets_of(Tape().open().orig(0, b"x", at_ms=10_000)))
    windows, _ = table.take()
    before = (windows.tolist(), tracks.tolist())
    table.push(packets_of(*(Tape(orig_port=port, start_ns=NOON + 60 * SECOND).open() for port in range(100, 120))))
    table.sweep(NOON, everything=True)
    table.take()
    assert (windows.tolist(), tracks.tolist()) == before


def test_the_table_fills_and_forgets_nobody() -> None:
    count = 10_000
    packets = syns(count)
    table = FlowTable()
    tracks = table.push(packets)
    assert tracks["flow"].tolist() == list(range(count))
    assert (table.living, table.evicted) == (count, 0)
    again = packets.copy()
    again["ts_ns"] += SECOND
    again["ip_id"] += 7
    assert table.push(again)["flow"].tolist() == list(range(count))
    table.sweep(NOON, everything=True)
    windows, endings = table.take()
    assert sorted(endings["flow"].tolist()) == list(range(count))
    assert (len(windows), set(windows["syns"].tolist())) == (count, {2})
    assert table.living == 0


def test_more_ends_at_once_than_there_is_room_for() -> None:
    count = flows._ROOM + 5
    table = FlowTable()
    table.push(syns(count))
    table.sweep(NOON + 10 * SECOND)
    assert table.waiting == 2 * count, "all that ended, and all that began"
    table.sweep(NOON, everything=True)
    windows, endings = table.take()
    assert sorted(windows["flow"].tolist()) == sorted(endings["flow"].tolist()) == list(range(count))


@pytest.mark.parametrize("everything", [False, True])
def test_what_ends_at_once_is_handed_out_in_portions(monkeypatch: pytest.MonkeyPatch, *, everything: bool) -> None:
    monkeypatch.setattr(flows, "_ROOM", 16)
    monkeypatch.setattr(flows, "_PORTION", 60)
    whole, cut = FlowTable(), FlowTable()
    for table in (whole, cut):
        table.push(syns(200))
        table.take()
    whole.sweep(NOON + 10 * SECOND, everything=everything)
    portions = list(cut.portions(NOON + 10 * SECOND, everything=everything))
    assert (len(portions), cut.living) == (3, whole.living)
    assert all(60 <= len(windows) <= 64 for windows, _ in portions)
    portions.append(cut.take())
    for rows, parts in zip(whole.take(), zip(*portions, strict=True), strict=True):
        assert np.concatenate(parts).tolist() == rows.tolist()
    assert list(cut.portions(NOON + 10 * SECOND, everything=everything)) == []


def test_a_table_without_room_for_another_lets_the_oldest_go() -> None:
    table = FlowTable(FlowOptions(capacity=3))
    table.push(syns(5))
    assert (table.living, table.evicted) == (3, 2)
    windows, endings = table.take()
    assert windows["flow"].tolist() == endings["flow"].tolist() == [0, 1]
    assert {END_REASONS[reason] for reason in endings["end_reason"]} == {"evicted"}


def test_late_packets_are_counted() -> None:
    packets = packets_of(Tape().open())
    table = FlowTable()
    table.push(packets[::-1].copy())
    assert table.late == 2


def test_no_packets() -> None:
    table = FlowTable()
    assert len(table.push(packets_of(Tape().open())[:0])) == 0
    table.sweep(NOON, everything=True)
    assert [len(rows) for rows in table.take()] == [0, 0]
    assert [rows.dtype for rows in table.take()] == [Windows.dtype(), Endings.dtype()]


@pytest.mark.parametrize("going_on", [0, 1, 40, 99])
def test_records_of_windows_move_together_after_many(monkeypatch: pytest.MonkeyPatch, going_on: int) -> None:
    monkeypatch.setattr(flows, "_COUNTS", 16)
    first, later, last = syns(200), syns(going_on), syns(230)
    for number, packets in enumerate((first, later, last)):
        packets["ts_ns"] += number * 10 * SECOND
        packets["seq"] += number
    table, plain = FlowTable(), FlowTable()
    monkeypatch.setattr(plain, "_move_together", lambda: None)
    for each in (table, plain):
        each.push(first)
        each.push(later[: going_on // 2])
        each.sweep(NOON + 10 * SECOND)
        each.push(later[going_on // 2 :])
        each.push(last)
        each.sweep(NOON, everything=True)
    assert [rows.tolist() for rows in table.take()] == [rows.tolist() for rows in plain.take()]


def test_memory_of_many_open_windows_is_given_back() -> None:
    packets = np.repeat(syns(1), 400_000)
    packets["src_lo"] += np.arange(len(packets), dtype=np.uint64)
    table = FlowTable()
    table.push(packets)
    before = [held_kb() for _ in table.portions(NOON + 10 * SECOND)][-1]
    assert before - held_kb() > 25_000  # of 42 MB, some of it the room for the next window
    assert table.living == 400_000


@settings(max_examples=60, deadline=None)
@given(st.randoms())
def test_rows_are_the_same_wherever_their_records_lie(chance: Any) -> None:
    tapes = []
    for at in range(chance.randint(1, 30)):
        tape = Tape(f"10.0.0.{at + 1}", orig_port=2000 + at, start_ns=NOON + chance.randrange(20) * SECOND).open()
        sent = 0
        for at_ms in sorted(chance.randrange(60_000) for _ in range(chance.randrange(6))):
            tape.orig(sent, b"abc"[: chance.randint(1, 3)], at_ms=at_ms)
            sent += 3 if chance.random() < 0.8 else 1
        tapes.append(tape)
    packets = packets_of(*tapes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flows, "_COUNTS", 1)
        moving, plain = FlowTable(), FlowTable()
        patch.setattr(plain, "_move_together", lambda: None)
        cuts = sorted({0, len(packets), *(chance.randrange(len(packets)) for _ in range(8))})
        for start, end in pairwise(cuts):
            now_ns = int(packets["ts_ns"][end - 1])
            for table in (moving, plain):
                table.push(packets[start:end])
                table.sweep(now_ns // (10 * SECOND) * 10 * SECOND)
            assert moving.waiting == plain.waiting
        for table in (moving, plain):
            table.sweep(NOON, everything=True)
        assert [rows.tolist() for rows in moving.take()] == [rows.tolist() for rows in plain.take()]
