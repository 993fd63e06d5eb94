"""Endings, handshakes and messages, made by hand, and what is told of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sensor import hindsight
from sensor.schema import CONN_STATES, END_REASONS, KIND_UNKNOWN, Endings, Handshakes, Messages

SECOND = 1_000_000_000


def ending(**values: Any) -> np.ndarray:
    made = Endings.empty(1)
    for name, value in values.items():
        made[name] = value
    return made


def told(state: str, packets: tuple[int, int], payload: tuple[int, int], **values: Any) -> dict[str, Any]:
    over = ending(conn_state=CONN_STATES.index(state), **values)
    sides = ((np.array([packets[0]]), np.array([packets[1]])), (np.array([payload[0]]), np.array([payload[1]])))
    return {name: column[0] for name, column in hindsight.told(over, *sides).items()}


@pytest.mark.parametrize(
    ("state", "packets", "payload", "answered", "one_sided"),
    [
        ("S0", (5, 0), (0, 0), False, False),
        ("REJ", (1, 1), (0, 0), False, False),
        ("SF", (5, 5), (0, 0), True, False),
        ("S1", (2, 1), (0, 0), True, False),
        ("SH", (4, 0), (75, 0), False, True),
        ("OTH", (3, 0), (75, 0), False, True),
        ("OTH", (3, 2), (75, 9), True, False),
        ("SHR", (0, 4), (0, 75), True, True),
    ],
)
def test_who_answered_and_what_was_seen(
    state: str, packets: tuple[int, int], payload: tuple[int, int], *, answered: bool, one_sided: bool
) -> None:
    found = told(state, packets, payload)
    assert (bool(found["answered"]), bool(found["one_sided"])) == (answered, one_sided)


def test_volumes_times_and_loss() -> None:
    found = told(
        "SF", (2, 2), (100, 200), orig_gap_bytes=40, resp_gap_bytes=60, start_ns=SECOND, end_ns=3 * SECOND + 5_000_000,
        end_reason=END_REASONS.index("evicted"),
    )  # fmt: skip
    assert (found["payload_bytes"], found["gap_bytes"], found["lost_share"]) == (300, 100, 0.25)
    assert (found["duration_ms"], bool(found["evicted"])) == (2005, True)
    assert told("S0", (1, 0), (0, 0))["lost_share"] == 0


def test_a_flow_is_judged_when_it_could_no_longer_go_on() -> None:
    over = Endings.empty(3)
    over["end_ns"] = [1004 * SECOND, 1004 * SECOND, 1006 * SECOND]
    over["conn_state"] = [CONN_STATES.index(state) for state in ("SF", "S1", "REJ")]
    at = hindsight.judged_at(over, 10 * SECOND, 300 * SECOND, 7200 * SECOND)
    assert (at // SECOND).tolist() == [1300, 8200, 1300]


def shakes(*said: tuple[int, int, int, int]) -> np.ndarray:
    made = Handshakes.empty(len(said))
    for at, (flow, by_resp, swarm, suffix) in enumerate(said):
        made[at]["flow"], made[at]["from_resp"], made[at]["suffix"] = flow, by_resp, suffix
        made[at]["swarm_hash"][:] = swarm
    return made


def test_handshakes_are_counted_by_side_and_odd_ones_beside() -> None:
    said = shakes((2, 0, 7, 0), (2, 1, 7, 0), (4, 0, 7, 0), (4, 1, 8, 0), (5, 0, 1, 0), (5, 0, 1, 0), (6, 0, 1, 9))
    found = hindsight.greeted(said, np.array([2, 3, 4, 5, 6]))
    assert found["orig_handshakes"].tolist() == [1, 0, 1, 2, 1]
    assert found["resp_handshakes"].tolist() == [1, 0, 1, 0, 0]
    assert found["odd_handshakes"].tolist() == [0, 0, 1, 1, 1]
    assert hindsight.greeted(shakes(), np.array([1]))["odd_handshakes"].tolist() == [0]


def test_unknown_messages_are_counted_by_flow() -> None:
    said = Messages.empty(4)
    said["flow"] = [3, 3, 5, 9]
    said["kind"] = [KIND_UNKNOWN, KIND_UNKNOWN, 4, KIND_UNKNOWN]
    assert hindsight.unknown_messages(said, np.array([1, 3, 5])).tolist() == [0, 2, 0]
