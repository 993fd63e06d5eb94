"""Conversations cut, reordered, dropped, repeated and flipped: whatever comes, counters and verdicts, and no crash.

A long run: `SWARMTAP_FUZZ=20000 NUMBA_BOUNDSCHECK=1 pytest -n0 tests/fuzz/test_framing.py`; with boundscheck numba
raises at the first index outside an array.
"""

from __future__ import annotations

import os
import random

import numpy as np
import pytest

from sensor.kernels import framing
from sensor.schema import KIND_GAP, KIND_HANDSHAKE, KIND_VERDICT, VERDICTS
from tests.builders import (
    do_bitfield,
    do_cancel,
    do_handshake,
    do_have,
    do_keepalive,
    do_message,
    do_piece,
    do_piece_header,
    do_request,
)
from tests.streams import Tape, Told, play

ROUNDS = int(os.environ.get("SWARMTAP_FUZZ", "60"))
FIRST = (
    b"GET / HTTP/1.1\r\n\r\n",
    b"SSH-2.0-x\r\n",
    b"\x16\x03\x01\x02\x00\x01" + bytes(40),
    b"\x13BitTorrent protocol",
)


def message(chance: random.Random) -> bytes:
    number, size = chance.randrange(1 << 32), chance.randrange(1, 4000)
    return chance.choice(
        [
            do_keepalive(),
            do_have(number),
            do_request(number, 0, size),
            do_cancel(number, 0, size),
            do_piece(number, chance.randrange(1 << 32), chance.randbytes(size)),
            do_piece_header(number, 0, chance.randrange(10, 1 << 32)),
            do_bitfield(range(chance.randrange(64)), 64 * chance.randrange(1, 40)),
            do_message(chance.randrange(256), chance.randbytes(size % 50)),
            do_message(chance.randrange(256), b"", length=chance.randrange(1 << 32)),
            chance.randbytes(size),
            bytes(size),
        ]
    )


def stream(chance: random.Random) -> bytes:
    start = chance.choice([do_handshake(), do_handshake(), do_handshake()[: chance.randrange(75)], *FIRST, b""])
    made = bytearray(start + b"".join(message(chance) for _ in range(chance.randrange(20))))
    for _ in range(chance.choice([0, 0, 1, 5])):
        if made:
            made[chance.randrange(len(made))] ^= 1 << chance.randrange(8)
    return bytes(made)


def frames(chance: random.Random) -> list[tuple[int, bytes, int]]:
    tape = Tape(step_ms=chance.choice([1, 100, 4000]), orig_port=chance.randrange(1, 9), isn=(0xFFFFFF00, 7))
    if chance.random() < 0.7:
        tape.open()
    sent = []
    for side in (0, 1):
        whole, at, size = stream(chance), chance.choice([0, 0, 0, 5000]), chance.choice([1, 7, 100, 1460, 9000])
        starts = range(0, min(len(whole), 400 * size), size)
        sent += [(side, at + start, whole[start : start + size + chance.choice([0, 0, 0, 40])]) for start in starts]
    if chance.random() < 0.6:
        reach = chance.choice([2, 10, 1000])
        sent = [part for _, part in sorted((at + chance.uniform(0, reach), part) for at, part in enumerate(sent))]
    for part in sent:
        for _ in range(chance.choice([1, 1, 1, 1, 0, 2])):
            tape.send(*part)
    snaplen = chance.choice([1 << 16, 1 << 16, 96, 60])
    return [(ts_ns, data[:snaplen], len(data)) for ts_ns, data in tape.frames]


def check(told: Told) -> None:
    for row in told.messages:
        kind = int(row["kind"])
        assert row["length"] >= 0
        assert row["from_resp"] in (0, 1)
        if kind == KIND_VERDICT:
            assert 0 < row["index"] < len(VERDICTS)
        if kind == KIND_GAP:
            assert row["length"] > 0
        if kind == 7:
            assert row["length"] <= 2_048_000
        if kind == 5:
            assert 0 <= row["index"] <= row["begin"]
    assert (told.messages["kind"] == KIND_HANDSHAKE).sum() == len(told.handshakes)
    assert (np.diff(told.messages["flow"][told.messages["kind"] == KIND_HANDSHAKE]) >= -8).all()


def test_any_bytes_in_any_order() -> None:
    # Several connections at once share the pool and the slots of the table.
    for seed in range(ROUNDS):
        chance = random.Random(seed)  # noqa: S311 - the same in every run
        made = [frame for _ in range(chance.randrange(1, 4)) for frame in frames(chance)]
        if made:
            check(play(made, batch=chance.choice([0, 1, 50])))


@pytest.mark.parametrize("seed", range(6))
def test_batches_make_no_difference(seed: int) -> None:
    made = [frame for _ in range(3) for frame in frames(random.Random(seed))]  # noqa: S311 - the same in every run
    whole, parts = play(made), play(made, batch=7)
    assert whole.messages.tolist() == parts.messages.tolist()
    assert whole.weird.tolist() == parts.weird.tolist()


def test_a_stream_of_noise_is_searched_no_further_than_it_pays() -> None:
    # Random bytes met in their middle: after a little more than a piece's length nothing is searched any more.
    noise = random.Random(1).randbytes(1400)  # noqa: S311 - the same in every run
    tape = Tape(step_ms=1)
    for at in range(0, 2_000_000, 1400):
        tape.orig(at, noise)
    assert play(tape).verdicts() == []
    assert framing.CREDIT * 256 < 2 * (1 << 20)
