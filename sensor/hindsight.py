"""What can only be said of flows when they are over: how they were answered, greeted and lost, and when that was sure.

A flow is judged in the window in which it could no longer go on. That depends on its last packet and on how it ended,
not on when the flow table got round to it, so that flows are judged in the same order however packets came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from sensor.schema import CONN_STATES, END_REASONS, KIND_UNKNOWN

if TYPE_CHECKING:
    from sensor.schema import Rows

Whole = npt.NDArray[np.int64]
_CLOSED: Final = np.isin(CONN_STATES, ("SF", "REJ", "RSTO", "RSTR", "RSTOS0", "RSTRH"))  # FINs of both sides, or a RST
_UNANSWERED: Final = np.isin(CONN_STATES, ("S0", "REJ", "RSTOS0", "SH"))
_ASKED: Final = np.isin(CONN_STATES, ("S0", "REJ", "RSTOS0"))
_EVICTED: Final = END_REASONS.index("evicted")
_MS: Final = 1_000_000


class Columns(Protocol):
    """Rows whose columns can be had by name."""

    def __getitem__(self, name: str, /) -> npt.NDArray[Any]: ...  # noqa: D105 - one for each row


def judged_at(over: Columns, window_ns: int, closed_ns: int, idle_ns: int) -> Whole:
    """Return the start of the window in which each flow could no longer go on: int64[E] ns, of Endings[E].

    Raises
    ------
    nothing
    """
    wait = np.where(_CLOSED[over["conn_state"]], closed_ns, idle_ns)
    sure = over["end_ns"] + wait
    return np.asarray(sure // window_ns * window_ns, dtype=np.int64)


def told(over: Columns, packets: tuple[Whole, Whole], payload: tuple[Whole, Whole]) -> dict[str, Any]:
    """Return what Endings[E] and the sums of their windows tell: columns of JudgedFlowFrame by name.

    Parameters
    ----------
    over
        Endings[E].
    packets, payload
        int64[E] each: of the originator and of the responder.

    Raises
    ------
    nothing
    """
    whole = payload[0] + payload[1]
    gap = over["orig_gap_bytes"] + over["resp_gap_bytes"]
    attempt = _UNANSWERED[over["conn_state"]]
    alone = (packets[0] == 0) | (packets[1] == 0)
    return {
        "payload_bytes": whole,
        "gap_bytes": gap,
        "lost_share": gap / np.maximum(gap + whole, 1),
        "duration_ms": (over["end_ns"] - over["start_ns"]) // _MS,
        "answered": ~attempt & (packets[1] > 0),
        "one_sided": alone & ((whole > 0) | ~_ASKED[over["conn_state"]]),
        "evicted": over["end_reason"] == _EVICTED,
        "first_ts_ns": over["start_ns"],
        "last_ts_ns": over["end_ns"],
    }


def greeted(handshakes: Rows, number: Whole) -> dict[str, Any]:
    """Count the handshakes of flows, and those that are not like others.

    Parameters
    ----------
    handshakes
        Handshakes[H] of these and other flows, sorted by flow and time.
    number
        int64[E], flow numbers, ascending.

    Raises
    ------
    nothing
    """
    mine = handshakes[np.isin(handshakes["flow"], number)]
    at = np.searchsorted(number, mine["flow"])
    first = np.ones(len(mine), dtype=np.bool_)
    first[1:] = mine["flow"][1:] != mine["flow"][:-1]
    opening = np.flatnonzero(first)[np.cumsum(first) - 1] if len(mine) else np.zeros(0, dtype=np.int64)
    other = (mine["swarm_hash"] != mine["swarm_hash"][opening]).any(axis=1)
    key = mine["flow"] * 2 + mine["from_resp"]
    again = np.ones(len(mine), dtype=np.bool_)
    again[np.unique(key, return_index=True)[1]] = False
    odd = other | again | (mine["suffix"] != 0)
    by_resp = mine["from_resp"] > 0
    many = len(number)
    return {
        "orig_handshakes": np.bincount(at[~by_resp], minlength=many).astype(np.int64),
        "resp_handshakes": np.bincount(at[by_resp], minlength=many).astype(np.int64),
        "odd_handshakes": np.bincount(at[odd], minlength=many).astype(np.int64),
    }


def unknown_messages(said: Rows, flows: Whole) -> Whole:
    """Count messages of Messages[M] with an id that nobody has described, by flow: int64[E] of ascending numbers.

    Raises
    ------
    nothing
    """
    mine = said["flow"][said["kind"] == KIND_UNKNOWN]
    if not len(mine):
        return np.zeros(len(flows), dtype=np.int64)
    at = np.searchsorted(flows, mine)
    known = np.append(flows, -1)[at] == mine
    return np.bincount(at[known], minlength=len(flows)).astype(np.int64)
