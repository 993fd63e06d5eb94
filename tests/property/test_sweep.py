"""When windows are asked for makes no difference to what is in them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.decode import decode
from sensor.flows import FlowOptions, FlowTable
from sensor.messages import MessageReader
from tests.builders import do_bitfield, do_handshake, do_have, do_keepalive, do_piece, do_request
from tests.property.test_sums import rubbish
from tests.streams import SECOND, Tape, batch_of

if TYPE_CHECKING:
    from sensor.schema import Rows

OPTIONS = FlowOptions(idle_s=60, closed_s=5, active_s=120)
WORDS = (
    do_handshake()
    + do_bitfield({1, 2}, 20)
    + b"".join(do_request(at) + do_have(at) for at in range(8))
    + do_keepalive()
)
ANSWER = do_handshake(peer_id=bytes(16)) + b"".join(do_piece(at, 0, bytes(30)) for at in range(8))


def told(frames: list[tuple[int, bytes]], cuts: set[int]) -> tuple[list[Any], ...]:
    """Return windows, endings, messages and handshakes; behind each packet of `cuts` what is complete is taken."""
    made = batch_of(frames)
    packets = decode(made)
    table, reader = FlowTable(OPTIONS), MessageReader()
    parts: tuple[list[Rows], ...] = ([], [], [], [])

    def take(until_ns: int | None) -> None:
        table.sweep(int(packets["ts_ns"].max()) if until_ns is None else until_ns, everything=until_ns is None)
        heard = reader.settle(until_ns)
        for part, rows in zip(parts, (*table.take(), heard.messages, heard.handshakes), strict=True):
            part.append(rows)

    for at in range(len(packets)):
        one = packets[at : at + 1]
        heard = reader.push(one, made.data, table.push(one))
        parts[2].append(heard.messages)
        parts[3].append(heard.handshakes)
        if at in cuts:
            take(int(one["ts_ns"][0]) // (10 * SECOND) * 10 * SECOND)
    take(None)
    windows, endings, messages, shakes = (np.concatenate(part) for part in parts)
    return (
        np.sort(windows, order=["flow", "window_start_ns"]).tolist(),
        np.sort(endings, order="flow").tolist(),
        np.sort(messages, order=["flow", "from_resp", "position", "kind"]).tolist(),
        sorted((int(s["flow"]), int(s["from_resp"]), int(s["ts_ns"]), bytes(s["peer_id"])) for s in shakes),
    )


@settings(deadline=None, max_examples=60)
@given(frames=rubbish(), cuts=st.sets(st.integers(0, 60)))
def test_any_packets(frames: list[tuple[int, bytes]], cuts: set[int]) -> None:
    assert told(frames, cuts) == told(frames, set())


@st.composite
def lossy(draw: st.DrawFn) -> list[tuple[int, bytes]]:
    """Return a conversation in segments, some of them lost, some later than others, over several windows."""
    tape = Tape(step_ms=1).open()
    step_ms = draw(st.sampled_from([1, 500, 3000]))
    for side, stream in ((0, WORDS), (1, ANSWER)):
        edges = sorted(draw(st.sets(st.integers(1, len(stream) - 1), max_size=14)) | {0, len(stream)})
        for start, end in pairwise(edges):
            late_ms = draw(st.sampled_from([0, 0, 0, 2, 40, 11_000]))
            tape.send(side, start, stream[start:end], at_ms=10 + step_ms * start // 10 + late_ms)
    lost = draw(st.sets(st.integers(3, len(tape.frames) - 1), max_size=4))
    return sorted((frame for at, frame in enumerate(tape.frames) if at not in lost), key=lambda frame: frame[0])


@settings(deadline=None, max_examples=60)
@given(frames=lossy(), cuts=st.sets(st.integers(0, 30)))
def test_conversations_with_loss(frames: list[tuple[int, bytes]], cuts: set[int]) -> None:
    assert told(frames, cuts) == told(frames, set())
