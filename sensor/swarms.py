"""The swarm ledger: which peer held, gave and got what of which content, over all flows, hosts and files.

Who gives is told by the sender of piece messages, never by who opened the connection.
"""

from __future__ import annotations

import uuid
from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from sensor.rows import join, pick
from sensor.schema import Handshakes, Messages, OfferFrame, Rows, SwarmEdgeFrame, SwarmFrame, Table
from sensor.wire import BITFIELD, HAVE, PIECE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_FOREVER: Final = np.int64(2**63 - 1)
_SHUT: Final = ("closed", "disabled")
_SAID: Final = (HAVE, BITFIELD, PIECE)
_NOTHING: Final = np.zeros(0, dtype=np.uint64)
Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class LedgerOptions:
    """How much the ledger may keep; what is over is evicted, the swarm first that was quiet longest."""

    peers: int = 262_144
    blocks: int = 16_777_216
    """Blocks of pieces whose delivery is remembered, to know one that comes again."""


class _Seen:
    """Blocks that were delivered: piece index and where in it the block begins."""

    def __init__(self) -> None:
        self.keys: Keys = _NOTHING

    def add(self, keys: Keys) -> npt.NDArray[np.bool_]:
        """Add blocks in the order of time; return which of them had been there before."""
        again = np.ones(len(keys), dtype=np.bool_)
        fresh, first = np.unique(keys, return_index=True)
        new = ~np.isin(fresh, self.keys, assume_unique=True)
        again[first[new]] = False
        self.keys = np.union1d(self.keys, fresh[new])
        return again


@dataclass(slots=True)
class _Peer:
    ip: str
    peer_id: str
    site: str
    first_ns: int
    last_ns: int
    held_first: int = 0
    held: int = 0
    """Set bits of its last bitfield."""
    bits: int = 0
    uploaded: int = 0
    downloaded: int = 0
    off_window: int = 0
    first_piece_ns: int = int(_FOREVER)
    first_bitfield_ns: int = int(_FOREVER)
    gained_ns: int = 0
    """When what it has was last seen to grow."""
    haves: Keys = field(default_factory=lambda: _NOTHING)
    got: _Seen = field(default_factory=_Seen)
    got_bytes: dict[int, int] = field(default_factory=dict)
    """Data of each piece that was delivered to it, without what came again."""

    def known(self) -> Keys:
        """Return the pieces it has besides those of its last bitfield, as far as is known, begun ones too."""
        return np.union1d(self.haves, np.fromiter(self.got_bytes, dtype=np.uint64, count=len(self.got_bytes)))

    def seen(self, first_ns: int, last_ns: int) -> None:
        self.first_ns, self.last_ns = min(self.first_ns, first_ns), max(self.last_ns, last_ns)


@dataclass(slots=True)
class _Edge:
    from_site: str
    to_site: str
    first_ns: int
    last_ns: int
    pieces: int = 0
    piece_bytes: int = 0
    duplicate_bytes: int = 0
    off_window: int = 0
    crossed_again: int = 0


@dataclass(slots=True)
class _Swarm:
    last_ns: int = 0
    top_index: int = -1
    piece_size: int = 0
    peers: dict[tuple[str, str], _Peer] = field(default_factory=dict)
    edges: dict[tuple[str, str], _Edge] = field(default_factory=dict)
    crossed: dict[tuple[str, str], _Seen] = field(default_factory=dict)

    def blocks(self) -> int:
        seen = [peer.got for peer in self.peers.values()] + list(self.crossed.values())
        return sum(len(s.keys) for s in seen)

    def total(self) -> int:
        """Estimate the number of pieces: a bitfield has up to seven spare bits, which a complete one shows."""
        held = [peer.held for peer in self.peers.values() if 0 <= peer.bits - peer.held < 8]  # noqa: PLR2004 - bits of a byte
        bits = max((peer.bits for peer in self.peers.values()), default=0)
        known = max((h for h in held if h > bits - 8), default=0)
        return max(known or bits, self.top_index + 1)


@dataclass(frozen=True, slots=True)
class _Flow:
    swarm: str
    ends: tuple[str, str]
    """Addresses of originator and responder."""
    sites: tuple[str, str]
    ids: tuple[str, str]


class Ledger:
    """Keeps account of swarms from what the judged windows and the messages within them say.

    Parameters
    ----------
    site_names : sequence of str
        Categories of the frames' site columns.
    """

    def __init__(self, site_names: Sequence[str], window_s: int = 10, options: LedgerOptions | None = None) -> None:
        self._options = options or LedgerOptions()
        self._window_ns = window_s * 1_000_000_000
        self._sites = pd.CategoricalDtype(list(site_names))
        self._messages = Messages.empty()
        self._handshakes = Handshakes.empty()
        self._flows: dict[int, _Flow] = {}
        self._swarms: dict[str, _Swarm] = {}
        self.evicted = 0
        """Peers that were forgotten for want of room."""
        self.unnamed_bytes = 0
        """Piece data of flows whose content no handshake named."""

    def adopt(self, site_names: Sequence[str]) -> None:
        """Go on with other sites; those that were are kept for what was told of them."""
        known = list(self._sites.categories)
        self._sites = pd.CategoricalDtype(known + [name for name in site_names if name not in known])

    def push(
        self,
        activity: pd.DataFrame,
        ended: pd.DataFrame,
        messages: Sequence[Rows],
        handshakes: Sequence[Rows],
        until_ns: int | None,
    ) -> None:
        """Take the judged rows of complete windows, the flows that are over, and what was said lately.

        Parameters
        ----------
        activity : DataFrame
            Columns of ActivityFrame and JudgedFrame; all windows before `until_ns` that were not pushed before.
        ended : DataFrame
            Flows of which nothing more will come: their `flow`, and how they are `continued_as`.
        messages, handshakes : sequences of Messages, Handshakes
            They are held until their windows come.
        until_ns : int or None
            Start of the first window that may still get rows; None when no more will come at all.

        Raises
        ------
        nothing
        """
        until = _FOREVER if until_ns is None else np.int64(until_ns)
        wanted = [pick(rows, np.isin(rows["kind"], _SAID)) for rows in messages]
        said = join([self._messages, *wanted])
        shakes = join([self._handshakes, *handshakes])
        now = said["ts_ns"] < until
        said, self._messages = pick(said, now), pick(said, ~now)
        now = shakes["ts_ns"] < until
        shakes, self._handshakes = pick(shakes, now), pick(shakes, ~now)
        if len(shakes):
            self._name(pick(shakes, np.argsort(shakes["ts_ns"], kind="stable")), activity)
        over, continued = ended["flow"].to_numpy(), ended["continued_as"].to_numpy()
        goes_on = np.flatnonzero(continued)
        for number, following in zip(over[goes_on].tolist(), continued[goes_on].tolist(), strict=True):
            if number in self._flows:
                self._flows[following] = self._flows[number]
        if len(said):
            self._account(pick(said, np.argsort(said["ts_ns"], kind="stable")), activity)
        named = np.fromiter(self._flows, dtype=np.int64, count=len(self._flows))
        for number in named[np.isin(named, over)].tolist() if len(named) else ():
            del self._flows[number]
        self._bound()

    # --- handshakes ------------------------------------------------------------------------------------------------
    def _name(self, shakes: Rows, activity: pd.DataFrame) -> None:
        """Learn which content each flow is about, and who its two ends are."""
        rows = activity[activity["flow"].isin(np.unique(shakes["flow"]))].drop_duplicates("flow")
        columns = ("flow", "orig_ip", "resp_ip", "orig_site", "resp_site")
        ends = {flow: rest for flow, *rest in zip(*(rows[name] for name in columns), strict=True)}
        for shake in shakes:
            number, side = int(shake["flow"]), int(shake["from_resp"])
            if number not in ends and number not in self._flows:
                continue
            swarm_hash = bytes(shake["swarm_hash"]).hex()
            peer_id = str(uuid.UUID(bytes_le=bytes(shake["peer_id"])))
            flow = self._flows.get(number)
            if flow is None:
                orig_ip, resp_ip, orig_site, resp_site = ends[number]
                flow = _Flow(swarm_hash, (orig_ip, resp_ip), (str(orig_site), str(resp_site)), ("", ""))
            if flow.swarm == swarm_hash and not flow.ids[side]:
                ids = (peer_id, flow.ids[1]) if side == 0 else (flow.ids[0], peer_id)
                flow = _Flow(flow.swarm, flow.ends, flow.sites, ids)
                self._introduce(flow, side)
            self._flows[number] = flow
            at_ns = int(shake["ts_ns"])
            self._peer(flow, side, at_ns).seen(at_ns, at_ns)

    def _introduce(self, flow: _Flow, side: int) -> None:
        """Give a peer that was known by its address alone its id."""
        peers = self._swarm(flow.swarm).peers
        nameless = peers.get((flow.ends[side], ""))
        if nameless is not None and (flow.ends[side], flow.ids[side]) not in peers:
            del peers[flow.ends[side], ""]
            nameless.peer_id = flow.ids[side]
            peers[flow.ends[side], flow.ids[side]] = nameless

    def _swarm(self, swarm_hash: str) -> _Swarm:
        return self._swarms.setdefault(swarm_hash, _Swarm())

    def _peer(self, flow: _Flow, side: int, at_ns: int) -> _Peer:
        swarm = self._swarm(flow.swarm)
        swarm.last_ns = max(swarm.last_ns, at_ns)
        ip, peer_id = flow.ends[side], flow.ids[side]
        if not peer_id:
            known = [key for key in swarm.peers if key[0] == ip]
            peer_id = known[-1][1] if known else ""
        peer = swarm.peers.get((ip, peer_id))
        if peer is None:
            peer = swarm.peers[ip, peer_id] = _Peer(ip, peer_id, flow.sites[side], at_ns, at_ns)
        return peer

    # --- messages --------------------------------------------------------------------------------------------------
    def _account(self, said: Rows, activity: pd.DataFrame) -> None:
        known = np.isin(said["flow"], np.fromiter(self._flows, dtype=np.int64, count=len(self._flows)))
        pieces = said["kind"] == PIECE
        self.unnamed_bytes += int(said["length"][~known & pieces].sum())
        shut = self._shut(said, activity)
        window = said["ts_ns"] // self._window_ns
        order = np.lexsort((said["kind"], said["from_resp"], said["flow"], window))
        order = order[known[order]]
        rows, shut, window = pick(said, order), shut[order], window[order]
        keys = np.stack([window, rows["flow"], rows["from_resp"].astype(np.int64), rows["kind"].astype(np.int64)])
        edges = np.flatnonzero(np.any(keys[:, 1:] != keys[:, :-1], axis=0)) + 1
        parts = [(rows[a:b], shut[a:b]) for a, b in _spans(edges, len(rows))]
        # Window by window, so that it does not matter how windows come; in each in order of time, so that what comes
        # again is told from what came first.
        parts.sort(key=lambda entry: _when(entry[0][0], self._window_ns))
        for part, closed in parts:
            flow, side = self._flows[int(part["flow"][0])], int(part["from_resp"][0])
            first_ns, last_ns = int(part["ts_ns"][0]), int(part["ts_ns"][-1])
            peer = self._peer(flow, side, first_ns)
            peer.seen(first_ns, last_ns)
            swarm = self._swarm(flow.swarm)
            swarm.last_ns = max(swarm.last_ns, last_ns)
            kind = int(part["kind"][0])
            if kind == BITFIELD:
                if peer.bits == 0:
                    peer.held_first, peer.first_bitfield_ns = int(part["index"][0]), first_ns
                fullest = int(np.argmax(part["index"]))
                if int(part["index"][fullest]) > peer.held + len(peer.known()):
                    peer.gained_ns = int(part["ts_ns"][fullest])
                peer.held, peer.bits = int(part["index"][-1]), int(part["begin"].max())
                # What it had before is in the bitfield.
                peer.haves = _NOTHING
                peer.got_bytes = {at: size for at, size in peer.got_bytes.items() if size < swarm.piece_size}
            elif kind == HAVE:
                swarm.top_index = max(swarm.top_index, int(part["index"].max()))
                said_now = part["index"].astype(np.uint64)
                fresh = ~np.isin(said_now, np.union1d(peer.known(), peer.got.keys >> np.uint64(32)))
                if fresh.any():
                    peer.gained_ns = int(part["ts_ns"][fresh][-1])
                peer.haves = np.union1d(peer.haves, said_now)
            else:
                self._deliver(swarm, flow, side, part, closed)

    def _shut(self, said: Rows, activity: pd.DataFrame) -> npt.NDArray[np.bool_]:
        """Return which messages went while their two sides were not open to each other."""
        judged = activity[activity["schedule"].isin(_SHUT)]
        shut = pd.MultiIndex.from_arrays([judged["flow"], judged["window_start_ns"]])
        windows = said["ts_ns"] // self._window_ns * self._window_ns
        found: npt.NDArray[np.bool_] = pd.MultiIndex.from_arrays([said["flow"], windows]).isin(shut)
        return found

    def _deliver(self, swarm: _Swarm, flow: _Flow, side: int, part: Rows, closed: npt.NDArray[np.bool_]) -> None:
        first_ns, last_ns = int(part["ts_ns"][0]), int(part["ts_ns"][-1])
        giver, taker = self._peer(flow, side, first_ns), self._peer(flow, 1 - side, first_ns)
        taker.seen(first_ns, last_ns)
        volume, off = int(part["length"].sum()), int(part["length"][closed].sum())
        giver.uploaded += volume
        giver.off_window += off
        giver.first_piece_ns = min(giver.first_piece_ns, first_ns)
        taker.downloaded += volume
        swarm.top_index = max(swarm.top_index, int(part["index"].max()))
        swarm.piece_size = max(swarm.piece_size, int((part["begin"] + part["length"]).max()))
        blocks = (part["index"].astype(np.uint64) << np.uint64(32)) | part["begin"].astype(np.uint64)
        again = taker.got.add(blocks)
        if not again.all():
            taker.gained_ns = int(part["ts_ns"][~again][-1])
        for index, length in zip(part["index"][~again].tolist(), part["length"][~again].tolist(), strict=True):
            taker.got_bytes[index] = taker.got_bytes.get(index, 0) + length
        from_site, to_site = flow.sites[side], flow.sites[1 - side]
        edge = swarm.edges.setdefault((giver.ip, taker.ip), _Edge(from_site, to_site, first_ns, last_ns))
        edge.first_ns, edge.last_ns = min(edge.first_ns, first_ns), max(edge.last_ns, last_ns)
        edge.pieces += len(part)
        edge.piece_bytes += volume
        edge.duplicate_bytes += int(part["length"][again].sum())
        edge.off_window += off
        if from_site != to_site:
            edge.crossed_again += int(swarm.crossed.setdefault((from_site, to_site), _Seen()).add(blocks).sum())

    def _bound(self) -> None:
        """Forget the swarms that were quiet longest, until what is left fits."""
        peers = sum(len(swarm.peers) for swarm in self._swarms.values())
        blocks = sum(swarm.blocks() for swarm in self._swarms.values())
        if peers <= self._options.peers and blocks <= self._options.blocks:
            return
        for name in sorted(self._swarms, key=lambda name: (self._swarms[name].last_ns, name)):
            if peers <= self._options.peers and blocks <= self._options.blocks:
                break
            swarm = self._swarms.pop(name)
            peers -= len(swarm.peers)
            blocks -= swarm.blocks()
            self.evicted += len(swarm.peers)

    # --- what is told ----------------------------------------------------------------------------------------------
    def peers(self) -> pd.DataFrame:
        """Return the ledger, one row per swarm and peer: the columns of SwarmFrame."""
        return self._frame(SwarmFrame, list(self._peer_rows()), "site")

    def edges(self) -> pd.DataFrame:
        """Return who gave to whom: the columns of SwarmEdgeFrame."""
        found = []
        for swarm_hash, swarm in sorted(self._swarms.items()):
            ordered = sorted(swarm.edges.items(), key=lambda entry: (entry[1].first_ns, entry[0]))
            found += [
                (
                    swarm_hash, from_ip, to_ip, e.from_site, e.to_site, e.first_ns, e.last_ns, e.pieces, e.piece_bytes,
                    e.duplicate_bytes, e.off_window, e.crossed_again,
                )
                for (from_ip, to_ip), e in ordered
            ]  # fmt: skip
        return self._frame(SwarmEdgeFrame, found, "from_site", "to_site")

    def offers(self, announced: Sequence[tuple[str, str, int, str, int, int]]) -> pd.DataFrame:
        """Return what hosts announced, joined to swarms by the first bytes of their hashes: the columns of OfferFrame.

        Parameters
        ----------
        announced : sequence of (host, addresses, port, content prefix, since, until)
        """
        swarms = sorted(self._swarms)
        found = []
        for row in announced:
            at = bisect_left(swarms, row[3])
            joined = swarms[at] if at < len(swarms) and row[3] and swarms[at].startswith(row[3]) else ""
            found.append((*row, joined))
        return self._frame(OfferFrame, found)

    def _peer_rows(self) -> Iterator[tuple[Any, ...]]:
        for swarm_hash, swarm in sorted(self._swarms.items()):
            peers = sorted(swarm.peers.values(), key=lambda peer: (peer.first_ns, peer.ip, peer.peer_id))
            total = swarm.total()
            seeder = _first_seeder(peers, total)
            for p in peers:
                held = _held(p, swarm, total)
                yield (
                    swarm_hash, p.ip, p.peer_id, p.site, p.first_ns, p.last_ns, total, p.held_first, held, p.uploaded,
                    p.downloaded, p.off_window, p is seeder, p.gained_ns if 0 < total <= held else 0,
                )  # fmt: skip

    def _frame(self, table: type[Table], rows: list[tuple[Any, ...]], *sites: str) -> pd.DataFrame:
        columns = zip(*rows, strict=True) if rows else ([] for _ in table.columns())
        frame = {}
        for column, values in zip(table.columns(), columns, strict=True):
            dtype: Any = self._sites if column.name in sites else column.dtype
            frame[column.name] = pd.Series(list(values), dtype=dtype)
        return pd.DataFrame(frame)


def _spans(edges: npt.NDArray[np.intp], size: int) -> Iterator[tuple[int, int]]:
    return (span for span in pairwise([0, *edges.tolist(), size]) if span[0] < span[1])


def _when(message: Any, window_ns: int) -> tuple[int, int, int, int, int]:
    ts_ns, flow = int(message["ts_ns"]), int(message["flow"])
    return ts_ns // window_ns, ts_ns, flow, int(message["from_resp"]), int(message["kind"])


def _first_seeder(peers: list[_Peer], total: int) -> _Peer | None:
    giving = [peer for peer in peers if peer.uploaded]
    if giving:
        return min(giving, key=lambda peer: (peer.first_piece_ns, peer.ip))
    whole = [peer for peer in peers if peer.held_first and peer.held_first >= total]
    return min(whole, key=lambda peer: (peer.first_bitfield_ns, peer.ip), default=None)


def _held(peer: _Peer, swarm: _Swarm, total: int) -> int:
    """Count what a peer has: its last bitfield, and what it said to have or got whole that is not in it."""
    whole = [index for index, volume in peer.got_bytes.items() if volume >= swarm.piece_size or index == total - 1]
    later = np.union1d(peer.haves, np.array(whole, dtype=np.uint64))
    return min(peer.held + len(later), max(total, peer.held))
