"""The inventory: a CSV file of addresses and prefixes, who they are, and whether they are approved."""

from __future__ import annotations

import csv
from io import StringIO
from typing import TYPE_CHECKING, Final, cast

from sensor.errors import Mistake, OperatorError
from sensor.policy import Endpoint
from sensor.values import MISTAKES_SHOWN, UnreadableError, one_of, quote, read_file, read_network, read_text, suggest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sensor.policy import Network, Role

_INVENTORY_BYTES: Final = 64 << 20
_INVENTORY: Final = ("address", "name", "role", "approved")
_ROLES: Final = ("client", "server", "infrastructure", "vpn", "unused")
_YES_NO: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def read_inventory(path: Path) -> tuple[Endpoint, ...]:
    """Read the inventory: a header, then one address or prefix per line."""
    data = read_file(path, _INVENTORY_BYTES, "an inventory, " + ",".join(_INVENTORY))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as bad:
        line = data[: bad.start].count(b"\n") + 1
        raise OperatorError(Mistake(f"{path}:{line}", "a byte that is not UTF-8", "save the file as UTF-8")) from None
    found: dict[Network, tuple[int, Endpoint]] = {}
    rows = csv.reader(StringIO(text, newline=""), strict=True)
    mistakes: list[Mistake] = []

    def wrong(read: str, right: str) -> None:
        mistakes.append(Mistake(f"{path}:{rows.line_num}", read, right))

    try:
        header = [cell.strip() for cell in next(rows, [])]
        mistakes += _read_header(path, header)
        for row in rows if not mistakes else ():
            if len(mistakes) >= MISTAKES_SHOWN:
                break
            if not any(cell.strip() for cell in row):
                continue
            try:
                endpoint = _read_endpoint(header, row)
            except UnreadableError as bad:
                wrong(bad.read, bad.right)
                continue
            first, _ = found.setdefault(endpoint.network, (rows.line_num, endpoint))
            if first != rows.line_num:
                wrong(f"{endpoint.network} is already in line {first}", "say it once")
    except csv.Error as bad:
        wrong(f"not CSV: {bad}", "close the quotes")
    if mistakes:
        raise OperatorError(*mistakes)
    return tuple(endpoint for _, endpoint in found.values())


def _read_header(path: Path, header: Sequence[str]) -> list[Mistake]:
    right = f"the first line is {','.join(_INVENTORY)}"
    unknown = [name for name in header if name not in _INVENTORY]
    if unknown:
        return [Mistake(f"{path}:1", f"unknown column {quote(name)}", suggest(name, _INVENTORY)) for name in unknown]
    if "address" not in header or len(set(header)) != len(header):
        return [Mistake(f"{path}:1", f"the columns {quote(','.join(header))}", right)]
    return []


def _read_endpoint(header: Sequence[str], row: Sequence[str]) -> Endpoint:
    if len(row) != len(header):
        raise UnreadableError(f"{len(row)} fields", f"write {len(header)}: {','.join(header)}")
    cells = {name: cell.strip() for name, cell in zip(header, row, strict=True) if cell.strip()}
    approved = cells.get("approved", "true").lower()
    return Endpoint(
        network=read_network(cells.get("address", "")),
        name=read_text(cells["name"]) if "name" in cells else "",
        role=cast("Role", one_of(_ROLES, "role")(cells.get("role", "client"))),
        approved=_YES_NO[one_of(_YES_NO, "approval")(approved)],
    )
