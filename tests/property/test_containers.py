"""One capture in every container and compression, cut into a few files or many, gives the identical case."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tests.builders import pcap, pcapng
from tests.captures import COMPRESSIONS, compressed
from tests.property.test_split import TRUTH, WHOLE, analyze, told

if TYPE_CHECKING:
    from collections.abc import Callable

CONTAINERS: dict[str, Callable[[list[Any]], bytes]] = {
    "pcap": lambda records: pcap(records, nanos=True),
    "pcap, big-endian": lambda records: pcap(records, nanos=True, big_endian=True),
    "pcapng": lambda records: pcapng(records, nanos=True),
    "pcapng, big-endian": lambda records: pcapng(records, nanos=True, big_endian=True),
}
PACKINGS = [(container, kind) for container in CONTAINERS for kind in ("", *COMPRESSIONS)]


def packed(records: list[Any], container: str, kind: str) -> bytes:
    data = CONTAINERS[container](records)
    return compressed(data, kind) if kind else data


@pytest.mark.parametrize("files", [2, 7, 50])
def test_cut_into_files(files: int) -> None:
    edges = [len(WHOLE) * at // files for at in range(files + 1)]
    parts = [WHOLE[start:end] for start, end in pairwise(edges)]
    # Each file is packed in another way; with fifty, every way has come twice.
    named = [(f"{at:02}", packed(part, *PACKINGS[at * 7 % len(PACKINGS)])) for at, part in enumerate(parts)]
    assert told(analyze(named)) == TRUTH


@pytest.mark.parametrize(("container", "kind"), PACKINGS)
def test_whole(container: str, kind: str) -> None:
    assert told(analyze([("one", packed(WHOLE, container, kind))])) == TRUTH
