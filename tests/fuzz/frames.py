"""Mutated frames through both lanes of the decoder: `python -m tests.fuzz.frames SEED COUNT`.

Frames of the public odd captures and of the samples are cut, turned, spliced and given other link types and lengths.
Whatever they are, the lanes must give the same rows, no row may point outside its frame, and nothing may be raised.
With NUMBA_BOUNDSCHECK=1 the kernels check every access. Prints how many frames, rows and odd frames there were.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from sensor.decode import Decoder
from sensor.dissect import dissect, slow_lane
from sensor.errors import OperatorError
from sensor.kernels.records import is_beside
from sensor.schema import TUNNELS, Batch, Frames
from sensor.sources.files import Reader
from tests.captures import PUBLIC, SAMPLES
from tests.fuzz.mutate import mutated

if TYPE_CHECKING:
    from pathlib import Path

LINKS = (0, 1, 7, 9, 10, 12, 14, 50, 51, 101, 104, 105, 108, 113, 127, 129, 138, 166, 178, 192, 228, 229, 239, 242, 258,
         276, 281, 282, 284, 285)  # fmt: skip
EACH = 2048
Frame = tuple[int, bytes, int]


def frames_of(path: Path) -> list[Frame]:
    """Return (link type, captured bytes, length on the wire) of some frames of a capture that may yield TCP."""
    found: list[Frame] = []
    try:
        with Reader(path, 0) as reader:
            for batch in reader.batches():
                for row in dissect_rows(batch)[:40]:
                    start, size = int(row["at"]), int(row["captured_bytes"])
                    frame = batch.data[start : start + min(size, 1600)].tobytes()
                    found.append((int(row["link_type"]), frame, int(row["wire_bytes"])))
                break
    except OperatorError:
        pass
    return found


def dissect_rows(batch: Batch) -> np.ndarray:
    """Return the frames of a batch that gave rows, and a few of the others."""
    at = dissect(batch.frames, batch.data, 0).frame
    return batch.frames[np.unique(np.concatenate([at[:35], np.arange(min(5, len(batch.frames)))]))]


def shaken(rng: random.Random, frame: Frame) -> Frame:
    """Return a frame of which something is wrong."""
    link, data, wire = frame
    head = rng.choice([14, 40, 80, 120, len(data)])
    data = mutated(rng, data[:head]) + data[head:]
    if rng.randrange(4) == 0:
        data = data[: rng.randrange(len(data) + 1)]
    if rng.randrange(8) == 0:
        link = rng.choice(LINKS)
    if rng.randrange(6) == 0:
        wire = rng.choice([0, len(data), len(data) + 4, 65535, 2**31 - 1])
    return link, data, max(wire, len(data))


def batch_of(frames: list[Frame]) -> Batch:
    """Return a batch with these frames lying one behind the other."""
    rows = Frames.empty(len(frames))
    sizes = np.array([len(data) for _, data, _ in frames])
    rows["at"] = np.cumsum(sizes) - sizes
    rows["captured_bytes"], rows["number"] = sizes, np.arange(1, len(frames) + 1)
    rows["link_type"] = [link for link, _, _ in frames]
    rows["wire_bytes"] = [wire for _, _, wire in frames]
    return Batch(rows, np.frombuffer(b"".join(data for _, data, _ in frames), dtype=np.uint8))


def check(batch: Batch) -> np.ndarray:
    """Decode a batch by both lanes, and return the rows.

    Raises
    ------
    AssertionError
        If the lanes differ or a row points outside its frame.
    """
    slow = dissect(batch.frames, batch.data, 0)
    decoder = Decoder(0, slow_lane)
    rows = decoder.push(batch)
    assert rows.tolist() == slow.packets.tolist()
    assert decoder.weird.tolist() == slow.passed_over().tolist()
    frames = batch.frames[rows["number"] - 1]
    end = frames["at"] + frames["captured_bytes"]
    assert bool(np.all((rows["payload_at"] >= frames["at"]) & (rows["payload_at"] + rows["payload_captured"] <= end)))
    assert bool(np.all((rows["payload_captured"] >= 0) & (rows["payload_captured"] <= rows["payload_bytes"])))
    assert bool(np.all((rows["payload_bytes"] <= rows["ip_bytes"] - 40) & (rows["ip_bytes"] <= frames["wire_bytes"])))
    check_passed_over(batch)
    return rows


def check_passed_over(batch: Batch) -> None:
    """Leave out what a wide walk passes over, and see whether anything is missing.

    Raises
    ------
    AssertionError
        If a frame that says something would be passed over.
    """
    data = batch.data
    places = batch.frames[["at", "captured_bytes", "wire_bytes", "link_type"]].tolist()
    beside = np.array([bool(is_beside(data, at, at + size, wire, link, 7680)) for at, size, wire, link in places])
    whole, sifted = Decoder(7680, slow_lane), Decoder(7680, slow_lane)
    assert whole.push(batch).tolist() == sifted.push(Batch(batch.frames[~beside], data)).tolist()
    assert whole.weird.tolist() == sifted.weird.tolist()
    assert whole.saw_mdns == sifted.saw_mdns


def checked(frames: list[Frame]) -> np.ndarray:
    """Check frames together; where that fails, one by one, to tell which it was."""
    try:
        return check(batch_of(frames))
    except (AssertionError, IndexError):
        for link, data, wire in frames:
            try:
                check(batch_of([(link, data, wire)]))
            except (AssertionError, IndexError):
                sys.stderr.write(f"link type {link}, {wire} bytes on the wire: {data.hex()}\n")
        raise


def main(seed: int, count: int) -> int:
    """Run, and print what was seen."""
    rng = random.Random(seed)  # noqa: S311 - the same disorder every time
    paths = [*sorted((PUBLIC / "formats").glob("*")), *sorted(SAMPLES.glob("*.pcap"))]
    corpus = [frame for path in paths for frame in frames_of(path)]
    done, odd, tunnels = 0, 0, Counter[str]()
    while done < count:
        frames = [shaken(rng, rng.choice(corpus)) for _ in range(EACH)]
        rows = checked(frames)
        done += EACH
        odd += int(np.count_nonzero(rows["weird"]))
        tunnels.update(TUNNELS[code] for code in rows["tunnel"])
    told = ", ".join(f"{name} {number}" for name, number in tunnels.most_common())
    sys.stdout.write(f"{done} frames of {len(corpus)}; {sum(tunnels.values())} rows, {odd} odd; tunnels: {told}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
