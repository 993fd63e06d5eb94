"""A stream cut into segments anywhere says the same, compiled and as Python."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensor.kernels import framing
from sensor.schema import KIND_VERDICT, WEIRDS, Handshakes, Messages
from tests.builders import (
    do_bitfield,
    do_cancel,
    do_handshake,
    do_have,
    do_keepalive,
    do_message,
    do_piece,
    do_request,
)
from tests.streams import Tape, Told, batch_of, following, play, run_as_python

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

U32 = st.integers(0, 2**32 - 1)
SMALL = st.integers(0, 5000)
# A bitfield fits in the segment of its header here: see test_framing for one that does not.
MESSAGES = st.one_of(
    st.just(do_keepalive()),
    st.sampled_from([do_message(kind) for kind in range(4)]),
    U32.map(do_have),
    st.builds(do_request, SMALL, U32, U32),
    st.builds(do_cancel, SMALL, U32, U32),
    st.builds(do_piece, SMALL, SMALL, st.binary(min_size=1, max_size=300)),
    st.builds(lambda body: do_message(20, body), st.binary(max_size=30)),
    st.builds(do_message, st.integers(9, 19), st.binary(max_size=30)),
)
OTHERS = [
    b"GET /x HTTP/1.1\r\n\r\n",
    bytes.fromhex("160301020001") + bytes(60),
    b"SSH-2.0-x\r\n" + bytes(40),
    bytes(99),
]


def tape_of(stream: bytes, places: Sequence[int], answer: bytes = b"") -> Tape:
    tape = Tape(step_ms=1).open()
    edges = [0, *sorted(set(places)), len(stream)]
    for start, end in pairwise(edges):
        if end > start:
            tape.orig(start, stream[start:end])
    for at in range(0, len(answer), 7):
        tape.resp(at, answer[at : at + 7])
    return tape


def essence(told: Told) -> tuple[object, ...]:
    """Return all that is said, without the times and places at which it was known."""
    shakes = [
        (int(s["from_resp"]), bytes(s["swarm_hash"]), bytes(s["peer_id"]), int(s["reserved"])) for s in told.handshakes
    ]
    return told.said(), told.verdicts(), shakes, told.weird.tolist()


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Return a stream of DO messages, or of another protocol, that may end anywhere."""
    if draw(st.integers(0, 5)) == 0:
        return draw(st.sampled_from(OTHERS))
    stream = do_handshake(draw(st.binary(min_size=32, max_size=32)), draw(st.binary(min_size=16, max_size=16)))
    stream += b"".join(draw(st.lists(MESSAGES, max_size=12)))
    return stream[: len(stream) - draw(st.sampled_from([0, 0, 0, 1, 5, 60]))]


@settings(deadline=None, max_examples=200)
@given(stream=streams(), data=st.data())
def test_cut_anywhere(stream: bytes, data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(1, max(1, len(stream) - 1)), max_size=20))
    assert essence(play(tape_of(stream, places))) == essence(play(tape_of(stream, [])))


@settings(deadline=None, max_examples=30)
@given(stream=streams())
def test_byte_by_byte(stream: bytes) -> None:
    assert essence(play(tape_of(stream, range(1, len(stream))))) == essence(play(tape_of(stream, [])))


@settings(deadline=None, max_examples=30)
@given(held=st.sets(st.integers(0, 199)), data=st.data())
def test_a_bitfield_after_its_header(held: set[int], data: st.DataObject) -> None:
    stream = do_handshake() + do_bitfield(held, 200) + do_have(1)
    places = data.draw(st.lists(st.integers(1, 75), max_size=6))
    told = play(tape_of(stream, [*places, 75]))
    assert told.said()[1:] == [(0, 75, 5, len(held), 200, 26), (0, 105, 4, 1, 0, 5)]


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stream=streams(), data=st.data())
def test_python_says_the_same(monkeypatch: pytest.MonkeyPatch, stream: bytes, data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(1, max(1, len(stream) - 1)), max_size=8))
    tape = tape_of(stream, places, answer=stream[:100])
    told, made = play(tape), batch_of(tape.frames)
    results = []
    for python in (False, True):
        states = np.zeros(2, dtype=framing.STREAM)
        states["flow"] = -1
        messages, shakes = Messages.empty(4000), Handshakes.empty(40)
        done, weird = np.zeros(2, dtype=np.int64), np.zeros(len(WEIRDS), dtype=np.int64)
        arguments = following(told, made.data, 0, states, [messages, shakes, done, weird])
        if python:
            with monkeypatch.context() as patch:
                at = run_as_python(framing.follow, framing, patch, arguments)
        else:
            at = framing.follow(*arguments)
        results.append((int(at), states.tobytes(), messages.tobytes(), shakes.tobytes(), done.tolist(), weird.tolist()))
    assert results[0] == results[1]
    assert results[0][4][0] == len(told.messages)


@settings(deadline=None, max_examples=100)
@given(stream=streams(), data=st.data())
def test_loss_never_invents_messages_after_a_handshake(stream: bytes, data: st.DataObject) -> None:
    # Bodies here are random bytes: what is told after a loss must have been said.
    whole = play(tape_of(stream, []))
    places = data.draw(st.lists(st.integers(1, max(1, len(stream) - 1)), min_size=2, max_size=10))
    tape = tape_of(stream, places)
    lost = data.draw(st.sets(st.integers(4, max(4, len(tape.frames) - 1)), max_size=3))
    some = play([frame for at, frame in enumerate(tape.frames) if at not in lost])
    if whole.verdicts() != ["do"]:
        return
    said = {(m[0], m[1], m[2]) for m in whole.said()}
    starts = {3 + sum(1 for p in set(places) if p <= m[1]) for m in whole.said()}
    assert starts
    unheard = [m for m in some.said() if (m[0], m[1], m[2]) not in said]
    # A segment that begins inside a body may look like a message, but only if its first bytes do.
    for message in unheard:
        assert stream[message[1] : message[1] + 3] == b"\0\0\0" or message[2] == 7
    assert all(m["kind"] != KIND_VERDICT or m["index"] < 3 for m in some.messages)
