"""The inventory: its lines, and its mistakes with their lines."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from sensor.errors import OperatorError
from sensor.inventory import read_inventory
from sensor.policy import Endpoint

if TYPE_CHECKING:
    from pathlib import Path


def read(folder: Path, data: str | bytes) -> tuple[Endpoint, ...]:
    (folder / "e.csv").write_bytes(data.encode() if isinstance(data, str) else data)
    return read_inventory(folder / "e.csv")


def mistakes(folder: Path, data: str | bytes) -> list[str]:
    with pytest.raises(OperatorError) as caught:
        read(folder, data)
    return [str(one).removeprefix(f"{folder}/") for one in caught.value.mistakes]


def test_lines(tmp_path: Path) -> None:
    lines = (
        "\ufeffaddress, name ,role,approved",
        '10.1.0.0/24,"desks, 2nd floor",client,YES',
        "",
        "2001:db8::1,m,server,0",
        "",
    )
    text = "\r\n".join(lines)
    assert read(tmp_path, text) == (
        Endpoint(ip_network("10.1.0.0/24"), "desks, 2nd floor", "client", approved=True),
        Endpoint(ip_network("2001:db8::1/128"), "m", "server", approved=False),
    )


def test_only_the_address_is_needed_and_columns_have_no_order(tmp_path: Path) -> None:
    assert read(tmp_path, "role,address\ninfrastructure,10.0.0.1\n,10.0.0.2\n") == (
        Endpoint(ip_network("10.0.0.1/32"), "", "infrastructure", approved=True),
        Endpoint(ip_network("10.0.0.2/32"), "", "client", approved=True),
    )


def test_every_line_with_a_mistake_is_told(tmp_path: Path) -> None:
    lines = (
        "address,name,role,approved",
        "10.1.2.3/16,a,client,yes",
        '10.0.0.1,"b',
        'c",client,yes',
        "10.0.0.2,d,client",
        "10.0.0.3,e,clinet,yes",
        "10.0.0.4,f,client,maybe",
        "10.0.0.5,g,client,yes",
        "::ffff:10.0.0.5,h,client,yes",
        ",i,,",
    )
    text = "\n".join(lines)
    assert mistakes(tmp_path, text) == [
        'e.csv:2: "10.1.2.3/16" has host bits set; write 10.1.0.0/16',
        'e.csv:4: "b\\nc" is not a short line; write up to 500 visible characters',
        "e.csv:5: 3 fields; write 4: address,name,role,approved",
        'e.csv:6: unknown role "clinet"; did you mean client?',
        'e.csv:7: unknown approval "maybe"; known: true, yes, 1, false, no, 0',
        "e.csv:9: 10.0.0.5/32 is already in line 8; say it once",
        'e.csv:10: "" is not a prefix; write 10.1.0.0/16 or 2001:db8::/32',
    ]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("", 'e.csv:1: the columns ""; the first line is address,name,role,approved'),
        ("10.0.0.1,desk\n", 'e.csv:1: unknown column "10.0.0.1"; known: address, name, role, approved'),
        ("adress,name\n", 'e.csv:1: unknown column "adress"; did you mean address?'),
        ("name,role\n", 'e.csv:1: the columns "name,role"; the first line is address,name,role,approved'),
        ("address,address\n", 'e.csv:1: the columns "address,address"; the first line is address,name,role,approved'),
        ('address\n"10.0.0.1\n', "e.csv:2: not CSV: unexpected end of data; close the quotes"),
        (b"address\n\xff\n", "e.csv:2: a byte that is not UTF-8; save the file as UTF-8"),
    ],
)
def test_what_is_no_inventory(tmp_path: Path, data: str | bytes, told: str) -> None:
    assert mistakes(tmp_path, data)[0] == told


def test_a_file_full_of_mistakes_ends(tmp_path: Path) -> None:
    assert len(mistakes(tmp_path, "address\n" + "nowhere\n" * 5000)) == 1000


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"none\.csv: cannot be read: no such file or directory"):
        read_inventory(tmp_path / "none.csv")
