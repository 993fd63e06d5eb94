"""Announcements of Local Peer Discovery: an inventory with its timeline; messages written with struct from the RFCs."""

from __future__ import annotations

import base64
import random
import struct
from ipaddress import ip_address

import pytest

from sensor.mdns import InventoryOptions, Offers
from sensor.swarms import Ledger
from tests.builders import ethernet, ipv4, ipv6, vlan
from tests.streams import NOON, SECOND, batch_of

SERVICE = b"\x06_dosvc\x04_tcp\x05local\x00"
GROUP4, GROUP6 = "224.0.0.251", "ff02::fb"


def name(text: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".")) + b"\0"


def record(owner: bytes, kind: int, data: bytes, ttl: int) -> bytes:
    return owner + struct.pack(">HHIH", kind, 0x8001, ttl, len(data)) + data


def response(*records: bytes, questions: int = 0, flags: int = 0x8400) -> bytes:
    return struct.pack(">6H", 0, flags, questions, len(records), 0, 0) + b"".join(records)


def prefix(number: int) -> bytes:
    return number.to_bytes(12, "big")


def txt(contents: list[int]) -> bytes:
    strings = [b"P=65280"]
    strings += [f"SH{at:02X}=".encode() + base64.b64encode(prefix(c)) for at, c in enumerate(contents)]
    return b"".join(bytes([len(s)]) + s for s in strings)


def announcement(host: str, contents: list[int], *, ip: str = "", ip6: str = "", ttl: int = 4500) -> bytes:
    instance = name(host)[:-1] + b"\xc0\x0c"  # a pointer to the first record's own name
    records = [
        record(SERVICE, 12, name(f"{host}._dosvc._tcp.local"), ttl),
        record(instance, 33, struct.pack(">HHH", 0, 0, 7680) + name(f"{host}.local"), min(ttl, 120)),
        record(instance, 16, txt(contents), ttl),
    ]
    records += [record(name(f"{host}.local"), 1, ip_address(ip).packed, 60)] if ip else []
    records += [record(name(f"{host}.local"), 28, ip_address(ip6).packed, 60)] if ip6 else []
    return response(*records)


def datagram(src: str, payload: bytes, *, tags: int = 0, port: int = 5353) -> bytes:
    udp = struct.pack(">HHHH", port, port, 8 + len(payload), 0) + payload
    six = ":" in src
    packet = ipv6(src, GROUP6, udp, next_header=17) if six else ipv4(src, GROUP4, udp, proto=17)
    return ethernet(packet, vlans=tuple(vlan(10 + at) for at in range(tags)))


def inventory(*frames: tuple[int, bytes], options: InventoryOptions | None = None) -> Offers:
    offers = Offers(options)
    offers.push(batch_of([(NOON + at_s * SECOND, data) for at_s, data in frames]))
    return offers


def told(offers: Offers) -> list[tuple[str, int, int, int]]:
    """Return (host, content, since, until) in seconds after noon."""
    return [(r[0], int(r[3], 16), (r[4] - NOON) // SECOND, (r[5] - NOON) // SECOND) for r in offers.rows()]


# --- the timeline ---
def test_two_hosts_sixty_hashes_goodbye_and_again() -> None:
    many = list(range(1, 61))
    offers = inventory(
        (0, datagram("10.1.0.1", announcement("ANNA", many, ip="10.1.0.1"))),
        (10, datagram("10.1.0.2", announcement("BERT", [7], ip="10.1.0.2"))),
        (100, datagram("10.1.0.1", announcement("ANNA", many, ttl=0))),  # goodbye
        (101, datagram("10.1.0.1", announcement("ANNA", [1, 2, 99], ip="10.1.0.1"))),
        (200, datagram("10.1.0.2", announcement("BERT", [7], ip="10.1.0.2"))),  # refreshed
        (300, datagram("10.1.0.1", announcement("ANNA", [2, 99], ip="10.1.0.1"))),  # 1 is dropped without a goodbye
    )
    expected = [("ANNA", content, 0, 100) for content in many] + [("BERT", 7, 10, 4700)]
    expected += [("ANNA", 1, 101, 300), ("ANNA", 2, 101, 4800), ("ANNA", 99, 101, 4800)]
    assert told(offers) == expected
    assert {(r[0], r[1], r[2]) for r in offers.rows()} == {("ANNA", "10.1.0.1", 7680), ("BERT", "10.1.0.2", 7680)}
    assert (offers.announcements, offers.damaged, offers.evicted) == (6, 0, 0)


def test_an_announcement_that_ran_out_begins_anew() -> None:
    offers = inventory(
        (0, datagram("10.1.0.1", announcement("ANNA", [1]))), (5000, datagram("10.1.0.1", announcement("ANNA", [1])))
    )
    assert told(offers) == [("ANNA", 1, 0, 4500), ("ANNA", 1, 5000, 9500)]


def test_both_families_are_one_host() -> None:
    both = announcement("ANNA", [1], ip="10.1.0.1", ip6="fe80::1")
    offers = inventory((0, datagram("10.1.0.1", both)), (1, datagram("fe80::1", both)))
    assert told(offers) == [("ANNA", 1, 0, 4501)]
    assert offers.rows()[0][1] == "10.1.0.1,fe80::1"
    assert offers.labels() == {
        "10.1.0.1": ("ANNA", NOON, NOON + SECOND),
        "fe80::1": ("ANNA", NOON, NOON + SECOND),
    }


def test_an_address_that_changed_hands_has_both_names() -> None:
    offers = inventory(
        (0, datagram("10.1.0.1", announcement("ANNA", [1], ip="10.1.0.1"))),
        (9, datagram("10.1.0.1", announcement("ANNA", [1], ip="10.1.0.1"))),
        (60, datagram("10.1.0.1", announcement("BERT", [2], ip="10.1.0.1"))),
    )
    assert offers.names() == [
        ("10.1.0.1", "ANNA", NOON, NOON + 9 * SECOND),
        ("10.1.0.1", "BERT", NOON + 60 * SECOND, NOON + 60 * SECOND),
    ]
    assert offers.labels() == {"10.1.0.1": ("BERT", NOON + 60 * SECOND, NOON + 60 * SECOND)}


@pytest.mark.parametrize("tags", [0, 1, 2])
def test_tags_do_not_hide_it(tags: int) -> None:
    assert len(told(inventory((0, datagram("10.1.0.1", announcement("ANNA", [1]), tags=tags))))) == 1


def test_an_offer_joins_the_swarm_on_the_wire() -> None:
    ledger = Ledger(["unknown"])
    swarm = prefix(2).hex() + "ab" * 20
    ledger._swarm(swarm)
    offers = inventory((0, datagram("10.1.0.1", announcement("ANNA", [1, 2]))))
    frame = ledger.offers(offers.rows())
    assert frame[["content_prefix", "swarm_hash"]].to_numpy().tolist() == [
        [prefix(1).hex(), ""],
        [prefix(2).hex(), swarm],
    ]


def test_the_hashes_of_a_public_capture() -> None:
    # As announced by the hosts of two-pcs.pcap; the swarms are the two that shake hands there.
    strings = [b"P=65280", b"SH00=LgQFzDhrrEjNVEv/", b"SH01=rWp76dczq/8MhjL4"]
    text = b"".join(bytes([len(s)]) + s for s in strings)
    offers = Offers()
    offers.hear(response(record(name("DESKTOP-1")[:-1] + SERVICE, 16, text, 4500)), "192.168.93.101", NOON)
    assert [r[3] for r in offers.rows()] == ["2e0405cc386bac48cd544bff", "ad6a7be9d733abff0c8632f8"]


# --- what is not an announcement ---
@pytest.mark.parametrize(
    "payload",
    [
        response(record(SERVICE, 12, b"\x04ANNA\xc0\x0c", 4500), flags=0),  # a query, with what its sender knows
        response(record(name("_http._tcp.local"), 16, txt([1]), 4500)),
        response(record(name("x._other._tcp.local"), 16, txt([1]), 4500)),
        b"",
        b"\0" * 11,
    ],
)
def test_others_are_passed_over(payload: bytes) -> None:
    offers = inventory((0, datagram("10.1.0.1", payload)))
    assert (offers.rows(), offers.announcements, offers.damaged) == ([], 0, 0)


@pytest.mark.parametrize("value", [b"SH00=????", b"SH00=AAAA", b"SH0=LgQFzDhrrEjNVEv/", b"XH00=LgQFzDhrrEjNVEv/", b""])
def test_what_is_not_twelve_bytes_is_no_content(value: bytes) -> None:
    offers = Offers()
    offers.hear(response(record(b"\1A" + SERVICE, 16, bytes([len(value)]) + value, 60)), "10.1.0.1", NOON)
    assert offers.rows() == []


def test_another_port_is_not_looked_at() -> None:
    assert inventory((0, datagram("10.1.0.1", announcement("ANNA", [1]), port=5354))).rows() == []


@pytest.mark.parametrize("where", ["loop", "outside", "short"])
def test_names_that_cannot_be_read_are_counted(where: str) -> None:
    message = {
        "loop": response(record(b"\xc0\x0c", 16, SERVICE, 1)),
        "outside": response(record(b"\xff\xff", 16, SERVICE, 1)),
        "short": announcement("ANNA", [1])[:-5],
    }[where]
    offers = Offers()
    offers.hear(message, "10.1.0.1", NOON)
    assert offers.damaged == 1


def test_any_bytes_are_survived() -> None:
    chance = random.Random(5353)  # noqa: S311 - the same in every run
    offers = Offers()
    good = announcement("ANNA", list(range(20)), ip="10.1.0.1")
    for _ in range(3000):
        made = bytearray(good[: chance.randrange(1, len(good) + 1)])
        for _ in range(chance.randrange(6)):
            made[chance.randrange(len(made))] = chance.randrange(256)
        offers.hear(bytes(made), "10.1.0.1", NOON)
    assert offers.damaged > 0


# --- bounds ---
def test_the_host_that_was_silent_longest_is_forgotten() -> None:
    frames = [(at, datagram("10.1.0.1", announcement(host, [1]))) for at, host in enumerate(["A", "B", "C"])]
    offers = inventory(*frames, options=InventoryOptions(hosts=2))
    assert [row[0] for row in told(offers)] == ["B", "C"]
    assert offers.evicted == 1


def test_a_host_offers_no_more_than_is_kept() -> None:
    offers = inventory(
        (0, datagram("10.1.0.1", announcement("A", [1, 2, 3, 4]))), options=InventoryOptions(offers_of_host=3)
    )
    assert len(offers.rows()) == 3
    assert offers.evicted == 1


def test_more_datagrams_than_fit_at_once() -> None:
    frames = [(at, datagram("10.1.0.1", announcement(f"H{at}", [1]))) for at in range(2500)]
    assert len(inventory(*frames).rows()) == 2500


def test_a_flood_is_read_in_part() -> None:
    frames = [(NOON + at, datagram("10.1.0.1", announcement(f"H{at}", [at]))) for at in range(50)]
    offers = Offers(InventoryOptions(per_s=20))
    offers.push(batch_of(frames))
    offers.push(batch_of([(NOON + SECOND, datagram("10.1.0.1", announcement("LATER", [1])))]))
    assert (offers.announcements, offers.unread) == (21, 30)


def test_addresses_of_a_host_are_bounded() -> None:
    offers = Offers(InventoryOptions(addresses_of_host=3))
    for at in range(10):
        offers.hear(announcement("ANNA", [1]), f"10.1.0.{at}", NOON + at)
    assert sorted(row[0] for row in offers.names()) == ["10.1.0.7", "10.1.0.8", "10.1.0.9"]
    assert offers.evicted == 7


def test_the_names_heard_last_come_when_not_all_are_wanted() -> None:
    offers = Offers()
    for at in range(10):
        offers.hear(announcement(f"H{at}", [1]), f"10.1.0.{at}", NOON + at)
    offers.hear(announcement("H0", [1]), "10.1.0.0", NOON + 20)
    assert set(offers.labels(2)) == {"10.1.0.0", "10.1.0.9"}
