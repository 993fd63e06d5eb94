"""Packets out of captures into one capture: those of some flows, hosts, swarms or times, as they are, merged by time.

The inputs are read once, in any format; what is chosen is put aside beside the output and sorted when all has been
read, so memory does not grow with it. Bytes, nanoseconds, lengths on the wire and link types stay what they were.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np

from sensor.decode import Decoder
from sensor.dissect import slow_lane
from sensor.errors import Mistake, OperatorError
from sensor.fragments import Fragments
from sensor.outfile import outfile
from sensor.pcapfile import Format
from sensor.sources.files import Reader
from sensor.wire import DO_PORT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sensor.schema import Bytes, Rows
    from sensor.selection import Selection

_SPOOL: Final = np.dtype(
    [
        ("ts_ns", np.int64), ("input", np.int32), ("number", np.int64), ("at", np.int64), ("size", np.int32),
        ("wire", np.int32), ("link", np.int32),
    ]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Chosen:
    """Packets of one batch that were chosen, the frames they came in, and the bytes of both."""

    packets: Rows
    frames: Rows
    data: Bytes


@dataclass(frozen=True, slots=True)
class Extracted:
    """What was written: where, how many packets, their hash, and what of the inputs was not readable."""

    path: Path
    packets: int
    sha256: str
    damage: tuple[str, ...] = field(default=())


def chosen(
    name: str,
    source: int,
    selection: Selection,
    span: tuple[int | None, int | None] = (None, None),
    decoder: Decoder | None = None,
) -> Iterator[Chosen | str]:
    """Yield the chosen packets of one input, batch by batch; at the end, in words, where it was damaged.

    Parameters
    ----------
    decoder : Decoder, optional
        One for all inputs knows in the next which flows on other ports shook hands in the one before.

    Raises
    ------
    OperatorError
        If the input cannot be read at all.
    """
    decoder = decoder or wide()
    since_ns, until_ns = span
    fragments = Fragments()
    with Reader(name, source) as reader:
        for batch in reader.batches():
            packets, _ = fragments.join(decoder.push(batch))
            if since_ns is not None:
                packets = packets[packets["ts_ns"] >= since_ns]
            if until_ns is not None:
                packets = packets[packets["ts_ns"] < until_ns]
            packets = selection(packets)
            if len(packets):
                frames = batch.frames[packets["number"] - int(batch.frames["number"][0])]
                yield Chosen(packets, frames, batch.data)
        if reader.facts.damage is not None:
            yield f"{reader.name}: {reader.facts.damage}"


def wide() -> Decoder:
    """Return a decoder for what is on the watched port, and for flows on others from DO's handshake on."""
    return Decoder(DO_PORT, slow_lane, any_port=True)


def extract(
    names: Sequence[str], selection: Selection, out: Path, span: tuple[int | None, int | None] = (None, None)
) -> Extracted:
    """Write what is chosen of some captures, in order of time.

    Parameters
    ----------
    span : (int or None, int or None)
        From when to before when, in UTC ns.

    Raises
    ------
    OperatorError
        If no input can be read, nothing was chosen, or the output cannot be written; nothing is then left under its
        name.
    """
    damage: list[str] = []
    mistakes: list[Mistake] = []
    index: list[Rows] = []
    decoder = wide()
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=out.parent) as spool:
            for source, name in enumerate(names):
                try:
                    for part in chosen(name, source, selection, span, decoder):
                        if isinstance(part, str):
                            damage.append(part)
                        else:
                            index.append(_put_aside(part, spool))
                except OperatorError as error:
                    mistakes.extend(error.mistakes)
            if len(mistakes) == len(names):
                raise OperatorError(*mistakes)
            if not index:
                raise OperatorError(Mistake(str(out), "would be empty: no packet was chosen", "choose less narrowly"))
            damage += [str(mistake) for mistake in mistakes]
            return _write(np.concatenate(index), spool, out, tuple(damage))
    except OSError as error:
        read = f"cannot be written ({error.strerror or error})"
        raise OperatorError(Mistake(str(out), read, "choose a folder with room that you may write to")) from error


def flows_of_swarms(names: Sequence[str], swarms: Sequence[str]) -> frozenset[str]:
    """Return the Community IDs of flows whose handshake names one of some contents (a hash, or its first digits).

    Raises
    ------
    OperatorError
        If no input can be read, or no flow speaks of them.
    """
    from sensor import pipeline  # pandas, which plain extraction does not need
    from sensor.rules.ruleset import RuleSet
    from sensor.settings import load_policy

    case = pipeline.analyze(names, load_policy(None), RuleSet((), {}))
    hashes = case.flows["swarm_hash"]
    found = np.zeros(len(hashes), dtype=np.bool_)
    for swarm in swarms:
        found |= (hashes.str.startswith(swarm.lower()) & (hashes != "")).to_numpy()
    if not found.any():
        seen = ", ".join(sorted({str(each)[:16] for each in hashes if each})[:5]) or "none"
        right = f"choose one that a handshake names: {seen}"
        raise OperatorError(Mistake("--swarm", f"{', '.join(swarms)} is in no handshake", right))
    return frozenset(case.flows["community_id"][found].astype(str))


def _put_aside(part: Chosen, spool: BinaryIO) -> Rows:
    frames = part.frames
    rows = np.zeros(len(frames), dtype=_SPOOL)
    for name, column in (("ts_ns", "ts_ns"), ("number", "number"), ("input", "input"), ("link", "link_type")):
        rows[name] = frames[column]
    rows["size"], rows["wire"] = frames["captured_bytes"], frames["wire_bytes"]
    ends = np.cumsum(rows["size"], dtype=np.int64)
    rows["at"] = ends - rows["size"] + spool.tell()
    starts, sizes = frames["at"].tolist(), rows["size"].tolist()
    spool.write(b"".join(part.data[at : at + size].tobytes() for at, size in zip(starts, sizes, strict=True)))
    return rows


def _write(rows: Rows, spool: BinaryIO, out: Path, damage: tuple[str, ...]) -> Extracted:
    rows = rows[np.lexsort((rows["number"], rows["input"], rows["ts_ns"]))]
    shape = Format(np.unique(rows["link"]).tolist(), int(rows["size"].max()))
    path = out if out.suffix else out.with_suffix(f".{shape.suffix}")
    digest = hashlib.sha256(shape.head())
    spool.flush()
    with outfile(path) as file:
        file.write(shape.head())
        at = -1
        for row in rows:
            if at != int(row["at"]):
                spool.seek(int(row["at"]))
            data = spool.read(int(row["size"]))
            at = int(row["at"]) + len(data)
            record = shape.record(data, int(row["wire"]), int(row["link"]), int(row["ts_ns"]))
            digest.update(record)
            file.write(record)
    return Extracted(path, len(rows), digest.hexdigest(), damage)
