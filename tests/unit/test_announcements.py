"""The mDNS messages of a batch: those that may speak of the service, with time, frame and sender."""

from __future__ import annotations

import struct

from sensor.announcements import Announced, announced
from tests.builders import ethernet, ipv4, ipv6
from tests.streams import batch_of

SPEAKS = bytes(12) + b"\x06_DOsvc\x04_tcp"


def frame(message: bytes, port: int = 5353, *, six: bool = False) -> bytes:
    datagram = struct.pack(">HHHH", port, port, 8 + len(message), 0) + message
    if six:
        return ethernet(ipv6("fe80::1", "ff02::fb", datagram, next_header=17))
    return ethernet(ipv4("10.1.0.1", "224.0.0.251", datagram, proto=17))


def test_only_what_may_speak_of_the_service() -> None:
    batch = batch_of([(5, frame(SPEAKS)), (6, frame(bytes(40))), (7, frame(SPEAKS, 53)), (8, frame(SPEAKS, six=True))])
    first, second = announced(batch)
    assert first == Announced(5, int(batch.frames["number"][0]), "10.1.0.1", SPEAKS)
    assert second == Announced(8, int(batch.frames["number"][3]), "fe80::1", SPEAKS)


def test_more_than_fit_at_once() -> None:
    batch = batch_of([(at, frame(SPEAKS)) for at in range(2500)])
    assert [each.ts_ns for each in announced(batch)] == list(range(2500))
