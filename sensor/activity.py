"""Windows, endings and messages to frames: one row per flow per window, judged against the policy, and one per flow.

Here pandas begins. Rows leave when their window is complete: what leaves does not depend on how packets were batched.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from sensor import columns, hindsight, text
from sensor.clocks import Clocks
from sensor.columns import Sums, widened
from sensor.rows import join, pick
from sensor.schema import (
    CONN_STATES,
    KIND_VERDICT,
    OUTCOMES,
    PEERINGS,
    ROLES,
    SCHEDULES,
    SCOPES,
    VERDICTS,
    ActivityFrame,
    Endings,
    FlowFrame,
    Handshakes,
    JudgedFlowFrame,
    JudgedFrame,
    Messages,
    Rows,
    Table,
    Windows,
)
from sensor.wire import PIECE, REQUEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sensor.enrich import Policing, Standing

_SECOND_NS: Final = 1_000_000_000
ADDRESSES: Final = ("orig_hi", "orig_lo", "resp_hi", "resp_lo")
_FOREVER: Final = np.int64(2**63 - 1)
_ALWAYS: Final = np.int64(-(2**63))
_FAR: Final = 65_536  # addresses apart: not a step any more
_MOST_ASKING: Final = 65_536  # originators whose last target is remembered
_ASKING: Final = (*ADDRESSES, "flow")
_ASKING_ROW: Final = np.dtype([(name, np.int64 if name == "flow" else np.uint64) for name in _ASKING])
_CLOSED, _DISABLED, _EXEMPT = (SCHEDULES.index(name) for name in ("closed", "disabled", "exempt"))
_ATTEMPT, _REFUSED, _LISTENER, _ESTABLISHED, _TRANSFER = range(len(OUTCOMES))
# What is summed from the windows of a flow into its row, and how rows of one window are joined.
_WINDOW_SUMS: Final = (
    "orig_packets", "resp_packets", "orig_bytes", "resp_bytes", "orig_payload_bytes", "resp_payload_bytes",
    "retransmitted_bytes", "duplicate_packets",
)  # fmt: skip
_JOINED: Final = (*_WINDOW_SUMS, "syns", "syn_acks", "resets", "fins")
_MESSAGE_SUMS: Final = (
    "orig_pieces", "resp_pieces", "orig_piece_bytes", "resp_piece_bytes", "orig_requests", "resp_requests",
)  # fmt: skip
_JUDGED_SUMS: Final = ("off_window_payload_bytes", "exempt_payload_bytes")
_HEARD: Final = "unknown_messages"
_SUMS: Final = (*_WINDOW_SUMS, *_MESSAGE_SUMS, *_JUDGED_SUMS, _HEARD)
_PORTION: Final = 262_144  # flows that are judged at a time: what is made on the way stays small
_TIMES: Final = ("flow_start_ns", "first_ts_ns", "last_ts_ns", "start_ns", "end_ns")
_PLACES: Final = ("first_input", "first_number", "first_offset")


@dataclass(frozen=True, slots=True)
class Judged:
    """Complete windows and finished flows: frames with the columns that `schema.Case` promises.

    `flows` has those of JudgedFlowFrame beside them, for the rules. Both have the addresses as numbers, too, ADDRESSES:
    these are quicker to compare than text.
    """

    activity: pd.DataFrame
    flows: pd.DataFrame

    def told(self) -> Judged:
        """Return the same without the numbers."""
        return Judged(*(each.drop(columns=[*ADDRESSES]) for each in (self.activity, self.flows)))


class Activity:
    """Joins what the kernels counted, window by window.

    Parameters
    ----------
    policing : Policing
    window_s : int
        Length of a window; must be what the flow table uses.
    closed_s, idle_s : int
        How long the flow table waits for more of a closed flow, and of another.
    """

    def __init__(self, policing: Policing, window_s: int, closed_s: int = 300, idle_s: int = 7200) -> None:
        self._window_ns = window_s * _SECOND_NS
        self._waits_ns = closed_s * _SECOND_NS, idle_s * _SECOND_NS
        self._windows = Windows.empty()
        self._endings = Endings.empty()
        self._messages = Messages.empty()
        self._handshakes = Handshakes.empty()
        self._verdicts = Messages.empty()
        self._sums = Sums()
        self._clocks = Clocks()
        self._asked = np.zeros(0, dtype=_ASKING_ROW)
        self.adopt(policing)

    def adopt(self, policing: Policing) -> None:
        """Judge by another policy from the next row on; what was counted stays."""
        self._policing = policing
        names = self._policing.site_names
        pairs = sorted({f"{min(a, b)}~{max(a, b)}" for a in names for b in names})
        at = {pair: code for code, pair in enumerate(pairs)}
        self._pair_code = np.array([[at[f"{min(a, b)}~{max(a, b)}"] for b in names] for a in names], dtype=np.int32)
        self._kinds = {
            "site": pd.CategoricalDtype(list(names)),
            "pair": pd.CategoricalDtype(pairs),
            "scope": pd.CategoricalDtype(list(SCOPES)),
            "peering": pd.CategoricalDtype(list(PEERINGS)),
            "schedule": pd.CategoricalDtype(list(SCHEDULES)),
            "outcome": pd.CategoricalDtype(list(OUTCOMES)),
            "verdict": pd.CategoricalDtype(list(VERDICTS)),
            "conn_state": pd.CategoricalDtype(list(CONN_STATES)),
            "role": pd.CategoricalDtype(list(ROLES)),
        }

    def push(
        self,
        windows: list[Rows],
        endings: list[Rows],
        messages: Sequence[Rows],
        handshakes: Sequence[Rows],
        until_ns: int | None,
    ) -> Judged:
        """Take finished rows and give back what is complete.

        Parameters
        ----------
        windows, endings : lists of Windows, Endings
            They are emptied, so that no row is held beside what becomes of it.
        messages, handshakes : lists of Messages, Handshakes
        until_ns : int or None
            Start of the first window that may still get rows; None when no more will come at all.

        Returns
        -------
        Judged
            `activity` sorted by window_start_ns, flow; `flows` in the order of their numbers.
        """
        until = _FOREVER if until_ns is None else np.int64(until_ns)
        ready, self._windows = _split(_drained(self._windows, windows), "window_start_ns", until)
        ready = _joined(_sorted(ready, "window_start_ns", "flow"))
        said, self._messages = _split(join([self._messages, *messages]), "ts_ns", until)
        over, self._endings = _split(_drained(self._endings, endings), "end_ns", until)
        over = _sorted(over, "flow")
        self._handshakes = join([self._handshakes, *handshakes])
        self._verdicts = join([self._verdicts, pick(said, said["kind"] == KIND_VERDICT)])
        self._hand_on(over)
        told = _Told(ready, Windows)
        del ready
        verdict = self._verdicts_of(told)
        counters = self._counters_of(told, said)
        activity = self._activity(told, verdict, counters)
        self._add(said, told, counters, activity)
        flows = self._flows(over)
        return Judged(activity, flows)

    # --- one row per window ------------------------------------------------------------------------------------
    def _hand_on(self, over: Rows) -> None:
        """Let the next part of a very long connection know what the part before it spoke, and how it was greeted."""
        for ending in np.sort(over[over["continued_as"] > 0], order="flow"):
            verdicts, shakes = (
                pick(kept, kept["flow"] == ending["flow"]) for kept in (self._verdicts, self._handshakes)
            )
            verdicts["flow"] = shakes["flow"] = ending["continued_as"]
            self._verdicts = join([self._verdicts, pick(verdicts, np.argsort(verdicts["ts_ns"])[-1:])])
            self._handshakes = join([self._handshakes, shakes])

    def _verdicts_of(self, rows: _Told) -> npt.NDArray[np.int8]:
        """Return what each flow was known to speak by the end of each row's window."""
        self._verdicts = pick(self._verdicts, np.lexsort((self._verdicts["ts_ns"], self._verdicts["flow"])))
        verdict = np.zeros(len(rows), dtype=np.int8)
        flows = self._verdicts["flow"]
        at = np.searchsorted(flows, rows["flow"], side="left")
        last = np.searchsorted(flows, rows["flow"], side="right")
        end_ns = rows["window_start_ns"] + self._window_ns
        # A flow changes its verdict a few times at most: as many passes.
        while len(live := np.flatnonzero(at < last)):
            known = live[self._verdicts["ts_ns"][at[live]] < end_ns[live]]
            verdict[known] = self._verdicts["index"][at[known]]
            at[live] += 1
        return verdict

    def _counters_of(self, rows: _Told, said: Rows) -> dict[str, npt.NDArray[np.int64]]:
        """Count pieces and requests by row."""
        counters = {name: np.zeros(len(rows), dtype=np.int64) for name in _MESSAGE_SUMS}
        said = said[(said["kind"] == PIECE) | (said["kind"] == REQUEST)]
        if not len(said):
            return counters
        windows, window_at = np.unique(rows["window_start_ns"], return_inverse=True)
        flows, flow_at = np.unique(rows["flow"], return_inverse=True)
        keys = window_at * len(flows) + flow_at
        window = np.searchsorted(windows, said["ts_ns"] // self._window_ns * self._window_ns)
        row = np.searchsorted(keys, window * len(flows) + np.searchsorted(flows, said["flow"]))
        for side, by_resp in (("orig", 0), ("resp", 1)):
            mine = said["from_resp"] == by_resp
            piece, request = mine & (said["kind"] == PIECE), mine & (said["kind"] == REQUEST)
            np.add.at(counters[f"{side}_pieces"], row[piece], 1)
            np.add.at(counters[f"{side}_piece_bytes"], row[piece], said["length"][piece])
            np.add.at(counters[f"{side}_requests"], row[request], 1)
        return counters

    def _activity(
        self, rows: _Told, verdict: npt.NDArray[np.int8], counters: dict[str, npt.NDArray[np.int64]]
    ) -> pd.DataFrame:
        standing = self._policing.stand(rows, rows["window_start_ns"])
        payload = rows["orig_payload_bytes"] + rows["resp_payload_bytes"]
        off = (standing.schedule == _CLOSED) | (standing.schedule == _DISABLED)
        outcome = np.full(len(rows), _ATTEMPT, dtype=np.int8)
        outcome[rows["resets"] > 0] = _REFUSED
        outcome[rows["syn_acks"] > 0] = _LISTENER
        outcome[rows["established"] > 0] = _ESTABLISHED
        outcome[payload > 0] = _TRANSFER
        whole = (*_JOINED, "flow", "ip_version", "vlan", "orig_port", "resp_port", "first_input")
        made: dict[str, Any] = {name: widened(rows[name], np.int64) for name in whole}
        made |= counters | self._ends(rows) | self._standing(standing) | self._permitted(standing)
        made |= {
            "window_start_ns": rows["window_start_ns"],
            "window_s": np.broadcast_to(np.int32(self._window_ns // _SECOND_NS), len(rows)),
            "off_window_payload_bytes": np.where(off, payload, 0),
            "exempt_payload_bytes": np.where(standing.schedule == _EXEMPT, payload, 0),
            "outcome": self._category("outcome", outcome),
            "verdict": self._category("verdict", verdict),
            "flow_start_ns": rows["flow_start_ns"],
            "payload_bytes": payload,
            "role_guessed": rows["role_guessed"] > 0,
            "schedule_since_ns": standing.since_ns,
            "schedule_next_ns": standing.next_ns,
            "first_number": rows["first_number"],
            "first_offset": rows["first_offset"],
            "first_ts_ns": rows["first_ts_ns"],
            "last_ts_ns": rows["last_ts_ns"],
            "overrun_s": self._overrun(rows, standing),
            "clock_back_ms": self._clocks.push(rows),
            "address_step": self._steps(rows),
        }
        made |= {name: rows[name] for name in ADDRESSES}
        return columns.frame(made, [*ActivityFrame.names(), *JudgedFrame.names(), *ADDRESSES])

    # --- one row per flow --------------------------------------------------------------------------------------
    def _add(self, said: Rows, rows: _Told, counters: dict[str, npt.NDArray[np.int64]], activity: pd.DataFrame) -> None:
        """Add complete windows, and what was said in them, to the sums of their flows."""
        flow = rows["flow"]
        order, starts = _by_flow(flow)
        first = order[starts] if order is not None else starts
        flows = flow[first]
        new = self._sums.meet(flows)
        at = self._sums.at(flows)
        for name in (*_WINDOW_SUMS, *_MESSAGE_SUMS, *_JUDGED_SUMS):
            each = counters.get(name)
            if each is None:
                each = activity[name].to_numpy() if name in _JUDGED_SUMS else widened(rows[name], np.int64)
            self._sums.add(name, at, each if order is None else np.add.reduceat(each[order], starts))
        # Rows are in the order of windows: the first of a new flow says where it begins.
        for name in _PLACES:
            self._sums.add(name, at, np.where(new, rows[name][first], 0))
        many = hindsight.unknown_messages(said, self._sums.flows)
        heard = np.flatnonzero(many)
        self._sums.add(_HEARD, heard, many[heard])

    def _steps(self, rows: _Told) -> npt.NDArray[np.int64]:
        """Return how far above the address that its originator asked before each new flow's responder is, 0 if far."""
        new = np.flatnonzero((rows["first_ts_ns"] == rows["flow_start_ns"]) & (rows["syns"] > 0))
        known = len(self._asked)
        # What each originator asked last stands before what it asks now: flows are numbered in the order of time.
        asked = {name: np.concatenate([self._asked[name], rows[name][new]]) for name in _ASKING}
        order = _by_originator(asked)
        hi, lo = asked["orig_hi"][order], asked["orig_lo"][order]
        same = (lo[1:] == lo[:-1]) & (hi[1:] == hi[:-1])
        step = np.zeros(len(rows), dtype=np.int64)
        again = np.flatnonzero(same & (order[1:] >= known))
        if len(again):
            one, next_one = order[again], order[again + 1]
            close = asked["resp_hi"][next_one] == asked["resp_hi"][one]
            above = (asked["resp_lo"][next_one] - asked["resp_lo"][one]).astype(np.int64)  # wraps to below 0
            step[new[next_one - known]] = np.where(close & (above > -_FAR) & (above < _FAR), above, 0)
        last = np.sort(order[np.append(~same, np.True_)]) if len(order) else order
        if len(last) > _MOST_ASKING:
            flow = asked["flow"][last]
            last = last[flow >= np.partition(flow, -_MOST_ASKING)[-_MOST_ASKING]]
        kept = np.zeros(len(last), dtype=_ASKING_ROW)
        for name in _ASKING:
            kept[name] = asked[name][last]
        self._asked = kept
        return step

    def _flows(self, over: Rows) -> pd.DataFrame:
        parts = [self._flows_of(over[start : start + _PORTION]) for start in range(0, max(len(over), 1), _PORTION)]
        number = over["flow"]
        self._forget(number, self._sums.at(number))
        return columns.drain(parts)

    def _flows_of(self, rows: Rows) -> pd.DataFrame:
        over = _Told(rows, Endings)
        number = over["flow"]
        at = self._sums.at(number)
        standing = self._policing.stand(over, over["start_ns"])
        made: dict[str, Any] = {name: self._sums.get(name, at) for name in (*_SUMS, *_PLACES)}
        made |= self._ends(over) | self._standing(standing) | self._named(number)
        made |= {
            "flow": number,
            "start_ns": over["start_ns"],
            "end_ns": over["end_ns"],
            "ip_version": widened(over["ip_version"], np.int8),
            "vlan": widened(over["vlan"], np.int32),
            "orig_port": widened(over["orig_port"], np.int32),
            "resp_port": widened(over["resp_port"], np.int32),
            "conn_state": self._category("conn_state", over["conn_state"]),
            "role_guessed": over["role_guessed"] > 0,
            "orig_gap_bytes": over["orig_gap_bytes"],
            "resp_gap_bytes": over["resp_gap_bytes"],
            "continued_as": over["continued_as"],
            "verdict": self._category("verdict", self._last_verdict(number)),
        }
        made |= self._in_hindsight(over, made, standing)
        made |= {name: over[name] for name in ADDRESSES}
        return columns.frame(made, dict.fromkeys((*FlowFrame.names(), *JudgedFlowFrame.names(), *ADDRESSES)))

    def _in_hindsight(self, over: _Told, made: dict[str, Any], standing: Standing) -> dict[str, Any]:
        """Return what rules see of a flow beside its own columns."""
        packets, payload = ((made[f"orig_{what}"], made[f"resp_{what}"]) for what in ("packets", "payload_bytes"))
        shakes = pick(self._handshakes, np.lexsort((self._handshakes["ts_ns"], self._handshakes["flow"])))
        told = hindsight.told(over, packets, payload)
        return {
            **told,
            "first_ts_ns": made["start_ns"],
            "last_ts_ns": made["end_ns"],
            **hindsight.greeted(shakes, over["flow"]),
            "window_start_ns": hindsight.judged_at(over, self._window_ns, *self._waits_ns),
            "window_s": np.broadcast_to(np.int32(self._window_ns // _SECOND_NS), len(over)),
            **self._permitted(standing),
        }

    def again(self, activity: pd.DataFrame, flows: pd.DataFrame) -> Judged:
        """Judge frames of an earlier run by the policy of now; what was counted stays as it was.

        Parameters
        ----------
        activity, flows
            With the columns that `push` gives, in its order.
        """
        windows, over = _addressed(activity, Windows, "window_start_ns"), _addressed(flows, Endings, "start_ns")
        windows["flow_start_ns"] = activity["flow_start_ns"].to_numpy()
        standing = self._policing.stand(windows, windows["window_start_ns"])
        payload = activity["payload_bytes"].to_numpy()
        shut = (standing.schedule == _CLOSED) | (standing.schedule == _DISABLED)
        volumes = {
            "off_window_payload_bytes": np.where(shut, payload, 0),
            "exempt_payload_bytes": np.where(standing.schedule == _EXEMPT, payload, 0),
        }
        columns = self._standing(standing) | self._permitted(standing) | volumes
        columns |= {"schedule_since_ns": standing.since_ns, "schedule_next_ns": standing.next_ns}
        columns |= {"overrun_s": self._overrun(windows, standing)}
        rejudged = activity.assign(**columns)
        standing = self._policing.stand(over, over["start_ns"])
        sums = rejudged.groupby("flow")[[*volumes]].sum().reindex(flows["flow"].to_numpy(), fill_value=0)
        columns = self._standing(standing) | self._permitted(standing)
        columns |= {name: sums[name].to_numpy() for name in volumes}
        return Judged(rejudged, flows.assign(**columns))

    def _permitted(self, standing: Standing) -> dict[str, Any]:
        """Return the columns of what the policy lets these rows do, and of whom it knows."""
        return {
            "peering": self._category("peering", standing.peering),
            "schedule": self._category("schedule", standing.schedule),
            "peers_allowed": standing.peers_allowed,
            "orig_local": standing.orig.local,
            "resp_local": standing.resp.local,
            "orig_role": self._category("role", standing.orig.role),
            "resp_role": self._category("role", standing.resp.role),
            "orig_known": standing.orig.known,
            "resp_known": standing.resp.known,
            "exception": text.chosen(self._policing.exception_ids, standing.exception),
        }

    def _last_verdict(self, number: Rows) -> npt.NDArray[np.int8]:
        found = np.zeros(len(number), dtype=np.int8)
        if not len(self._verdicts):
            return found
        last = np.searchsorted(self._verdicts["flow"], number, side="right") - 1
        hit = np.flatnonzero((last >= 0) & (self._verdicts["flow"][last] == number))
        found[hit] = self._verdicts["index"][last[hit]]
        return found

    def _named(self, number: Rows) -> dict[str, Any]:
        """Return the swarm and the peers that the handshakes of flows name; the first of each side counts."""
        shakes = pick(self._handshakes, np.lexsort((self._handshakes["ts_ns"], self._handshakes["flow"])))
        first: list[tuple[Any, Any]] = []
        for chosen in (shakes, shakes[shakes["from_resp"] == 0], shakes[shakes["from_resp"] == 1]):
            at = np.searchsorted(chosen["flow"], number)
            inside = np.minimum(at, max(len(chosen) - 1, 0))
            hit = (chosen["flow"][inside] == number) if len(chosen) else np.zeros(len(number), dtype=np.bool_)
            first.append((chosen[inside] if len(chosen) else Handshakes.empty(len(number)), hit))
        return {
            "swarm_hash": text.hexes(first[0][0]["swarm_hash"], first[0][1]),
            "orig_peer_id": text.guids(first[1][0]["peer_id"], first[1][1]),
            "resp_peer_id": text.guids(first[2][0]["peer_id"], first[2][1]),
        }

    def _forget(self, number: Rows, at: slice | npt.NDArray[np.intp]) -> None:
        """Drop what was kept for flows that are over."""
        self._sums.drop(at)
        self._verdicts = self._verdicts[~np.isin(self._verdicts["flow"], number)]
        self._handshakes = self._handshakes[~np.isin(self._handshakes["flow"], number)]

    # --- shared columns ----------------------------------------------------------------------------------------
    def _category(self, kind: str, codes: Any) -> pd.Categorical:
        return pd.Categorical.from_codes(np.asarray(codes, dtype=np.int32), dtype=self._kinds[kind])

    def _ends(self, rows: Rows | _Told) -> dict[str, Any]:
        """Return the two addresses and the Community ID as text."""
        orig_hi, orig_lo, orig_port, resp_hi, resp_lo, resp_port = (
            np.ascontiguousarray(rows[name])
            for name in ("orig_hi", "orig_lo", "orig_port", "resp_hi", "resp_lo", "resp_port")
        )
        return {
            "orig_ip": text.addresses(orig_hi, orig_lo),
            "resp_ip": text.addresses(resp_hi, resp_lo),
            "community_id": text.community_ids(orig_hi, orig_lo, orig_port, resp_hi, resp_lo, resp_port),
        }

    def _overrun(self, rows: Rows | _Told, standing: Standing) -> npt.NDArray[np.int64]:
        """Return for how many seconds each flow has run on since its slot ended; 0 if it did not begin in that slot."""
        since, began = standing.since_ns, rows["flow_start_ns"]
        late = np.zeros(len(rows), dtype=np.int64)
        outlived = np.flatnonzero((standing.schedule == _CLOSED) & (began < since) & (since > _ALWAYS))
        outlived = outlived[began[outlived] >= self._policing.slot_before(standing, outlived)]
        late[outlived] = (rows["window_start_ns"][outlived] + self._window_ns - since[outlived]) // _SECOND_NS
        return late

    def _standing(self, standing: Standing) -> dict[str, Any]:
        """Return the columns of sites and scope."""
        orig, resp = standing.orig.site, standing.resp.site
        unknown = len(self._policing.site_names) - 1
        return {
            "orig_site": self._category("site", orig),
            "resp_site": self._category("site", resp),
            "site": self._category("site", np.where(orig == unknown, resp, orig)),
            "site_pair": self._category("pair", self._pair_code[orig, resp]),
            "scope": self._category("scope", standing.scope),
        }


def _addressed(frame: pd.DataFrame, table: type[Table], when: str) -> Rows:
    """Return rows with the addresses of a frame, and when they were."""
    rows = table.empty(len(frame))
    rows[when] = frame[when].to_numpy()
    for side in ("orig", "resp"):
        codes, addresses = pd.factorize(frame[f"{side}_ip"])
        halves = np.array([_halves(each) for each in addresses] or [(0, 0)], dtype=np.uint64)
        rows[f"{side}_hi"], rows[f"{side}_lo"] = halves[codes, 0], halves[codes, 1]
    return rows


def _halves(address: str) -> tuple[int, int]:
    """Return the two words of an address as the frames write it."""
    value = ip_address(address)
    whole = int(value) if value.version == 6 else int(value) | 0xFFFF << 32  # noqa: PLR2004 - the IP version
    return whole >> 64, whole & (1 << 64) - 1


def _drained(held: Rows, more: list[Rows]) -> Rows:
    """Return rows that were held, and those of a list that is then empty."""
    whole = join([held, *more])
    more.clear()
    return whole


def _split(rows: Rows, column: str, until: np.int64) -> tuple[Rows, Rows]:
    """Part rows into those before `until` and the rest."""
    before = rows[column] < until
    return (rows, rows[:0].copy()) if bool(before.all()) else (pick(rows, before), pick(rows, ~before))


def _sorted(rows: Rows, first: str, second: str = "") -> Rows:
    """Sort rows by one or two columns; mostly they are, and then nothing is copied."""
    one = rows[first]
    if second:
        two = rows[second]
        ordered = (one[1:] > one[:-1]) | ((one[1:] == one[:-1]) & (two[1:] >= two[:-1]))
        return rows if bool(ordered.all()) else pick(rows, np.lexsort((two, one)))
    return rows if bool((one[1:] >= one[:-1]).all()) else pick(rows, np.argsort(one, kind="stable"))


def _by_flow(flow: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.intp] | None, npt.NDArray[np.intp]]:
    """Return rows by flow, in their order (None: they are, and each flow has one), and where each flow begins."""
    if bool((flow[1:] > flow[:-1]).all()):
        return None, np.arange(len(flow))
    order = np.argsort(flow, kind="stable")
    return order, np.flatnonzero(np.diff(flow[order], prepend=-1))


def _by_originator(asked: dict[str, Any]) -> npt.NDArray[np.intp]:
    """Return rows by address of the originator, then by flow."""
    hi, lo, flow = asked["orig_hi"], asked["orig_lo"], asked["flow"]
    if bool((flow[1:] > flow[:-1]).all()) and len(hi) and bool((hi == hi[0]).all()):
        return np.argsort(lo, kind="stable")  # as nearly always
    return np.lexsort((flow, lo, hi))


class _Told:
    """Rows of a table, column by column; what all of them share takes no room."""

    def __init__(self, rows: Rows, table: type[Table]) -> None:
        self._many = len(rows)
        self._columns = columns.spread(rows, table.names())
        # Of a flow of one packet all its times are one: what keeps them keeps them once.
        times = [name for name in _TIMES if name in self._columns]
        for one, other in pairwise(times):
            if np.array_equal(self._columns[one], self._columns[other]):
                self._columns[other] = self._columns[one]

    def __len__(self) -> int:
        return self._many

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self._columns[name]


def _joined(rows: Rows) -> Rows:
    """Join rows of one flow and one window (packets that came late reopen a window)."""
    same = (rows["flow"][1:] == rows["flow"][:-1]) & (rows["window_start_ns"][1:] == rows["window_start_ns"][:-1])
    if not bool(same.any()):
        return rows
    starts = np.concatenate([[0], np.flatnonzero(~same) + 1])
    order = np.lexsort((rows["first_ts_ns"], rows["flow"], rows["window_start_ns"]))
    rows = pick(rows, order)
    joined = pick(rows, starts)
    for name in _JOINED:
        joined[name] = np.add.reduceat(rows[name], starts)
    for name in ("last_ts_ns", "established"):
        joined[name] = np.maximum.reduceat(rows[name], starts)
    return joined
