"""Live benchmarks: the sensor beside its peers on one replay, an hour's soak, a million flows.

    python -m tests.bench.live speed [--only NAME …] [--nfstream PYTHON]
    python -m tests.bench.live soak [--minutes 60] [--rate 100000]
    python -m tests.bench.live flows [--flows 1000000]

As root: each makes a network namespace with a veth pair, and replays into one end what the other end captures. Sender
and receiver share the processors, so rates are lower than between two machines: quote them beside each other. `speed`
writes its table into BENCHMARKS.md, between its two marks.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import inputs, peers
from tests.live.network import ROOT, Network, Sensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

START_S = 1_781_000_000
PACKETS = 'swarmtap_capture_packets_total{interface="vb"}'
DROPS = 'swarmtap_capture_kernel_drops_total{interface="vb"}'
LAG = 'swarmtap_capture_lag_seconds{interface="vb"}'
MARKS = "<!-- live: begin -->", "<!-- live: end -->"
RATES = (300, 1_000, 3_000, 10_000, 25_000, 50_000, 100_000, 150_000, 200_000, 300_000, 0)
SECONDS = 4


def write_lives(path: Path, packets: int = 40_000) -> int:
    """Write 64 whole DO transfers, SYN to FIN, that can be sent again and again; return how many packets they are."""
    tile = inputs.tile(1.0, packets, 1)
    inputs.write(path, tile, 1000, START_S)
    shares = Counter(at // inputs._RUN % inputs._DO_FLOWS for at in range(packets))
    end_us, parts = START_S * 1_000_000 + tile.span_us, list[bytes]()
    for flow in range(inputs._DO_FLOWS):
        seeder, asker = inputs._ends(flow)
        last = inputs._ISN + 76 + shares[flow] * inputs._MSS
        for frame in (
            inputs._tcp(seeder, asker, last, b"", 0x11),
            inputs._tcp(asker, seeder, inputs._ISN + 76, b"", 0x11),
            inputs._tcp(seeder, asker, last + 1, b"", 0x10),
        ):
            parts.append(inputs._record(end_us + 10 * len(parts), frame, len(frame)))
    with path.open("ab") as file:
        file.write(b"".join(parts))
    return packets + 7 * inputs._DO_FLOWS


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def family(pid: int) -> list[int]:
    """Return a process and its children."""
    found = [pid]
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                found += family(int(child))
    return found


def cpu_s(pids: list[int]) -> float:
    """Return the CPU seconds that processes have used so far."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def anonymous_mb(pids: list[int]) -> float:
    """Return the memory of processes that no file backs, what they share counted once."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            told = re.findall(r"^Pss_Anon:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
            total += sum(map(int, told))
    return total / 1024


@dataclass(frozen=True, slots=True)
class Turn:
    """One program at one rate."""

    rate: float
    sent: int
    seen: int
    cpu_us: float


def replay(network: Network, capture: Path, rate: int, packets: int, count: int) -> tuple[int, float]:
    """Send about `count` packets at a rate (0: as fast as it goes); return how many were sent and how fast."""
    speed = f"--pps={rate}" if rate else "--topspeed"
    if count < packets:
        words = ["tcpreplay", "-q", "-K", "-i", network.near, speed, f"--limit={count}", str(capture)]
    else:
        words = ["tcpreplay", "-q", "-K", "-i", network.near, speed, f"--loop={max(1, count // packets)}", str(capture)]
    told = network.run(*words)
    sent = re.search(r"Actual: (\d+) packets .* sent in ([\d.]+) seconds", told)
    assert sent, told
    return int(sent[1]), int(sent[1]) / max(float(sent[2]), 1e-9)


def turn(network: Network, peer: peers.Peer, capture: tuple[Path, int], rate: int, folder: Path) -> Turn:
    """Start a program, send to it, stop it, and ask what it saw."""
    count = min(max(rate * SECONDS, 1000), 800_000) if rate else 800_000
    with peer.start(network, folder) as running:
        pids = family(running.pid)
        before = cpu_s(pids)
        sent, reached = replay(network, capture[0], rate, capture[1], count)
        time.sleep(1.5)
        used = cpu_s(pids) - before
        seen = running.stop()
    return Turn(reached, sent, seen, used / max(seen, 1) * 1e6)


def speed(options: argparse.Namespace) -> None:
    """Measure every program, from slow to fast, until it misses packets."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="swarmtap-bench-") as name, Network("swarmtap-bench") as network:
        folder = Path(name)
        folder.chmod(0o755)
        capture = folder / "lives.pcap"
        sized = capture, write_lives(capture)
        for peer in peers.available(options.nfstream):
            if options.only and peer.name not in options.only:
                continue
            clean: Turn | None = None
            missed: Turn | None = None
            for rate in RATES:
                if rate and rate < peer.from_rate:
                    continue
                found = turn(network, peer, sized, rate, folder)
                lost = found.sent - found.seen
                say(
                    f"{peer.name:12} asked {rate or 'all':>7}  sent {found.rate:9,.0f}/s"
                    f"  lost {lost:7,} of {found.sent:,}  {found.cpu_us:8.2f} µs CPU"
                )
                if lost > 0:
                    missed = found
                    break
                if clean is None or found.rate > clean.rate:
                    clean = found
            rows.append((peer, clean, missed))
    write(rows)


def write(rows: list[tuple[peers.Peer, Turn | None, Turn | None]]) -> None:
    """Put the table into BENCHMARKS.md."""
    lines = [
        MARKS[0],
        "",
        "Made with `python -m tests.bench.live speed`, as root: 64 whole DO transfers sent again and again over a",
        "veth pair, every packet on TCP 7680, some 1,450 bytes long; from slow to fast until a program misses packets.",
        "CPU is that of the program and its children, for each packet it saw at its fastest rate without loss.",
        "",
        "| program | version | packets/s, none missed | CPU µs a packet | next rate: packets/s, missed |",
        "|---|---|---:|---:|---:|",
    ]
    for peer, clean, missed in rows:
        good = (f"{clean.rate:,.0f}", f"{clean.cpu_us:.2f}") if clean else ("-", "-")
        bad = f"{missed.rate:,.0f}: {1 - missed.seen / missed.sent:.1%}" if missed else "the sender's fastest"
        lines.append(f"| {peer.name} | {peer.version()} | {good[0]} | {good[1]} | {bad} |")
    text = "\n".join([*lines, "", MARKS[1]])
    say(text)
    path = ROOT / "BENCHMARKS.md"
    before, mark, rest = path.read_text().partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    path.write_text(f"{before}{text}{after}" if mark else f"{before.rstrip()}\n\n## Live, beside others\n\n{text}\n")


@contextmanager
def sensor(network: Network, folder: Path, *more: str) -> Iterator[Sensor]:
    """Run the sensor with a state folder."""
    with Sensor(network, folder, "--state", str(folder / "state"), *more) as running:
        yield running


def soak(options: argparse.Namespace) -> None:
    """Send at one rate for long, and look at memory every half minute."""
    taken: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory(prefix="swarmtap-bench-") as name, Network("swarmtap-soak") as network:
        folder = Path(name)
        folder.chmod(0o755)
        capture = folder / "lives.pcap"
        write_lives(capture)
        with sensor(network, folder) as running:
            words = ["tcpreplay", "-q", "-K", "-i", network.near, f"--pps={options.rate}", "--loop=0", str(capture)]
            with subprocess.Popen(
                network.command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as sender:
                try:
                    began = time.monotonic()
                    while (passed := time.monotonic() - began) < options.minutes * 60:
                        time.sleep(30)
                        pids = family(running.pid)
                        found, memory, used = running.metrics(), anonymous_mb(pids), cpu_s(pids)
                        taken.append((passed, memory))
                        say(
                            f"{passed / 60:6.1f} min  {found[PACKETS]:14,.0f} packets  {found[DROPS]:8,.0f} dropped"
                            f"  lag {found[LAG]:5.2f} s  {memory:7.1f} MB  {used:7.1f} s CPU"
                        )
                finally:
                    sender.send_signal(signal.SIGINT)
            assert running.stop() == 0
    settled = [memory for passed, memory in taken if passed >= min(600, options.minutes * 20)]
    middle = statistics.median(settled)
    quarter = max(1, len(settled) // 4)
    drift = statistics.median(settled[-quarter:]) / statistics.median(settled[:quarter]) - 1
    say(
        f"after settling: {middle:.1f} MB in the middle, {min(settled):.1f} to {max(settled):.1f};"
        f" last quarter beside the first {drift:+.2%}"
    )


def flows(options: argparse.Namespace) -> None:
    """Open many flows that stay, and look at memory."""
    with tempfile.TemporaryDirectory(prefix="swarmtap-bench-") as name, Network("swarmtap-flows") as network:
        folder = Path(name)
        folder.chmod(0o755)
        capture = folder / "flood.pcap"
        inputs.write_flood(capture, options.flows)
        with sensor(network, folder) as running:
            pids = family(running.pid)
            empty, before = anonymous_mb(pids), cpu_s(pids)
            sent = network.send(capture, "-K", f"--pps={options.rate}")
            most, end = [0.0] * len(pids), time.monotonic() + 40
            while time.monotonic() < end:
                most = [max(before, anonymous_mb([pid])) for before, pid in zip(most, pids, strict=True)]
                time.sleep(1)
            found = running.metrics()
            say(
                f"{sent:,} flows sent, {found['swarmtap_flow_table_entries']:,.0f} in the table,"
                f" {found[DROPS]:,.0f} dropped; {empty:.0f} MB before; at most {most[0]:.0f} MB judge"
                f" and {sum(most[1:]):.0f} MB capture; {anonymous_mb(pids):.0f} MB together after;"
                f" {(cpu_s(pids) - before) / sent * 1e6:.2f} µs a packet"
            )
            running.kill()  # to judge what is left takes a while, and is not asked here


def main() -> None:
    """Do what is asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    works = parser.add_subparsers(required=True)
    made = works.add_parser("speed")
    made.add_argument("--only", nargs="*")
    made.add_argument("--nfstream", default="", help="a Python that has NFStream")
    made.set_defaults(work=speed)
    made = works.add_parser("soak")
    made.add_argument("--minutes", type=float, default=60)
    made.add_argument("--rate", type=int, default=100_000)
    made.set_defaults(work=soak)
    made = works.add_parser("flows")
    made.add_argument("--flows", type=int, default=1_000_000)
    made.add_argument("--rate", type=int, default=50_000)
    made.set_defaults(work=flows)
    options = parser.parse_args()
    work: Callable[[argparse.Namespace], None] = options.work
    work(options)


if __name__ == "__main__":
    main()
