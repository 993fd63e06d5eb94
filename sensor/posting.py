"""JSON to a web server, once: it has it, it will never take it, or it is to be tried again.

Only what the HTTP standard calls a success counts. A redirection is not followed: what is sent may be secret.
"""

from __future__ import annotations

import http.client
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from sensor import __version__
from sensor.errors import Mistake, OperatorError

if TYPE_CHECKING:
    from collections.abc import Mapping

_WAIT_S: Final = 10.0
_SHOWN: Final = 200
_TRY_AGAIN: Final = (408, 425, 429)  # RFC 9110, RFC 8470, RFC 6585
_FAULT_OF_OURS: Final = range(400, 500)
_SUCCESS: Final = range(200, 300)


class RefusedError(Exception):
    """The receiver will never take this; there is no use in trying again."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to post: an http or https URL."""

    is_secure: bool
    host: str
    port: int
    path: str
    url: str


def address(option: str, url: str) -> Address:
    """Read the URL that an option was given.

    Raises
    ------
    OperatorError
        If it is not an http or https URL with a host.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or parts.username:
        right = "write it as http://HOST:PORT/PATH or https://…, without a user name"
        raise OperatorError(Mistake(option, f'"{url}" is not such a URL', right))
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    is_secure = parts.scheme == "https"
    return Address(is_secure, parts.hostname, port or (443 if is_secure else 80), path, url)


def post(where: Address, body: bytes, headers: Mapping[str, str], wait_s: float = _WAIT_S) -> None:
    """Post a JSON body.

    Raises
    ------
    RefusedError
        If the server says that the request is at fault.
    OSError
        If it could not be reached, hangs, answers nonsense, or says that it is at fault itself.
    """
    if where.is_secure:
        made: http.client.HTTPConnection = http.client.HTTPSConnection(
            where.host, where.port, timeout=wait_s, context=ssl.create_default_context()
        )
    else:
        made = http.client.HTTPConnection(where.host, where.port, timeout=wait_s)
    told = {"Content-Type": "application/json", "User-Agent": f"swarmtap/{__version__}", **headers}
    try:
        made.request("POST", where.path, body, told)
        answer = made.getresponse()
        text = answer.read(_SHOWN).decode("utf-8", "replace").strip()
    except http.client.HTTPException as error:
        raise OSError(f"it answered no HTTP ({type(error).__name__})") from error
    finally:
        made.close()
    if answer.status in _SUCCESS:
        return
    read = f"it answered {answer.status} {answer.reason}{': ' if text else ''}{text}"
    if answer.status in _FAULT_OF_OURS and answer.status not in _TRY_AGAIN:
        raise RefusedError(read)
    raise OSError(read)
