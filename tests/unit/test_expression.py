"""Filter expressions: libpcap's language, tcpdump's choice, and mistakes with a column."""

from __future__ import annotations

import pickle
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sensor.errors import OperatorError
from sensor.expression import Expression
from sensor.schema import Batch
from sensor.sources.files import Reader
from tests.captures import SAMPLES
from tests.streams import batch_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.needs("tcpdump")
WEEK = SAMPLES / "office-week.pcap"


def chosen(path: Path, expression: Expression) -> list[int]:
    with Reader(path, 0) as reader:
        return [int(number) for batch in reader.batches() for number in expression(batch)["number"]]


@pytest.mark.parametrize(
    "text",
    [
        "tcp port 7680",
        "",
        "host 10.1.20.99 and not dst port 7680",
        "vlan and net 10.9.0.0/24",
        "vlan and (net 10.9.0.0/24 or src net 10.1.0.0/16) and tcp[tcpflags] & tcp-syn != 0",
        "len > 500",
        "greater 100 and vlan and ip[8] < 65",
        "udp",
        "ether[0] & 1 = 0 and vlan and ip[2:2] > 1000",
        "vlan and tcp[((tcp[12:1] & 0xf0) >> 2):4] != 0",
    ],
)
def test_chooses_as_tcpdump(text: str, tmp_path: Path) -> None:
    out = tmp_path / "out.pcap"
    subprocess.run(
        ["tcpdump", "--time-stamp-precision=nano", "-r", WEEK, "-w", out, text], check=True, capture_output=True
    )
    with Reader(WEEK, 0) as reader:
        every = {int(f["number"]): (int(f["ts_ns"]), int(f["wire_bytes"])) for b in reader.batches() for f in b.frames}
    found = [every[number] for number in chosen(WEEK, Expression(text))]
    if out.stat().st_size <= 24:
        assert found == []
        return
    with Reader(out, 0) as reader:
        wanted = [(int(f["ts_ns"]), int(f["wire_bytes"])) for batch in reader.batches() for f in batch.frames]
    assert found == wanted


@pytest.mark.parametrize(
    ("text", "where", "read"),
    [
        ("tcp prot 7680", "--filter:5", '"prot" cannot stand there'),
        ("tcp and (port 7680", "--filter:19", "ends too early"),
        ("tcp and port banana", "--filter:14", "unknown port"),
        ("host 10.1.2.999", "--filter:6", '"10.1.2.999"'),
        ("tcp[13 & 2", "--filter:11", "ends too early"),
        ("(tcp or udp) and foo bar", "--filter:18", '"foo"'),
        ("tcp\nport", "--filter", "do not print"),
        ("tcp or " * 10_000, "--filter", "longer than"),
    ],
)
def test_mistake_has_a_column(text: str, where: str, read: str) -> None:
    with pytest.raises(OperatorError) as error:
        Expression(text)
    (mistake,) = error.value.mistakes
    assert mistake.where == where
    assert read in mistake.read


def test_without_a_meaning_for_a_link_type() -> None:
    expression = Expression("ether host 02:00:00:00:00:01")
    with pytest.raises(OperatorError, match="no meaning for frames of link type 101"):
        expression(batch_of([(0, b"\x45" + bytes(39))], 101))


def test_link_types_in_one_batch() -> None:
    one, two = batch_of([(0, bytes(12) + b"\x08\x00\x45" + bytes(39))], 1), batch_of([(1, b"\x45" + bytes(39))], 101)
    frames = np.concatenate([one.frames, two.frames])
    frames["at"][1] += len(one.data)
    both = Batch(frames, np.concatenate([one.data, two.data]))
    assert Expression("ip")(both)["ts_ns"].tolist() == [0, 1]
    assert Expression("ip6")(both)["ts_ns"].tolist() == []


def test_a_worker_gets_the_same() -> None:
    expression = pickle.loads(pickle.dumps(Expression("vlan and tcp port 7680")))  # noqa: S301 - our own
    assert len(chosen(WEEK, expression)) == len(chosen(WEEK, Expression("vlan and tcp port 7680"))) > 0
