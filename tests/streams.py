"""A TCP conversation told by stream positions, as frames, as packets, and as what the kernels make of it.

Positions are those of the product: 0 is the first byte after the SYN. So a test can say `tape.orig(100, data)` whatever
the initial sequence number is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sensor.decode import Decoder
from sensor.flows import FlowOptions, FlowTable
from sensor.kernels import framing
from sensor.messages import MessageReader
from sensor.schema import CONN_STATES, END_REASONS, KIND_GAP, KIND_VERDICT, VERDICTS, Batch, Frames, Rows
from tests.builders import ACK, FIN, RST, SYN, ethernet, ip, tcp

if TYPE_CHECKING:
    from collections.abc import Iterable

NOON = 1_773_144_000_000_000_000  # 2026-03-10T12:00:00Z
MS = 1_000_000
SECOND = 1_000_000_000
ORIG, RESP = 0, 1


class Tape:
    """Frames of one connection in time order; each is `step_ms` after the one before unless it says `at_ms`."""

    def __init__(  # noqa: PLR0913 - everything that tells two connections apart
        self,
        orig: str = "10.1.0.5",
        resp: str = "10.1.0.6",
        *,
        orig_port: int = 50000,
        resp_port: int = 7680,
        isn: tuple[int, int] = (1000, 900_000),
        start_ns: int = NOON,
        step_ms: int = 100,
    ) -> None:
        self.ends = ((orig, orig_port), (resp, resp_port))
        self.isn = isn
        self.start_ns = start_ns
        self.step_ms = step_ms
        self.next_ms = 0
        self.ident = 0
        self.frames: list[tuple[int, bytes]] = []

    def send(
        self,
        side: int,
        at: int,
        payload: bytes = b"",
        *,
        acked: int = 0,
        flags: int = ACK,
        at_ms: float | None = None,
    ) -> Tape:
        """Add a packet of one side: its payload starts at stream position `at`, it acknowledges up to `acked`."""
        if at_ms is not None:
            self.next_ms = at_ms  # type: ignore[assignment]
        self.ident += 1
        (src, sport), (dst, dport) = self.ends[side], self.ends[1 - side]
        seq, ack = self.isn[side] + 1 + at, self.isn[1 - side] + 1 + acked
        segment = tcp(sport, dport, payload, seq=seq, ack=ack if flags & ACK else 0, flags=flags)
        packet = ip(src, dst, segment)
        if packet[0] >> 4 == 4:
            packet = packet[:4] + self.ident.to_bytes(2, "big") + packet[6:]
        self.frames.append((self.start_ns + int(self.next_ms * MS), ethernet(packet)))
        self.next_ms += self.step_ms
        return self

    def orig(self, at: int, payload: bytes = b"", **more: Any) -> Tape:
        """Add a packet of the originator."""
        return self.send(ORIG, at, payload, **more)

    def resp(self, at: int, payload: bytes = b"", **more: Any) -> Tape:
        """Add a packet of the responder."""
        return self.send(RESP, at, payload, **more)

    def syn(self, **more: Any) -> Tape:
        """Add the originator's SYN."""
        return self.send(ORIG, -1, flags=SYN, **more)

    def syn_ack(self, **more: Any) -> Tape:
        """Add the responder's SYN+ACK."""
        return self.send(RESP, -1, flags=SYN | ACK, **more)

    def open(self) -> Tape:
        """Add the three packets that establish a connection."""
        return self.syn().syn_ack().orig(0)

    def close(self, orig_at: int = 0, resp_at: int = 0) -> Tape:
        """Add FIN, FIN and the last ACK, after so many bytes of each side."""
        self.orig(orig_at, flags=FIN | ACK, acked=resp_at)
        self.resp(resp_at, flags=FIN | ACK, acked=orig_at + 1)
        return self.orig(orig_at + 1, acked=resp_at + 1)

    def reset(self, side: int, at: int = 0, acked: int = 0) -> Tape:
        """Add a RST."""
        return self.send(side, at, flags=RST | ACK, acked=acked)


def batch_of(frames: Iterable[tuple[int, bytes] | tuple[int, bytes, int]], link_type: int = 1) -> Batch:
    """Lay frames into one batch as a reader would; a third value is the true length on the wire."""
    listed = list(frames)
    rows = Frames.empty(len(listed))
    data = bytearray(b"\xcc\xcc\xcc")
    for at, frame in enumerate(listed):
        row = rows[at]
        row["ts_ns"], row["at"], row["captured_bytes"] = frame[0], len(data), len(frame[1])
        row["wire_bytes"] = frame[2] if len(frame) > 2 else len(frame[1])
        row["number"], row["offset"], row["link_type"] = at + 1, 24 + at, link_type
        data += frame[1]
    return Batch(rows, np.frombuffer(bytes(data), dtype=np.uint8))


@dataclass(frozen=True)
class Told:
    """What the flow table and the message reader say of frames."""

    packets: Rows
    tracks: Rows
    windows: Rows
    endings: Rows
    messages: Rows
    handshakes: Rows
    table: FlowTable
    weird: np.ndarray

    def flow(self, number: int = 0) -> dict[str, int]:
        """Return the sums of a flow's windows and the columns of its ending."""
        windows = self.windows[self.windows["flow"] == number]
        summed = {
            name: int(windows[name].sum())
            for name in windows.dtype.names or ()
            if name.endswith(("_bytes", "_packets")) or name in {"syns", "syn_acks", "resets", "fins"}
        }
        (ending,) = self.endings[self.endings["flow"] == number]
        return summed | {name: int(ending[name]) for name in ending.dtype.names or ()}

    def states(self) -> list[str]:
        """Return the conn_state of each flow in the order of their numbers."""
        return [CONN_STATES[e["conn_state"]] for e in np.sort(self.endings, order="flow")]

    def reasons(self) -> list[str]:
        """Return why each flow ended, in the order of their numbers."""
        return [END_REASONS[e["end_reason"]] for e in np.sort(self.endings, order="flow")]

    def said(self) -> list[tuple[int, int, int, int, int, int]]:
        """Return messages as (side, position, kind, index, begin, length), without changes of verdict."""
        names = ("from_resp", "position", "kind", "index", "begin", "length")
        return [tuple(int(m[n]) for n in names) for m in self.messages if m["kind"] not in (KIND_VERDICT, KIND_GAP)]  # type: ignore[misc]

    def verdicts(self) -> list[str]:
        """Return the changes of verdict in order."""
        return [VERDICTS[m["index"]] for m in self.messages if m["kind"] == KIND_VERDICT]


def play(
    frames: Tape | Iterable[tuple[int, bytes] | tuple[int, bytes, int]],
    options: FlowOptions | None = None,
    *,
    batch: int = 0,
) -> Told:
    """Play frames in time order through decode, flows and messages, `batch` packets at a time (0: all)."""
    made = batch_of(sorted(frames.frames if isinstance(frames, Tape) else frames, key=lambda frame: frame[0]))
    packets = Decoder().push(made)
    table, reader = FlowTable(options), MessageReader()
    tracks, messages, handshakes = [], [], []
    for start in range(0, len(packets), batch or max(len(packets), 1)):
        part = packets[start : start + batch] if batch else packets
        tracks.append(table.push(part))
        heard = reader.push(part, made.data, tracks[-1])
        messages.append(heard.messages)
        handshakes.append(heard.handshakes)
    heard = reader.settle(None)
    messages.append(heard.messages)
    handshakes.append(heard.handshakes)
    table.sweep(int(packets["ts_ns"].max()) if len(packets) else 0, everything=True)
    windows, endings = table.take()
    return Told(
        packets,
        np.concatenate(tracks),
        windows,
        endings,
        np.concatenate(messages),
        np.concatenate(handshakes),
        table,
        reader.weird,
    )


def following(told: Told, data: np.ndarray, at: int, states: Rows, out: list[Any]) -> list[Any]:
    """Return the arguments of `framing.follow`, with a pool of cells of its own; `out` is what it writes."""
    cells = np.zeros(64, dtype=framing.CELL)
    pool = np.zeros(64 * framing.CELL_BYTES, dtype=np.uint8)
    slots = len(states)
    memory = np.array([framing.NONE, 0, 0, slots], dtype=np.int64)
    places = np.arange(1, slots + 1, dtype=np.int32)
    return [told.packets, data, told.tracks, at, 10 * SECOND, places, states, cells, pool, memory, *out]


class PlainRows:
    """A rows table whose rows have their columns as attributes, as kernels see them, for kernels run as Python."""

    def __init__(self, table: Rows) -> None:
        self._table = table
        self.shape = table.shape

    def __getitem__(self, at: int) -> PlainRow:
        assert 0 <= at < len(self._table), "a kernel forms no index outside its table"
        return PlainRow(self._table, int(at))


class PlainRow:
    """One row of `PlainRows`; what is written to it is written to the table."""

    __slots__ = ("_at", "_table")

    def __init__(self, table: Rows, at: int) -> None:
        object.__setattr__(self, "_table", table)
        object.__setattr__(self, "_at", at)

    def __getattr__(self, name: str) -> Any:
        return self._table[name][self._at]

    def __setattr__(self, name: str, value: Any) -> None:
        self._table[name][self._at] = value


def run_as_python(kernel: Any, module: Any, monkeypatch: Any, arguments: list[Any]) -> Any:
    """Run a kernel's Python body, with the Python bodies of its parts, on plain rows."""
    for name, part in vars(module).copy().items():
        if hasattr(part, "py_func"):
            monkeypatch.setattr(module, name, part.py_func)
    seen = [PlainRows(a) if isinstance(a, np.ndarray) and a.dtype.names else a for a in arguments]
    with np.errstate(over="ignore"):
        return kernel.py_func(*seen)
