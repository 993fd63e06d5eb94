# ruff: noqa: T201 - it prints what it measured
"""What reading messages costs on top of decoding and following flows: `python -m tests.bench.share [FILE [RUNS]]`.

Without a file it makes two of 300 MB, of nothing but transfers: pieces of about 350 kB, and blocks of about 22 kB.
The stages run in turn on the same batches, in one process and one thread; each figure is the smallest of its runs.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from sensor.decode import Decoder
from sensor.flows import FlowTable
from sensor.kernels.framing import STREAM
from sensor.messages import MessageReader
from sensor.sources.files import Reader
from tests.bench import inputs


def measure(path: str) -> dict[str, float]:
    """Return seconds by stage, and how many packets and messages there were."""
    spent: dict[str, float] = defaultdict(float)
    decoder, table, reader = Decoder(), FlowTable(), MessageReader()
    with Reader(path, 0) as source:
        for batch in source.batches():
            marks = [time.perf_counter()]
            packets = decoder.push(batch)
            marks.append(time.perf_counter())
            tracks = table.push(packets)
            marks.append(time.perf_counter())
            heard = reader.push(packets, batch.data, tracks)
            marks.append(time.perf_counter())
            for at, stage in enumerate(("decode", "flows", "messages")):
                spent[stage] += marks[at + 1] - marks[at]
            spent["packets"] += len(packets)
            spent["told"] += len(heard.messages)
    return dict(spent)


def main(path: str, runs: int) -> None:
    """Print one line."""
    found = [measure(path) for _ in range(runs)]
    best = {stage: min(each[stage] for each in found) for stage in ("decode", "flows", "messages")}
    share = best["messages"] / (best["decode"] + best["flows"])
    line = ", ".join(f"{stage} {seconds:.3f} s" for stage, seconds in best.items())
    print(f"{path}: {found[0]['packets']:,.0f} packets, {found[0]['told']:,.0f} messages: {line}")
    print(f"messages add {share:.0%} to decode and flows; {STREAM.itemsize + 4} bytes a flow")


def main_of_made(runs: int = 5) -> None:
    """Print a line for each of the two that are made."""
    with tempfile.TemporaryDirectory() as folder:
        for name, packets in (("pieces", 20_000), ("blocks", 1_000)):
            path = Path(folder) / f"{name}.pcap"
            inputs.write(path, inputs.tile(1.0, packets, 3), 300_000_000)
            main(str(path), runs)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5)
    else:
        main_of_made()
