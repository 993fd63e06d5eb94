"""The programs that the sensor is measured beside, each told to do its least: capture TCP 7680, count or keep flows."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.bench.programs import SURICATA
from tests.live.network import ROOT, Network, Sensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FILTER = "tcp port 7680 or (vlan and (tcp port 7680 or (vlan and tcp port 7680)))"
PACKETS = 'swarmtap_capture_packets_total{interface="vb"}'

# Each prints `ready`, and at SIGINT how many packets it saw.
DPKT = """
import signal, socket, struct, sys, dpkt
made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
made.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE: as much as our ring
made.bind((sys.argv[1], 3))
made.settimeout(0.2)
flows, seen, going = {}, 0, True
def stop(*_):
    global going
    going = False
signal.signal(signal.SIGINT, stop)
print("ready", flush=True)
while True:
    try:
        data = made.recv(65536)
    except TimeoutError:
        if going:
            continue
        break
    frame = dpkt.ethernet.Ethernet(data)
    if isinstance(frame.data, dpkt.ip.IP) and isinstance(frame.data.data, dpkt.tcp.TCP):
        segment = frame.data.data
        if 7680 in (segment.sport, segment.dport):
            seen += 1
            key = (frame.data.src, segment.sport, frame.data.dst, segment.dport)
            flows[key] = flows.get(key, 0) + len(segment.data)
print(seen)
"""
PYSHARK = """
import signal, sys, pyshark
seen = 0
capture = pyshark.LiveCapture(sys.argv[1], bpf_filter="tcp port 7680", only_summaries=False)
def stop(*_):
    print(seen, flush=True)
    import os
    os._exit(0)
signal.signal(signal.SIGINT, stop)
print("ready", flush=True)
for packet in capture.sniff_continuously():
    seen += 1
"""
NFSTREAM = """
import signal, sys
from nfstream import NFStreamer
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("ready", flush=True)
seen = 0
least = {"n_meters": 1, "n_dissections": 0, "statistical_analysis": False, "idle_timeout": 1, "active_timeout": 3600}
for flow in NFStreamer(source=sys.argv[1], bpf_filter="tcp port 7680", **least):
    if flow.src_port == 9:
        break
    seen += flow.bidirectional_packets
print(seen)
"""


@dataclass(slots=True)
class Running:
    """A program that captures."""

    pid: int
    stop: Callable[[], int]


@dataclass(frozen=True, slots=True)
class Peer:
    """A program: how it is started, where its ladder of rates begins."""

    name: str
    from_rate: int
    start: Callable[[Network, Path], object]
    version: Callable[[], str]


def available(nfstream: str) -> list[Peer]:
    """Return the sensor and the peers that are installed here."""
    found = [
        Peer("swarmtap", 25_000, _sensor, lambda: "this"),
        Peer("tcpdump", 25_000, _tcpdump, lambda: _first("tcpdump", "--version")),
    ]
    if shutil.which(SURICATA):
        found.append(Peer("Suricata", 25_000, _suricata, lambda: _first(SURICATA, "-V")))
    if nfstream:
        told = [nfstream, "-c", "import nfstream; print(nfstream.__version__)"]
        found.append(Peer("NFStream", 10_000, _scripted(nfstream, NFSTREAM, 8.0), lambda: _first(*told)))
    if importlib.util.find_spec("dpkt"):
        found.append(Peer("dpkt loop", 3_000, _scripted(sys.executable, DPKT), lambda: _of("dpkt")))
    if importlib.util.find_spec("pyshark") and shutil.which("tshark"):
        found.append(Peer("pyshark", 300, _scripted(sys.executable, PYSHARK, 5.0), lambda: _of("pyshark")))
    return found


@contextmanager
def _sensor(network: Network, folder: Path) -> Iterator[Running]:
    (folder / "err").unlink(missing_ok=True)
    with Sensor(network, folder, "-r", str(ROOT / "rules")) as sensor:
        time.sleep(1.0)

        def stop() -> int:
            seen = int(sensor.metrics()[PACKETS])
            sensor.stop()
            return seen

        yield Running(sensor.pid, stop)


@contextmanager
def _tcpdump(network: Network, _: Path) -> Iterator[Running]:
    words = ["tcpdump", "-i", network.far, "-n", "-B", "65536", "-w", "/dev/null", "-Z", "root", FILTER]
    with _started(network.command(*words), "listening on") as running:

        def stop() -> int:
            running.send_signal(signal.SIGINT)
            assert running.stderr is not None
            told = re.search(r"(\d+) packets? captured", running.stderr.read())
            return int(told[1]) if told else 0

        yield Running(running.pid, stop)


@contextmanager
def _suricata(network: Network, folder: Path) -> Iterator[Running]:
    settings = folder / "suricata.yaml"
    settings.write_text(
        "%YAML 1.1\n---\n"
        "stats: {enabled: yes, interval: 1}\n"
        f"default-log-dir: {folder}\n"
        "outputs: [{eve-log: {enabled: yes, filename: suricata.json, types: [flow, stats]}}]\n"
        f"af-packet: [{{interface: {network.far}, cluster-id: 99, cluster-type: cluster_flow, threads: 1,"
        " tpacket-v3: yes,"
        " ring-size: 2000, block-size: 1048576, use-mmap: yes, mmap-locked: no, checksum-checks: no}]\n"
        "app-layer: {protocols: {}}\nrunmode: workers\n"
    )
    log = folder / "suricata.json"
    log.unlink(missing_ok=True)
    words = [
        SURICATA,
        "-c",
        str(settings),
        "-S",
        "/dev/null",
        f"--af-packet={network.far}",
        "-k",
        "none",
        "tcp port 7680",
    ]
    with _started(network.command(*words), "Engine started", both=True) as running:

        def stop() -> int:
            running.send_signal(signal.SIGINT)
            running.wait(60)
            records = [json.loads(line) for line in log.read_text().splitlines()]
            seen = [each["stats"]["decoder"]["pkts"] for each in records if each["event_type"] == "stats"]
            return int(seen[-1]) if seen else 0

        yield Running(running.pid, stop)


def _scripted(python: str, script: str, wait_s: float = 1.0) -> Callable[[Network, Path], object]:
    @contextmanager
    def start(network: Network, folder: Path) -> Iterator[Running]:
        path = folder / "peer.py"
        path.write_text(script)
        with _started(network.command(python, str(path), network.far), "ready", both=True) as running:
            time.sleep(wait_s)

            def stop() -> int:
                if "nfstream" in script:
                    # Its flows end when another packet comes after they have been idle.
                    for port in (9, 10, 11):
                        time.sleep(2.0)
                        network.send(_ending(folder, port))
                running.send_signal(signal.SIGINT)
                assert running.stdout is not None
                told = running.stdout.read().split()
                return int(told[-1]) if told else 0

            yield Running(running.pid, stop)

    return start


def _ending(folder: Path, port: int) -> Path:
    from tests.builders import SYN, ethernet, ipv4, pcap, tcp

    path = folder / "ending.pcap"
    path.write_bytes(pcap([ethernet(ipv4("10.0.0.1", "10.0.0.2", tcp(port, 7680, flags=SYN)))]))
    return path


@contextmanager
def _started(command: list[str], ready: str, *, both: bool = False) -> Iterator[subprocess.Popen[str]]:
    out = subprocess.PIPE
    with subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT if both else out, text=True) as running:
        try:
            stream = running.stdout if both else running.stderr
            assert stream is not None
            while ready not in (line := stream.readline()):
                assert line, f"{command} did not start"
            time.sleep(0.5)
            yield running
        finally:
            running.kill()


def _first(*words: str) -> str:
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    return re.sub(
        r"^This is | RELEASE|tcpdump version |Suricata version ", "", (done.stdout or done.stderr).splitlines()[0]
    )


def _of(package: str) -> str:
    from importlib.metadata import version

    return version(package)
