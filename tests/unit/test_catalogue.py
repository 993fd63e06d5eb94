"""The manual is the catalogue, and the catalogue keeps Prometheus' rules."""

from __future__ import annotations

from pathlib import Path

from sensor import catalogue

_OFFENDERS = "swarmtap_offender_payload_bytes"
MANUAL = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_manual_is_made_of_the_catalogue() -> None:
    assert MANUAL.read_text(encoding="utf-8") == catalogue.manual(), (
        "write it anew: python -c 'from sensor import catalogue; print(catalogue.manual(), end=\"\")' > docs/metrics.md"
    )


def test_names_carry_prefix_and_unit() -> None:
    names = [each.name for each in catalogue.CATALOGUE]
    assert len(set(names)) == len(names)
    for each in catalogue.CATALOGUE:
        assert each.name.startswith("swarmtap_")
        assert each.name.endswith("_total") == (each.kind == "counter")
        assert bool(each.buckets) == (each.kind == "histogram")
        assert each.help.endswith(".")


def test_labels_are_described_used_and_never_an_endpoint() -> None:
    used = {label for each in catalogue.CATALOGUE for label in each.labels}
    assert used == set(catalogue.LABELS)
    reserved = {"job", "instance", "region", "zone", "cluster", "env", "type", "le", "quantile"}
    # One metric names hosts, if it is asked to, and only the largest.
    used = {label for each in catalogue.CATALOGUE for label in each.labels if each.name != _OFFENDERS}
    endpoints = {"taker", "ip", "address", "port", "mac", "peer", "host", "hostname", "swarm", "swarm_hash", "file"}
    assert not used & (reserved | endpoints)


def test_series_of_a_small_sensor() -> None:
    per_site = [25, 50, 2, 2, 2, 1, 1, 2, 5, 13, 12, 3, 11, 10, 1, 2, 5, 1, 1, 1, 2, 1]  # last: the pair with itself
    alone = [10, 3, 3, 1, 2, 1, 1, 1]  # oddities, health, flow table, clock, reloads (three families), build
    assert catalogue.series(1, 0, 0, 0) == sum(per_site) + sum(alone) + catalogue.MOST_OFFENDERS + 1
    assert catalogue.series(1, 0, 1, 0) - catalogue.series(1, 0, 0, 0) == 10
    assert catalogue.series(1, 0, 0, 1) - catalogue.series(1, 0, 0, 0) == 4
    assert catalogue.series(2, 3, 0, 0) - catalogue.series(2, 0, 0, 0) == 6


def test_series_of_pairs_are_bounded() -> None:
    per_site = catalogue.series(2, 0, 0, 0) - catalogue.series(1, 0, 0, 0) - 3  # 2² - 1² pairs
    pairs = {sites: catalogue.series(sites, 0, 0, 0) - sites * per_site for sites in (1, 32, 33, 100)}
    assert pairs[32] - pairs[1] == 32**2 - 1
    assert pairs[33] == pairs[100] == pairs[32] + 1
