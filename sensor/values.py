"""What an operator hands over in its smallest parts: a file's bytes; text to name, prefix, zone, size, date."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from fractions import Fraction
from functools import lru_cache
from ipaddress import IPV4LENGTH, IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from sensor.errors import Mistake, OperatorError
from sensor.policy import UNKNOWN_SITE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path

    from sensor.policy import Network

MISTAKES_SHOWN: Final = 1000  # a file with more is not a mistake but another file

_TEXT_CHARACTERS: Final = 500
_GRACE_HOURS: Final = 24
_EXPIRES_YEARS: Final = range(1970, 2261)  # what int64 ns can say
_SIZES: Final = {
    "": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40,
}  # fmt: skip


class UnreadableError(ValueError):
    """A text that says nothing we know: what was read, and what would be right."""

    def __init__(self, read: str, right: str) -> None:
        super().__init__(f"{read}; {right}" if right else read)
        self.read = read
        self.right = right


def quote(text: str) -> str:
    """Show a text inside a sentence: short, on one line, without control characters."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text[:61])
    return f'"{shown}"' if len(text) <= 60 else f'"{shown[:60]}…"'  # noqa: PLR2004 - fits a terminal's line


def suggest(text: str, known: Iterable[str]) -> str:
    """Say which of the known words was meant, or name them all if they are few."""
    words = list(known)
    lower = {word.lower(): word for word in reversed(words)}
    close = get_close_matches(text.lower()[:60], lower, n=1)
    if close:
        return f"did you mean {lower[close[0]]}?"
    return f"known: {', '.join(words)}" if 0 < len(words) <= 12 else ""  # noqa: PLR2004 - fits a line


def read_text(text: str) -> str:
    """Read one line of text."""
    if not text.strip():
        raise UnreadableError("nothing is written here", "write a text")
    if len(text) > _TEXT_CHARACTERS or not text.isprintable():
        raise UnreadableError(
            f"{quote(text)} is not a short line", f"write up to {_TEXT_CHARACTERS} visible characters"
        )
    return text


def read_name(text: str) -> str:
    """Read a site's name: it becomes a label and a folder, so its letters are few."""
    if text == UNKNOWN_SITE:
        raise UnreadableError(f'"{text}" is the name for all that is in no site', "choose another")
    if not re.fullmatch(r"\w(?:[\w .-]{0,62}[\w.-])?", text):
        raise UnreadableError(f"{quote(text)} is not a name", "write up to 64 letters, digits, blanks and . _ -")
    return text


def one_of(known: Collection[str], what: str) -> Callable[[str], str]:
    """Return a reader of one of the known words."""

    def read(text: str) -> str:
        if text not in known:
            raise UnreadableError(f"unknown {what} {quote(text)}", suggest(text, known))
        return text

    return read


def read_network(text: str) -> Network:
    """Read an address or a prefix; an IPv4-mapped one is the IPv4 prefix it maps."""
    right = "write 10.1.0.0/16 or 2001:db8::/32"
    if not re.fullmatch(r"[0-9A-Fa-f:.]+(?:/[0-9]{1,3})?", text):
        raise UnreadableError(f"{quote(text)} is not a prefix", right)
    try:
        loose = ip_network(text, strict=False)
    except ValueError:
        raise UnreadableError(f"{quote(text)} is not a prefix", right) from None
    if loose.network_address != ip_address(text.partition("/")[0]):
        raise UnreadableError(f"{quote(text)} has host bits set", f"write {loose}")
    mapped = loose.network_address.ipv4_mapped if isinstance(loose, IPv6Network) else None
    extra = loose.max_prefixlen - IPV4LENGTH
    return IPv4Network((mapped, loose.prefixlen - extra)) if mapped and loose.prefixlen >= extra else loose


@lru_cache(maxsize=1024)
def read_timezone(text: str) -> str:
    """Read the name of a time zone of the tz database."""
    right = "name a zone of the tz database, as Europe/Berlin"
    if text.lower() in {"local", "localtime"}:
        raise UnreadableError(f"{quote(text)} differs from machine to machine", right)
    if re.fullmatch(r"[A-Za-z0-9_+/-]{1,64}", text):
        with suppress(ZoneInfoNotFoundError, ValueError, OSError):  # told below, whatever the reason
            return ZoneInfo(text).key
    raise UnreadableError(f"unknown timezone {quote(text)}", suggest(text, sorted(available_timezones())) or right)


def read_size(text: str) -> int:
    """Read a size as bytes."""
    found = re.fullmatch(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?(?:([KMGT]i?)?B)?", text, re.IGNORECASE | re.ASCII)
    if not found:
        raise UnreadableError(
            f"{quote(text)} is not a size", "write 50GB (10^9 bytes), 50GiB (2^30) or a number of bytes"
        )
    size = Fraction(found[1]) * _SIZES[(found[2] or "").lower()]
    if size.denominator != 1 or not 0 < size < 2**63:
        raise UnreadableError(f"{quote(text)} is not a whole number of bytes", "write 1 byte to 8 EiB")
    return int(size)


def read_grace(text: str) -> int:
    """Read whole minutes as seconds."""
    found = re.fullmatch(r"(?:([0-9]{1,4})h)?(?:([0-9]{1,4})m)?", text, re.ASCII)
    seconds = int(found[1] or 0) * 3600 + int(found[2] or 0) * 60 if found else 0
    if not found or not text:
        raise UnreadableError(f"{quote(text)} is not a time of whole minutes", "write 5m, 1h or 1h30m")
    if seconds > _GRACE_HOURS * 3600:
        raise UnreadableError(f"{quote(text)} is longer than a day", f"grace is at most {_GRACE_HOURS}h")
    return seconds


def read_expires(text: str) -> int:
    """Read the first instant at which an exception no longer holds: a date holds until its end, in UTC."""
    right = "write 2026-12-01, or 2026-12-01T18:00:00+01:00"
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text, re.ASCII):
            end = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC) + timedelta(days=1)
        else:
            end = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise UnreadableError(f"{quote(text)} is not a date", right) from None
    if end.tzinfo is None:
        raise UnreadableError(f"{quote(text)} says no time zone", "add Z or an offset, as 2026-12-01T18:00:00+01:00")
    if end.year not in _EXPIRES_YEARS:
        raise UnreadableError(f"{quote(text)} is out of reach", "choose a year from 1970 to 2260")
    return (end - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


def read_file(path: Path, limit: int, what: str) -> bytes:
    """Return a file's bytes, unless they are more than `limit`."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except IsADirectoryError:
        raise OperatorError(Mistake(str(path), "this is a directory", f"give {what}, a file")) from None
    except (OSError, ValueError) as bad:
        reason = bad.strerror if isinstance(bad, OSError) and bad.strerror else "not a path"
        raise OperatorError(Mistake(str(path), f"cannot be read: {reason.lower()}", f"give {what}")) from None
    if len(data) > limit:
        raise OperatorError(Mistake(str(path), f"more than {limit >> 20} MiB", f"{what} is smaller than that"))
    return data
