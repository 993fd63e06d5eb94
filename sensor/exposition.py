"""The metrics as Prometheus reads them, in the text format and in OpenMetrics, from what was counted so far.

prometheus_client makes an object of every sample and sorts its labels anew at every scrape: 0.2 s of the interpreter
for a hundred sites, in which no packet is looked at. Here a series' name is written once and kept; a scrape joins
names and numbers.

References
----------
https://prometheus.io/docs/instrumenting/exposition_formats/, OpenMetrics 1.0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from sensor.catalogue import CATALOGUE, Metric

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_NAMES_KEPT: Final = 1 << 17  # of series; more are written anew
_ENDS: Final = ("_bucket", "_count", "_sum")

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Exemplar:
    """The flow that a count was last raised for: its Community ID, and when that was, in s."""

    community_id: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Counted:
    """Everything that was counted up to an instant, by metric and label values.

    A histogram's numbers are one a bucket, one above the last, and the sum of what was observed.
    """

    values: Mapping[str, Mapping[Labels, float]]
    histograms: Mapping[str, Mapping[Labels, tuple[float, ...]]] = field(default_factory=dict)
    exemplars: Mapping[str, Mapping[Labels, Exemplar]] = field(default_factory=dict)


def page(counted: Counted, names: Collection[str] = (), *, openmetrics: bool) -> str:
    """Return the page without its end: families in the order of the catalogue, only those that are named if any are.

    Raises
    ------
    nothing
    """
    lines: list[str] = []
    for metric in CATALOGUE:
        if metric.buckets:
            told = _histogram(metric, counted.histograms.get(metric.name, {}), names)
        elif not names or metric.name in names:
            told = _plain(metric, counted, openmetrics=openmetrics)
        else:
            continue
        if told or not names:
            # OpenMetrics names a counter's family without the end of its samples.
            family = metric.name.removesuffix("_total") if openmetrics else metric.name
            lines += (f"# HELP {family} {metric.help}", f"# TYPE {family} {metric.kind}", *told)
    return "\n".join(lines) + "\n" if lines else ""


def _plain(metric: Metric, counted: Counted, *, openmetrics: bool) -> list[str]:
    name, labels = metric.name, metric.labels
    exemplars = counted.exemplars.get(name, {}) if openmetrics else {}
    lines = []
    for values, number in counted.values.get(name, {}).items():
        # Most are zero, and a zero need not be written anew.
        line = (
            f"{_series(name, labels, values)} {float(number)!r}" if number else f"{_series(name, labels, values)} 0.0"
        )
        exemplar = exemplars.get(values)
        if exemplar is not None:
            line += f' # {{community_id="{_escaped(exemplar.community_id)}"}} 1.0 {exemplar.at_s!r}'
        lines.append(line)
    return lines


def _histogram(metric: Metric, rows: Mapping[Labels, tuple[float, ...]], names: Collection[str]) -> list[str]:
    bucket, count, total = (not names or f"{metric.name}{end}" in names for end in _ENDS)
    edges = [*(str(edge) for edge in metric.buckets), "+Inf"]
    lines = []
    for values, numbers in rows.items():
        running = 0.0
        for edge, number in zip(edges, numbers[:-1], strict=True):
            running += number
            if bucket:
                series = _series(f"{metric.name}_bucket", (*metric.labels, "le"), (*values, edge))
                lines.append(f"{series} {running!r}")
        if count:
            lines.append(f"{_series(f'{metric.name}_count', metric.labels, values)} {running!r}")
        if total:
            lines.append(f"{_series(f'{metric.name}_sum', metric.labels, values)} {float(numbers[-1])!r}")
    return lines


@lru_cache(maxsize=_NAMES_KEPT)
def _series(name: str, labels: Labels, values: Labels) -> str:
    """Return a series' name with its labels in the order of the alphabet, as prometheus_client writes it."""
    pairs = ",".join(f'{label}="{_escaped(value)}"' for label, value in sorted(zip(labels, values, strict=True)))
    return f"{name}{{{pairs}}}" if pairs else name


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
