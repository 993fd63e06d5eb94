"""Mutated captures from the file to messages and back: `python -m tests.fuzz.inputs SEED COUNT`.

Each input is a short capture that was mutated in its frames, in its records and in its compression; it is read, decoded
by both lanes, put in order, followed into flows and read as messages, with one table that lives through many inputs.
Only an `OperatorError` may come out. With NUMBA_BOUNDSCHECK=1 every access of the kernels is checked. Prints what came.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from sensor.announcements import announced
from sensor.decode import Decoder
from sensor.dissect import slow_lane
from sensor.errors import OperatorError
from sensor.flows import FlowOptions
from sensor.following import Following
from sensor.mdns import Offers
from sensor.order import Order
from sensor.sources import files
from sensor.sources.chains import ALL_FRAMES
from tests.fuzz.mutate import Record, corpus, shaken, written

EACH = 500  # inputs that one table follows
RECORDS = 12  # of one input


def some(rng: random.Random, records: list[Record]) -> list[Record]:
    """Return a few records that follow each other."""
    at = rng.randrange(max(1, len(records) - RECORDS))
    return records[at : at + RECORDS]


def read(name: str, decoder: Decoder, table: Following, port: int, *, ahead: bool) -> Counter[str]:
    """Read one input as far as it goes, and return what came of it."""
    found: Counter[str] = Counter(inputs=1)
    order, offers = Order(), Offers()
    with files.Reader(name, 0, port, ahead=ahead) as reader:
        for batch in reader.batches():
            packets = decoder.push(batch)
            for each in announced(batch) if decoder.saw_mdns else ():
                offers.hear(each.message, each.source, each.ts_ns)
                found["announced"] += 1
            found.update(frames=len(batch.frames), packets=len(packets))
            order.push(packets, batch.data)
        for ordered in order.release(None):
            table.push(ordered)
        found["damaged"] += reader.facts.damage is not None
    return found


def main(seed: int, count: int) -> int:
    """Run, and print what was seen; an input that raises is left in the folder for temporary files."""
    rng = random.Random(seed)  # noqa: S311 - the same disorder every time
    known = corpus()
    files.BATCH_FRAMES = 5  # type: ignore[misc]
    seen: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "input"
        while seen["inputs"] < count:
            small = FlowOptions(capacity=rng.choice([1, 3, 1000]), holes=rng.choice([0, 2, 1000]), active_s=600)
            table, port, any_port = Following(small), rng.choice([7680, 7680, 0]), not rng.randrange(4)
            known_flows = Decoder(7680, slow_lane, any_port=True) if any_port else None
            for _ in range(EACH):
                decoder = Decoder(7680 if any_port else port, slow_lane, any_port=any_port, like=known_flows)
                kept_port = ALL_FRAMES if any_port else port
                path.write_bytes(written(rng, shaken(rng, some(rng, rng.choice(known)), rng.choice(known))))
                try:
                    seen.update(read(str(path), decoder, table, kept_port, ahead=not rng.randrange(8)))
                except OperatorError:
                    seen.update(inputs=1, refused=1)
                except BaseException:
                    kept = Path(tempfile.gettempdir()) / f"swarmtap-fuzz-{seed}-{seen['inputs']}"
                    kept.write_bytes(path.read_bytes())
                    sys.stderr.write(f"input {seen['inputs']} of seed {seed}; it is {kept}\n")
                    raise
            part = table.take(None)
            seen.update(windows=len(part.windows), flows=len(part.endings), messages=sum(map(len, part.messages)))
    sys.stdout.write(", ".join(f"{number} {name}" for name, number in seen.items()) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
