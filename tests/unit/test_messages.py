"""The message reader's own part: when what is awaited is given up, and that nothing depends on batches."""

from __future__ import annotations

import numpy as np
import pytest

from sensor.decode import Decoder
from sensor.flows import FlowTable
from sensor.kernels import framing
from sensor.messages import MessageReader
from sensor.schema import KIND_GAP, KIND_VERDICT, Packets, Rows, Tracks
from tests.builders import do_bitfield, do_handshake, do_have, do_message, do_piece
from tests.streams import NOON, ORIG, RESP, SECOND, Tape, batch_of, play

HELLO = do_handshake()
BODY = np.random.default_rng(5).integers(0, 256, 3000, dtype=np.uint8).tobytes()


def kinds(messages: Rows) -> list[int]:
    return [int(kind) for kind in messages["kind"] if kind != KIND_VERDICT]


def test_the_state_of_a_flow_is_at_most_256_bytes() -> None:
    reader, _, _ = read(torn())
    assert framing.STREAM.itemsize + reader._places.itemsize <= 256


def test_flows_without_payload_cost_four_bytes() -> None:
    packets = Packets.empty(1)
    packets[:] = np.zeros(1, dtype=packets.dtype)
    tracks = np.zeros(1, dtype=Tracks.dtype())
    tracks["slot"] = 4_000_000
    reader = MessageReader()
    reader.push(packets, np.zeros(0, dtype=np.uint8), tracks)
    assert len(reader._places) == 4_000_001
    assert reader._memory[framing.USED_STREAMS] == 0
    assert len(reader._streams) == 1024


def test_more_flows_than_there_were_streams() -> None:
    frames = []
    for port in range(3000):
        frames += Tape(orig_port=10_000 + port, start_ns=NOON + port).open().orig(0, HELLO).frames
    assert len(play(frames).handshakes) == 3000


def read(tape: Tape) -> tuple[MessageReader, Rows, Rows]:
    made = batch_of(tape.frames)
    packets = Decoder().push(made)
    reader = MessageReader()
    tracks = FlowTable().push(packets)
    return reader, reader.push(packets, made.data, tracks).messages, tracks


def torn() -> Tape:
    """Return a connection of which the second piece's first segment is missing, 1 s after noon."""
    tape = Tape(start_ns=NOON + SECOND, step_ms=1).open()
    tape.orig(0, HELLO + do_piece(0, 0, BODY))
    second = 75 + 13 + len(BODY)
    tape.orig(second + 1000, do_piece(1, 0, BODY)[1000:])
    return tape.orig(second + 13 + len(BODY), do_piece(2, 0, BODY))


def test_what_is_awaited_is_given_up_when_the_window_ends() -> None:
    reader, messages, _ = read(torn())
    assert kinds(messages) == [252, 7]
    assert len(reader.settle(NOON + 9 * SECOND).messages) == 0
    late = reader.settle(NOON + 10 * SECOND).messages
    assert kinds(late) == [KIND_GAP, 7]
    assert late["index"][1] == 2
    assert (late["ts_ns"] < NOON + 10 * SECOND).all()
    assert len(reader.settle(None).messages) == 0


def test_a_packet_of_the_next_window_gives_up_too() -> None:
    tape = torn()
    end = 75 + 3 * (13 + len(BODY))
    tape.orig(end, do_have(1), at_ms=9500)
    reader, messages, _ = read(tape)
    assert kinds(messages) == [252, 7, KIND_GAP, 7, 4]
    assert len(reader.settle(None).messages) == 0


def test_a_gap_says_where_it_is() -> None:
    reader, _, _ = read(torn())
    (gap,) = [m for m in reader.settle(None).messages if m["kind"] == KIND_GAP]
    second = 75 + 13 + len(BODY)
    assert (int(gap["position"]), int(gap["length"])) == (second, 13 + len(BODY))


def test_how_much_is_understood() -> None:
    reader, _, tracks = read(torn())
    reader.settle(None)
    known = reader.understanding(int(tracks["slot"][0]))
    assert known.in_sync == (True, False)
    assert known.explained_bytes == (75 + 2 * (13 + len(BODY)), 0)
    assert known.unexplained_bytes == (13 + len(BODY), 0)


def test_malformed_says_with_what() -> None:
    told = play(Tape().open().orig(0, HELLO + do_message(4, bytes(8), length=77)))
    verdicts = told.messages[told.messages["kind"] == KIND_VERDICT]
    assert told.verdicts() == ["do", "do_malformed"]
    assert (int(verdicts["begin"][1]), int(verdicts["length"][1])) == (4, 77)


def test_a_bitfield_of_which_the_end_is_missing_is_told_as_far_as_it_came() -> None:
    whole = do_bitfield(range(800), 800)
    told = play(Tape().open().orig(0, HELLO + whole[:55]))
    assert told.said()[-1] == (ORIG, 75, 5, 400, 800, 101)


@pytest.mark.parametrize("batch", [1, 2, 3, 5])
def test_batches_make_no_difference(batch: int) -> None:
    whole, parts = play(torn()), play(torn(), batch=batch)
    assert whole.messages.tolist() == parts.messages.tolist()
    assert [bytes(s["swarm_hash"]) for s in whole.handshakes] == [bytes(s["swarm_hash"]) for s in parts.handshakes]


def test_the_pool_is_given_back() -> None:
    reader, _, _ = read(torn())
    assert reader._memory[framing.CELLS_IN_USE] > 0
    reader.settle(None)
    assert reader._memory[framing.CELLS_IN_USE] == 0


def test_a_full_pool_loses_framing_and_nothing_else() -> None:
    tapes = []
    for port in range(1, 200):  # each wants 63 KiB of the pool's 8 MiB
        tape = Tape(orig_port=port, step_ms=1, start_ns=NOON + port * 100).open().orig(0, HELLO)
        for at in range(43):
            tape.orig(1000 + 1460 * at, BODY[:1460])
        tapes.append(tape.resp(0, HELLO + do_have(1)))
    told = play([frame for tape in tapes for frame in tape.frames])
    assert sum(m[0] == RESP and m[2] == 4 for m in told.said()) == 199
    assert len(told.handshakes) == 2 * 199
