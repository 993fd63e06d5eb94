"""Incidents to a web hook, in the shape of Alertmanager's webhook (version 4), which many receivers understand.

Each post tells one incident: once as `firing` when it opens, once as `resolved` when it closes. Its id and state are
the `Idempotency-Key`, so that a post that comes twice can be told; with a secret, the body is signed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sensor import posting

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensor.schema import Incident
    from sensor.store import Parcel

_NEVER: Final = "0001-01-01T00:00:00Z"  # Go's zero time: Alertmanager's word for "not over"
_SEVERITY: Final = {"critical": "critical", "high": "critical", "medium": "warning"}


class Webhook:
    """One receiver.

    Parameters
    ----------
    where
        Its URL.
    secret
        Key of the HMAC-SHA256 in `X-Swarmtap-Signature: sha256=…`; empty: the header is left out.
    """

    name = "webhook"

    def __init__(self, where: posting.Address, secret: bytes = b"") -> None:
        self._where = where
        self._secret = secret

    def deliver(self, parcel: Parcel) -> None:
        """Post an incident.

        Raises
        ------
        OSError
            If the receiver could not be reached, or is at fault.
        RefusedError
            If it will never take it.
        """
        body = json.dumps(document(parcel.incident), separators=(",", ":")).encode()
        headers = {"Idempotency-Key": f"{parcel.incident.id}-{_status(parcel.incident)}"}
        if self._secret:
            headers["X-Swarmtap-Signature"] = f"sha256={hmac.new(self._secret, body, hashlib.sha256).hexdigest()}"
        posting.post(self._where, body, headers)

    def work(self, living: Callable[[], list[Incident]]) -> None:
        """Do nothing: a receiver is told once."""

    def reopen(self) -> None:
        """Do nothing: there is no file."""

    def close(self) -> None:
        """Do nothing: there is no connection between posts."""


def document(incident: Incident) -> dict[str, Any]:
    """Return the body of a post.

    Raises
    ------
    nothing
    """
    status = _status(incident)
    group = {"alertname": incident.rule, "site": incident.site}
    labels = group | {
        "severity": _SEVERITY.get(incident.level, "info"),
        "level": incident.level,
        "incident": incident.id,
    }
    annotations = {
        "summary": incident.title,
        "description": incident.reason,
        "subject": ", ".join(f"{key}={value}" for key, value in sorted(incident.subject.items())),
        "flows": str(incident.flows),
        "payload_bytes": str(incident.payload_bytes),
        "confidence": f"{incident.confidence:.2f}",
        "last_seen": _time(incident.last_seen_ns),
    }
    if incident.evidence:
        annotations["community_id"] = incident.evidence[0].community_id
    if incident.attack:
        annotations["attack"] = ", ".join(incident.attack)
    alert = {
        "status": status,
        "labels": labels,
        "annotations": annotations,
        "startsAt": _time(incident.first_seen_ns),
        "endsAt": _time(incident.last_seen_ns) if status == "resolved" else _NEVER,
        "generatorURL": "",
        "fingerprint": incident.id,
    }
    named = ",".join(f'{key}="{value}"' for key, value in group.items())
    return {
        "version": "4",
        "groupKey": f"{{}}:{{{named}}}",
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "swarmtap",
        "groupLabels": group,
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": "",
        "alerts": [alert],
    }


def _status(incident: Incident) -> str:
    return "resolved" if incident.state == "closed" else "firing"


def _time(at_ns: int) -> str:
    seconds, rest = divmod(at_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1_000_000:03d}Z"
