"""A page is what prometheus_client would write, but for how a large number is spelt, and is written in one pass."""

from __future__ import annotations

import random
import sys

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as TheirExemplar

from sensor import exposition
from sensor.catalogue import CATALOGUE
from sensor.exposition import Counted, Exemplar

ODD = ("hq", 'say "hq"', "back\\slash", "two\nlines", "größe", "")


def made(rows: int = 6) -> Counted:
    """Return numbers of every metric, with labels that need care."""
    rng = random.Random(7680)  # noqa: S311 - the same every time
    plain: dict[str, dict[tuple[str, ...], float]] = {}
    histograms: dict[str, dict[tuple[str, ...], tuple[float, ...]]] = {}
    for metric in CATALOGUE:
        keys = [tuple(rng.choice(ODD) + str(at) for _ in metric.labels) for at in range(rows if metric.labels else 1)]
        if metric.buckets:
            histograms[metric.name] = {
                key: (*(rng.randrange(9) for _ in range(len(metric.buckets) + 1)), 1.5) for key in keys
            }
        else:
            plain[metric.name] = {key: rng.choice([0, 1, 2.5, 123456, 0.001]) for key in keys}
    found = plain["swarmtap_findings_total"]
    exemplars = {key: Exemplar("1:beV1u+LD013n0TD913ZJfaMWp+Y=", 1773144000.5) for key in list(found)[:2]}
    return Counted(plain, histograms, {"swarmtap_findings_total": exemplars})


class Theirs(Collector):
    """The same numbers as the library's own families."""

    def __init__(self, counted: Counted) -> None:
        self.counted = counted

    def collect(self) -> list[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]:
        families: list[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily] = []
        for metric in CATALOGUE:
            if metric.buckets:
                histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
                for labels, numbers in self.counted.histograms[metric.name].items():
                    edges = [*(str(edge) for edge in metric.buckets), "+Inf"]
                    running = [sum(numbers[: at + 1]) for at in range(len(edges))]
                    histogram.add_metric(labels, list(zip(edges, running, strict=True)), numbers[-1])
                families.append(histogram)
                continue
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = kind(metric.name, metric.help, labels=metric.labels)
            exemplars = self.counted.exemplars.get(metric.name, {})
            for labels, value in self.counted.values[metric.name].items():
                family.add_metric(labels, value)
                if labels in exemplars:
                    ours = exemplars[labels]
                    theirs = TheirExemplar({"community_id": ours.community_id}, 1.0, ours.at_s)
                    family.samples[-1] = family.samples[-1]._replace(exemplar=theirs)
            families.append(family)
        return families


def test_the_page_is_the_librarys_to_the_byte() -> None:
    counted = made()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Theirs(counted))
    assert exposition.page(counted, openmetrics=False) == generate_latest(registry).decode()
    assert exposition.page(counted, openmetrics=True) + "# EOF\n" == generate_openmetrics(registry).decode()


def test_names_choose_single_series_as_the_library_does() -> None:
    page = exposition.page(made(), ("swarmtap_flow_size_bytes_sum", "swarmtap_capture_up"), openmetrics=False)
    told = {line.partition("{")[0] for line in page.splitlines() if not line.startswith("#")}
    assert told == {"swarmtap_flow_size_bytes_sum", "swarmtap_capture_up"}
    assert exposition.page(made(), ("process_open_fds",), openmetrics=False) == ""


def test_a_second_page_writes_no_name_anew() -> None:
    """What a scrape costs is calls: a handful a series, whatever its labels."""
    counted = made(rows=50)
    exposition.page(counted, openmetrics=True)
    calls = 0

    def count(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        page = exposition.page(counted, openmetrics=True)
    finally:
        sys.setprofile(None)
    assert calls < 6 * page.count("\n")
