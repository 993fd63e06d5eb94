"""What a scrape of a hundred sites costs: `python -m tests.bench.scrape`, CPU seconds, the best of many."""

from __future__ import annotations

import gzip
import time
from typing import TYPE_CHECKING

from sensor.policy import Policy, Site
from sensor.sinks.metrics import Pages, Tallies

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


def main() -> None:
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
