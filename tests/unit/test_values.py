"""Single values that an operator writes: what they say, and what is no such value."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from sensor.errors import OperatorError
from sensor.values import (
    UnreadableError,
    one_of,
    quote,
    read_expires,
    read_file,
    read_grace,
    read_name,
    read_network,
    read_size,
    read_text,
    read_timezone,
    suggest,
)

REFUSED = [
    (read_text, ["", "  ", "a\nb", "\x1b[0m", "x" * 501]),
    (read_name, ["", " a", "a ", "a/b", "a~b", 'a"b', "unknown", "x" * 65, "-", "a\n"]),
    (read_network, ["", "10", "10.1", "010.0.0.0/8", "10.0.0.0/255.0.0.0", "10.0.0.0/0.255.255.255", "10.0.0.0/-1",
                    "10.0.0.0/08x", "fe80::1%eth0", "1.2.3.4.5", "::/129", "10.0.0.0/8 ",
                    "\u0661\u0660.0.0.0/8"]),
    (read_timezone, ["", "Mars/Base", "Local", "localtime", "/etc/localtime", "../UTC", "Europe",
                     "europe/berlin", "a" * 99, "Europe/Berlin\n", "\x00"]),
    (read_size, ["", "0", "0GB", "-1", "GB", "1.5", "1.5B", "1e3", "5 EB", "1,5GB", "10GBs", "9EiB",
                 "99999999TiB", "1_000"]),
    (read_grace, ["", "5", "5s", "300s", "5min", "1.5h", "m", "-5m", "25h", "24h1m", "1m1h", "9999999999h"]),
    (read_expires, ["", "2026-13-01", "2026-12-1", "20261201", "2026-W01-1", "tomorrow", "2026-12-01T10:00",
                    "1969-12-30", "2300-01-01", "9999-12-31", "0001-01-01T00:00:00+23:00", "2026-02-29"]),
]  # fmt: skip


@pytest.mark.parametrize(("read", "text"), [(read, text) for read, texts in REFUSED for text in texts])
def test_refused_in_one_printable_sentence(read, text: str) -> None:  # noqa: ANN001
    with pytest.raises(UnreadableError) as caught:
        read(text)
    assert caught.value.read.isprintable()
    assert len(str(caught.value)) < 250
    assert str(caught.value) == f"{caught.value.read}; {caught.value.right}"


def test_networks() -> None:
    texts = ("10.1.0.0/16", "10.0.0.1", "0.0.0.0/0", "2001:DB8::/32", "::1")
    assert [str(read_network(text)) for text in texts] == [
        "10.1.0.0/16",
        "10.0.0.1/32",
        "0.0.0.0/0",
        "2001:db8::/32",
        "::1/128",
    ]
    assert str(read_network("::ffff:10.0.0.0/104")) == "10.0.0.0/8"
    assert str(read_network("::ffff:10.0.0.1")) == "10.0.0.1/32"
    assert str(read_network("::ffff:0:0/96")) == "0.0.0.0/0"
    assert str(read_network("::/8")) == "::/8"


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("10.1.2.3/16", "write 10.1.0.0/16"),
        ("2001:db8::1/32", "write 2001:db8::/32"),
        ("10.0.0.0/1", "write 0.0.0.0/1"),
    ],
)
def test_host_bits_are_told_the_right_network(text: str, right: str) -> None:
    with pytest.raises(UnreadableError, match=f'^"{text}" has host bits set; {right}$'):
        read_network(text)


def test_sizes() -> None:
    sizes = {
        "50GB": 50 * 10**9, "50 GB": 50 * 10**9, "1GiB": 2**30, "1gib": 2**30,
        "10kB": 10_000, "10KiB": 10_240, "7B": 7,
        "1.5TB": 15 * 10**11, "0.5KiB": 512, "123": 123, "2MB": 2_000_000,
        "3MiB": 3 * 2**20, "8388607TiB": 8388607 * 2**40,
    }  # fmt: skip
    assert {text: read_size(text) for text in sizes} == sizes


def test_grace() -> None:
    graces = {"0m": 0, "5m": 300, "90m": 5400, "1h": 3600, "1h30m": 5400, "24h": 86400, "1440m": 86400}
    assert {text: read_grace(text) for text in graces} == graces


def test_a_date_holds_until_its_end_and_an_instant_until_it() -> None:
    def ns(*moment: int) -> int:
        return int(datetime(*moment, tzinfo=UTC).timestamp()) * 10**9

    assert read_expires("2026-12-31") == ns(2027, 1, 1)
    assert read_expires("2026-12-01T18:00:00+01:00") == ns(2026, 12, 1, 17)
    assert read_expires("2026-12-01 18:00Z") == ns(2026, 12, 1, 18)
    assert read_expires("2026-12-01T18:00:00.000001Z") == ns(2026, 12, 1, 18) + 1000
    assert read_expires("2028-02-29") == ns(2028, 3, 1)


def test_names_and_zones() -> None:
    assert read_name("Köln 2.OG") == "Köln 2.OG"
    assert read_name("a") == "a"
    assert read_timezone("America/Argentina/Buenos_Aires") == "America/Argentina/Buenos_Aires"
    assert read_timezone("Etc/GMT+5") == "Etc/GMT+5"
    with pytest.raises(UnreadableError, match=r"did you mean Europe/Berlin\?"):
        read_timezone("europe/berlin")


def test_words() -> None:
    assert one_of(("client", "server"), "role")("server") == "server"
    with pytest.raises(UnreadableError, match=r'^unknown role "sever"; did you mean server\?$'):
        one_of(("client", "server"), "role")("sever")
    assert suggest("xyz", ["one", "two"]) == "known: one, two"
    assert suggest("xyz", []) == ""
    assert suggest("xyz", [f"word{at}" for at in range(13)]) == ""


def test_quoted_texts_are_short_and_harmless() -> None:
    assert quote('a"b') == '"a"b"'
    assert quote("a\x1b\u202e\ud800") == '"a\\x1b\\u202e\\ud800"'
    assert quote("x" * 60) == '"' + "x" * 60 + '"'
    assert quote("x" * 61) == '"' + "x" * 60 + '…"'


def test_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 1024)
    assert read_file(tmp_path / "a", 1024, "a file") == b"x" * 1024
    with pytest.raises(OperatorError, match="more than 0 MiB"):
        read_file(tmp_path / "a", 1023, "a file")
    with pytest.raises(OperatorError, match="more than 1 MiB"):
        read_file(Path("/dev/zero"), 1 << 20, "a file")
