"""Captures for tests: the public ones beside the checkout, the samples in it, and records cut out with struct."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import struct
from pathlib import Path

import pyarrow as pa
import pytest

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "pcaps"
PUBLIC = ROOT.parent / "shared" / "captures"
COMPRESSIONS = ("gz", "bz2", "xz", "zst", "lz4")
# Samples with nothing on the watched port: their tests ask for any port.
ELSEWHERE = frozenset({"other-port.pcap"})


def public(folder: str) -> Path:
    """Return a folder of public captures; without it a test is skipped on a laptop and fails in CI."""
    path = PUBLIC / folder
    if not path.is_dir():
        reason = f"the public captures are not beside the checkout ({path})"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return path


def records_of(data: bytes) -> list[tuple[int, bytes, int]]:
    """Return (time in ns, captured bytes, true length) of each record of a classic pcap."""
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    unit = 1000 if struct.unpack_from(order + "I", data)[0] == 0xA1B2C3D4 else 1
    found, at = [], 24
    while at + 16 <= len(data):
        seconds, part, size, wire = struct.unpack_from(order + "IIII", data, at)
        found.append((seconds * 1_000_000_000 + part * unit, data[at + 16 : at + 16 + size], wire))
        at += 16 + size
    return found


def compressed(data: bytes, kind: str) -> bytes:
    """Compress with one of COMPRESSIONS; always to the same bytes."""
    if kind == "gz":
        return gzip.compress(data, mtime=0)
    if kind == "bz2":
        return bz2.compress(data)
    if kind == "xz":
        return lzma.compress(data)
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, {"zst": "zstd", "lz4": "lz4"}[kind]) as stream:
        stream.write(data)
    return bytes(out.getvalue().to_pybytes())


def in_five_formats(raw: bytes, folder: Path, parts: int) -> None:
    """Cut a classic pcap into so many files of five formats, in the order of time, but with names in any order."""
    edges = [24]
    while edges[-1] < len(raw):
        edges.append(edges[-1] + 16 + int(struct.unpack_from("<I", raw, edges[-1] + 8)[0]))
    names = list(range(parts))
    random.Random(7).shuffle(names)  # noqa: S311 - an order, not a secret
    folder.mkdir()
    for at, name in enumerate(names):
        first, last = (edges[part * (len(edges) - 1) // parts] for part in (at, at + 1))
        kind = COMPRESSIONS[at % len(COMPRESSIONS)]
        (folder / f"{name:03}.pcap.{kind}").write_bytes(compressed(raw[:24] + raw[first:last], kind))


def like_anybody() -> list[str]:
    """Return what makes a command obey the permissions of files, which root's else does not."""
    dropped = "-dac_override,-dac_read_search"
    return ["setpriv", f"--bounding-set={dropped}", f"--inh-caps={dropped}"] if os.geteuid() == 0 else []
