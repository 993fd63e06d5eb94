"""Who may read the pages: TLS, client certificates and passwords, in the form of Prometheus' own `web-config.yml`.

https://prometheus.io/docs/prometheus/latest/configuration/https/ describes the form; what is not understood here is a
mistake and not passed over, because a guard that is believed to be there is worse than none.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import bcrypt
import yaml

from sensor.errors import Mistake, OperatorError

if TYPE_CHECKING:
    from pathlib import Path

_TLS_KEYS: Final = ("cert_file", "key_file", "client_auth_type", "client_ca_file", "min_version")
_TOP_KEYS: Final = ("tls_server_config", "basic_auth_users")
_VERSIONS: Final = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_CLIENTS: Final = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_MOST_BYTES: Final = 1 << 20
_MOST_KNOWN: Final = 64
_HASHES: Final = ("$2a$", "$2b$", "$2y$")


@dataclass(frozen=True)
class Guard:
    """What a connection must bring; `users` are names and bcrypt hashes, none: no password is asked for."""

    tls: ssl.SSLContext | None = None
    users: dict[str, bytes] = field(default_factory=dict)
    _known: set[bytes] = field(default_factory=set)
    _salt: bytes = field(default_factory=lambda: secrets.token_bytes(16))

    def admits(self, header: str) -> bool:
        """Say whether an Authorization header names a user and its password; takes a tenth of a second the first time.

        Raises
        ------
        nothing
        """
        if not self.users:
            return True
        kind, _, told = header.partition(" ")
        try:
            pair = base64.b64decode(told.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        name, colon, password = pair.partition(b":")
        if kind.lower() != "basic" or not colon:
            return False
        # bcrypt is slow on purpose, and every scrape brings the same pair.
        digest = hashlib.sha256(self._salt + pair).digest()
        if digest in self._known:
            return True
        # A user that does not exist takes as long as one that does.
        stored = self.users.get(name.decode("utf-8", "replace"))
        right = _matches(password, stored or next(iter(self.users.values())))
        if not right or stored is None:
            return False
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known.add(digest)
        return True


def load(path: Path | None) -> Guard:
    """Read a `web-config.yml`; without one, pages are open to whoever reaches the address.

    Raises
    ------
    OperatorError
        With every mistake in the file, and in the certificates it names.
    """
    if path is None:
        return Guard()
    try:
        with path.open("rb") as file:
            read = yaml.safe_load(file.read(_MOST_BYTES)) or {}
    except OSError as error:
        raise OperatorError(Mistake(str(path), error.strerror or "cannot be read", "name a readable file")) from error
    except yaml.YAMLError as error:
        raise OperatorError(Mistake(str(path), "is not YAML", "see docs/deploy.md")) from error
    mistakes: list[Mistake] = []
    top = _mapping(str(path), read, _TOP_KEYS, mistakes)
    users = _users(f"{path}: basic_auth_users", top.get("basic_auth_users") or {}, mistakes)
    stated = _mapping(f"{path}: tls_server_config", top.get("tls_server_config") or {}, _TLS_KEYS, mistakes)
    tls = _tls(path, stated, mistakes) if stated and not mistakes else None
    if mistakes:
        raise OperatorError(*mistakes)
    return Guard(tls, users)


def _mapping(where: str, read: Any, known: tuple[str, ...], mistakes: list[Mistake]) -> dict[str, Any]:
    if not isinstance(read, dict):
        mistakes.append(Mistake(where, "is not a mapping", f"keys are {', '.join(known)}"))
        return {}
    mistakes += [
        Mistake(where, f'unknown key "{key}"', f"one of {', '.join(known)}") for key in read if key not in known
    ]
    return {str(key): value for key, value in read.items()}


def _users(where: str, read: Any, mistakes: list[Mistake]) -> dict[str, bytes]:
    if not isinstance(read, dict):
        mistakes.append(Mistake(where, "is not a mapping", "write `name: bcrypt hash`"))
        return {}
    for name, told in read.items():
        if not str(told).startswith(_HASHES):
            mistakes.append(Mistake(where, f'"{name}" has no bcrypt hash', "make one with `htpasswd -nBC 10 name`"))
    return {str(name): str(told).encode() for name, told in read.items()}


def _tls(path: Path, stated: dict[str, Any], mistakes: list[Mistake]) -> ssl.SSLContext | None:
    where = f"{path}: tls_server_config"
    choices = (("client_auth_type", _CLIENTS, "NoClientCert"), ("min_version", _VERSIONS, "TLS12"))
    for key, known, default in choices:
        if stated.setdefault(key, default) not in known:
            mistakes.append(Mistake(where, f'{key} "{stated[key]}"', f"one of {', '.join(known)}"))
    missing = [key for key in ("cert_file", "key_file") if not stated.get(key)]
    asks = stated["client_auth_type"] != "NoClientCert"
    # Without it, Python would trust every authority of the system to name our clients.
    missing += ["client_ca_file"] if asks and not stated.get("client_ca_file") else []
    mistakes += [Mistake(where, f"no {key}", f"write `{key}: FILE`, relative to {path.name}") for key in missing]
    if mistakes:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[stated["min_version"]]
    named = {
        key: path.parent / str(stated[key]) for key in ("cert_file", "key_file", "client_ca_file") if key in stated
    }
    try:
        context.load_cert_chain(named["cert_file"], named["key_file"])
        if asks:
            context.load_verify_locations(named["client_ca_file"])
            context.verify_mode = _CLIENTS[stated["client_auth_type"]]
    except OSError as error:  # ssl.SSLError is one
        read = f"certificate or key cannot be used ({error.strerror or error})"
        mistakes.append(Mistake(where, read, "name PEM files that belong together"))
        return None
    return context


def _matches(password: bytes, stored: bytes) -> bool:
    try:
        return bcrypt.checkpw(password[:72], stored)  # bcrypt itself never saw more than 72 bytes
    except ValueError:  # a hash that only looks like one
        return False
