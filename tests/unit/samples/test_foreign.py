"""Other protocols on the port, as Wireshark names them."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from sensor.samples import build
from sensor.samples.foreign import DIALOGUES, noise
from sensor.samples.frames import ORIG, RESP

if TYPE_CHECKING:
    from pathlib import Path


def said(name: str, side: int) -> bytes:
    return b"".join(data for who, data in DIALOGUES[name]() if who == side)


def test_first_bytes() -> None:
    assert said("http", ORIG).startswith(b"GET / HTTP/1.1\r\n")
    assert said("http", RESP).startswith(b"HTTP/1.1 200 OK\r\n")
    assert said("tls", ORIG)[:6] == b"\x16\x03\x01\x00\xb0\x01"
    assert said("tls", RESP)[:3] == b"\x16\x03\x03"
    assert said("ssh", ORIG).startswith(b"SSH-2.0-")
    assert said("ssh", RESP).startswith(b"SSH-2.0-")


def test_tls_records_fill_the_stream_exactly() -> None:
    for side in (ORIG, RESP):
        stream, at, kinds = said("tls", side), 0, []
        while at < len(stream):
            kinds.append(stream[at])
            at += 5 + int.from_bytes(stream[at + 3 : at + 5])
        assert at == len(stream)
        assert kinds[:2] == [22, 20]
        assert set(kinds[2:]) == {23}


def test_ssh_packets_are_multiples_of_eight() -> None:
    for _, data in DIALOGUES["ssh"]()[2:8]:
        assert len(data) % 8 == 0
        assert int.from_bytes(data[:4]) == len(data) - 4
        assert data[4] >= 4


def test_opaque_is_eight_kib_each_way_and_like_nothing_known() -> None:
    known = (
        b"\x0eSwarm",
        b"\x16\x03",
        b"SSH-",
        b"GET ",
        b"HTTP",
        b"\xffSMB",
        b"\xfeSMB",
        b"\x13Bit",
        b"\x05",
        b"\x04",
        b"\x03",
    )
    for side in (ORIG, RESP):
        data = said("opaque", side)
        assert len(data) >= 8192
        assert not data.startswith((*known, b"\0"))
        assert len(set(data)) == 256


def test_noise_has_the_size_asked_and_is_always_the_same() -> None:
    assert noise("x", 33) == noise("x", 64)[:33]
    assert noise("x", 32) != noise("y", 32)


@pytest.mark.needs("tshark")
@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("http", ["GET", "200"]),
        ("tls", ["Client Hello", "Server Hello", "Application Data"]),
        ("ssh", ["Key Exchange Init", "Elliptic Curve Diffie-Hellman Key Exchange Reply", "New Keys"]),
    ],
)
def test_wireshark_dissects_it(tmp_path: Path, name: str, kinds: list[str]) -> None:
    path = tmp_path / "capture.pcap"
    path.write_bytes(build(f"{name}-on-7680"))
    command = ["tshark", "-r", str(path), "-d", f"tcp.port==7680,{name}"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Malformed" not in text
    assert [kind for kind in kinds if kind not in text] == []
