"""What a scrape of a hundred sites costs: `python -m tests.bench.scrape`, CPU seconds, the best of many.

`python -m tests.bench.scrape --live`, as root: does a scrape slow capture? The sensor is sent to at a fixed rate, in
turn without a scraper and with one that asks ten times a second, 150 times as often as Prometheus does.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sensor.policy import Policy, Site
from sensor.sinks.metrics import Pages, Tallies
from tests.bench import live
from tests.live.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable

TIMES = 15
OPENMETRICS = "application/openmetrics-text;version=1.0.0"


def best(work: Callable[[], object]) -> float:
    took = []
    for _ in range(TIMES):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return min(took)


def sites() -> str:
    """Return a policy of a hundred sites."""
    return "version: 1\nsites:\n" + "".join(
        f"  - name: site{at}\n    subnets: [10.{at + 1}.0.0/16]\n" for at in range(99)
    )


def scraping(network: Network, over: threading.Event, took_ms: list[float]) -> None:
    """Scrape ten times a second until it is over."""
    while not over.wait(0.1):
        began = time.perf_counter()
        with network.inside():
            asked = http.client.HTTPConnection("127.0.0.1", 9768, timeout=10)
            asked.connect()
        asked.request("GET", "/metrics", headers={"Accept": OPENMETRICS})
        asked.getresponse().read()
        asked.close()
        took_ms.append((time.perf_counter() - began) * 1000)


def beside_capture(rate: int, seconds: int, turns: int) -> None:
    """Send at a rate, in turn without scrapes and with them, and print what was lost and what it cost."""
    print("| scrapes | packets sent | dropped | CPU s | a scrape took, ms: median, longest |\n|---|---:|---:|---:|---|")  # noqa: T201
    with tempfile.TemporaryDirectory(prefix="swarmtap-bench-") as name, Network("swarmtap-scrape") as network:
        folder = Path(name)
        folder.chmod(0o755)
        capture = folder / "lives.pcap"
        packets = live.write_lives(capture)
        (folder / "sites.yaml").write_text(sites())
        for number, with_them in enumerate((False, True) * turns):
            own = folder / str(number)
            own.mkdir()
            over, took = threading.Event(), list[float]()
            asking = threading.Thread(target=scraping, args=(network, over, took))
            with live.sensor(network, own, "-p", str(folder / "sites.yaml")) as running:
                pids = live.family(running.pid)
                before = live.cpu_s(pids)
                if with_them:
                    asking.start()
                sent, _ = live.replay(network, capture, rate, packets, rate * seconds)
                over.set()
                if with_them:
                    asking.join()
                time.sleep(1.5)
                used, found = live.cpu_s(pids) - before, running.metrics()
            lost = sent - found[live.PACKETS]
            times = f"{statistics.median(took):.0f}, {max(took):.0f}" if took else ""
            print(f"| {len(took)} | {sent:,} | {lost:,.0f} | {used:.2f} | {times} |")  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--live", action="store_true")
    parser.add_argument("--rate", type=int, default=50_000)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--turns", type=int, default=2)
    options = parser.parse_args()
    if options.live:
        beside_capture(options.rate, options.seconds, options.turns)
    else:
        encoders()


def encoders() -> None:
    policy = Policy(sites=tuple(Site(f"site{at}", ()) for at in range(99)))
    rules = dict.fromkeys((f"rule{at}" for at in range(38)), "low")
    tallies = Tallies(policy, rules, ("eth1", "eth2"), ("eve",))
    pages = Pages(tallies)
    page, _ = pages(OPENMETRICS, ())
    sizes = f"{len(page) / 1e6:.2f} MB, {len(gzip.compress(page, 3)) / 1e3:.0f} kB compressed"
    print(f"{page.count(b'swarmtap_')} lines, {sizes}")  # noqa: T201
    rows: tuple[tuple[str, Callable[[], object]], ...] = (
        ("copy, while nothing can be counted", tallies.counted),
        ("text", lambda: pages("", ())),
        ("OpenMetrics", lambda: pages(OPENMETRICS, ())),
        ("compression", lambda: gzip.compress(page, 3)),
    )
    for name, work in rows:
        print(f"{name:36} {best(work) * 1000:7.2f} ms")  # noqa: T201


if __name__ == "__main__":
    main()
