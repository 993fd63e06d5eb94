"""Mutated captures through the whole string, for so many seconds: `python -m tests.fuzz.mutate SEED SECONDS`.

Every round cuts, turns, splices or repeats bytes of a sample capture, packs it, and analyzes it with small batches.
The network is never wrong enough to raise: only an `OperatorError` may come out. Prints the number of rounds; a failure
leaves the captures that made it and raises.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

from sensor import following, pipeline
from sensor.errors import OperatorError
from sensor.flows import FlowOptions
from sensor.rules.load import load
from sensor.settings import load_policy
from sensor.sources import files
from tests.builders import do_handshake, do_have, do_piece, do_request, pcap, pcapng
from tests.captures import COMPRESSIONS, ROOT, SAMPLES, compressed, records_of
from tests.streams import NOON, RESP, SECOND, Tape
from tests.unit.test_mdns import announcement, datagram

Record = tuple[int, bytes, int]


def corpus() -> list[list[Record]]:
    """Return the records of the small samples, and of two conversations and announcements made here."""
    listed = [records_of(path.read_bytes()) for path in sorted(SAMPLES.glob("*.pcap")) if path.stat().st_size < 50_000]
    tape = Tape(isn=(2**32 - 200, 5)).open().orig(0, do_handshake()).resp(0, do_handshake(), acked=75)
    at = 75
    for index in range(20):
        tape.orig(at, do_request(index) + do_have(index))
        tape.resp(75 + 213 * index, do_piece(index, 0, b"d" * 200), acked=at)
        at += 26
    listed.append([(ts_ns, frame, len(frame)) for ts_ns, frame in tape.reset(RESP).frames])
    six = Tape("2001:db8::1", "2001:db8::2").open().orig(0, do_handshake() + do_have(1)).close(84)
    listed.append([(ts_ns, frame, len(frame)) for ts_ns, frame in six.frames])
    told = [datagram(f"10.1.0.{at}", announcement(f"host-{at}", [1, at], ip=f"10.1.0.{at}")) for at in range(1, 9)]
    listed.append([(NOON + at * SECOND, frame, len(frame)) for at, frame in enumerate(told)])
    return [records[:400] for records in listed]


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Return bytes with a few of them turned, cut out, repeated or set to what breaks length checks."""
    out = bytearray(data)
    for _ in range(rng.choice([0, 1, 1, 2, 5, 20])):
        if not out:
            break
        at = rng.randrange(len(out))
        match rng.randrange(6):
            case 0:
                out[at] ^= 1 << rng.randrange(8)
            case 1:
                out[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
            case 2:
                out[at : at + 4] = rng.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0"])
            case 3:
                del out[at : at + rng.choice([1, 4, 16, 200])]
            case 4:
                out[at:at] = out[at : at + rng.choice([1, 4, 16, 200])]
            case _:
                end = rng.randrange(len(out))
                out[at : at + 64] = out[end : end + 64]
    return bytes(out)


def shaken(rng: random.Random, records: list[Record], others: list[Record]) -> list[Record]:
    """Return records of which some are mutated, lost, repeated, swapped, moved in time, or from another capture."""
    out: list[Record] = []
    for ts_ns, frame, wire in records:
        ts, data, length = ts_ns, frame, wire
        match rng.randrange(24):
            case 0:
                data = mutated(rng, frame)
            case 1:
                continue
            case 2:
                out.append((ts, data, length))
            case 3:
                ts += rng.choice([-1, 1]) * rng.choice([10**6, 10**9, 10**12])
            case 4:
                length = rng.choice([0, 1, 60, 65535, 2**31, 2**32 - 1])
            case 5:
                data = data[: rng.randrange(len(data) + 1)]
            case 6 if others:
                data = rng.choice(others)[1]
        out.append((max(ts, 0), data, length))
    if rng.randrange(4) == 0:
        rng.shuffle(out)
    return out


def written(rng: random.Random, records: list[Record]) -> bytes:
    """Return a capture file, its own bytes mutated too."""
    link = rng.choice([1] * 12 + [0, 101, 113, 228, 229, 276, 105, 65535])
    writer = rng.choice([pcap, pcapng])
    data = writer(records, nanos=rng.random() < 0.5, big_endian=rng.random() < 0.3, linktype=link)
    if rng.randrange(3) == 0:
        data = mutated(rng, data)
    if rng.randrange(4) == 0:
        data = compressed(data, rng.choice(COMPRESSIONS))
        if rng.randrange(2) == 0:
            data = mutated(rng, data)
    return data


def main(seed: int, seconds: float) -> int:
    rng = random.Random(seed)  # noqa: S311 - what is wanted is the same disorder every time
    rules, policies = load([ROOT / "rules"]), (load_policy(None), load_policy(SAMPLES / "office.yaml"))
    known = corpus()
    files.BATCH_FRAMES = 50  # type: ignore[misc]
    following._PORTION = 20  # type: ignore[misc]
    rounds, end = 0, time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < end:
            names = []
            for number in range(rng.choice([1, 1, 1, 2, 3])):
                names.append(f"{folder}/{number}")
                Path(names[-1]).write_bytes(written(rng, shaken(rng, rng.choice(known), rng.choice(known))))
            small = FlowOptions(capacity=rng.choice([1, 3, 1000]), holes=rng.choice([0, 2, 1000]), active_s=600)
            options = pipeline.Options(flows=small, port=rng.choice([7680, 7680, 0]))
            try:
                pipeline.analyze(names, rng.choice(policies), rules, options)
            except OperatorError:
                pass
            except BaseException:
                kept = [Path(tempfile.gettempdir()) / f"swarmtap-fuzz-{seed}-{rounds}-{Path(n).name}" for n in names]
                for name, path in zip(names, kept, strict=True):
                    path.write_bytes(Path(name).read_bytes())
                sys.stderr.write(f"round {rounds} of seed {seed}; its captures are {', '.join(map(str, kept))}\n")
                raise
            rounds += 1
    sys.stdout.write(f"{rounds}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), float(sys.argv[2])))
