"""Every odd capture of public test suites: frames, TCP packets and what each side of each flow sent are tshark's.

Where they are not, `docs/links.md` has a row that says by how much and why; it stays short.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from sensor.decode import Decoder
from sensor.dissect import slow_lane
from sensor.errors import OperatorError
from sensor.sources.files import Reader
from tests.captures import PUBLIC, public
from tests.differential import tshark
from tests.differential.test_tshark import as_seen

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "links.md"
HEADING: Final = "## Where tshark says otherwise"
ROWS_MAX: Final = 9

pytestmark = [pytest.mark.needs("tshark"), pytest.mark.needs("tcpdump")]

Sent = dict[tuple[str, int, str, int], tuple[int, int, int]]


def names() -> list[str]:
    folder = PUBLIC / "formats"
    return sorted(p.name for p in folder.iterdir() if p.name != "README.md") if folder.is_dir() else []


def deviations() -> dict[str, str]:
    """Return what the page says of each file that deviates."""
    told = PAGE.read_text(encoding="utf-8").partition(HEADING)[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|$", told, flags=re.MULTILINE)
    assert all(reason.strip() for _, _, reason in rows)
    return {name: what.strip() for name, what, _ in rows}


def ours(path: Path) -> tuple[int, list[tshark.Seen]]:
    """Return how many frames we read of a capture, and all TCP packets among them, without their times.

    tshark wraps times that no clock can have had; the other tests here compare the times of every sane capture.
    """
    decoder, frames, packets = Decoder(0, slow_lane), 0, []
    try:
        with Reader(path, 0) as reader:
            for batch in reader.batches():
                frames += len(batch.frames)
                packets += as_seen(decoder.push(batch))
    except OperatorError:
        return 0, []
    return frames, timeless(packets)


def timeless(packets: Iterable[tshark.Seen]) -> list[tshark.Seen]:
    return [packet._replace(ts_ns=0) for packet in packets]


def sent(packets: Iterable[tshark.Seen]) -> Sent:
    """Return packets, IP bytes and payload of each side of each flow."""
    found: Sent = defaultdict(lambda: (0, 0, 0))
    for packet in packets:
        side = (packet.src, packet.src_port, packet.dst, packet.dst_port)
        was = found[side]
        found[side] = (was[0] + 1, was[1] + packet.ip_bytes, was[2] + packet.payload_bytes)
    return dict(found)


def difference(here: tuple[int, list[tshark.Seen]], told: tshark.Told) -> str:
    """Return in words how far the two are apart; nothing if they agree in every column of every packet."""
    wanted = timeless(told.packets)
    if here == (told.frames, wanted):
        return ""
    totals = zip(
        ("frames", "packets", "IP bytes", "payload"),
        (here[0], *map(sum, zip(*sent(here[1]).values(), strict=True)), 0, 0, 0),
        (told.frames, *map(sum, zip(*sent(wanted).values(), strict=True)), 0, 0, 0),
        strict=False,
    )
    apart = [f"{what} {one} for {other}" for what, one, other in totals if one != other]
    return ", ".join(apart) or "other columns"


def test_the_odd_captures_are_there() -> None:
    public("formats")
    assert len(names()) == 330


def test_few_deviate() -> None:
    assert 0 < len(deviations()) <= ROWS_MAX
    assert set(deviations()) <= set(names()) or not names()


@pytest.mark.parametrize("name", names())
def test_as_tshark(name: str, pytestconfig: pytest.Config) -> None:
    path = PUBLIC / "formats" / name
    told = tshark.read_all(path, pytestconfig.cache.mkdir("tshark"))
    here = ours(path)
    if not told.reads_link_type:
        assert (here[0], len(here[1])) == tshark.tcpdump(path)
        return
    assert difference(here, told) == deviations().get(name, "")
    if not deviations().get(name):
        assert sent(here[1]) == sent(told.packets)


def test_a_difference_is_seen() -> None:
    """Two equal blindnesses would agree, too."""
    path = public("formats") / "zeek__testing_btest_Traces_snap-tcp.pcap"
    frames, packets = ours(path)
    assert frames > 0
    assert packets
    told = tshark.Told(frames, packets, [], reads_link_type=True)
    assert not difference((frames, packets), told)
    assert difference((frames + 1, packets), told) == f"frames {frames + 1} for {frames}"
    more = [*packets[:-1], packets[-1]._replace(payload_bytes=packets[-1].payload_bytes + 3)]
    assert "payload" in difference((frames, more), told)
    assert difference((frames, [packets[0]._replace(ttl=1), *packets[1:]]), told) == "other columns"
