"""Incidents to Alertmanager's API v2: said again while they live, and for a while after they closed that they are over.

Alertmanager forgets what is not said again; so a living incident says that it will end a few repeats from now, unless
it is heard of again. The incident's id is a label: it makes two incidents two alerts, and one that is told again after
a restart the same one. Group by `alertname` and `site` in its route.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sensor import posting

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensor.schema import Incident
    from sensor.store import Parcel

REPEAT_S: Final = 60.0
_LIVES_FOR: Final = 4  # repeats that may be lost before Alertmanager thinks that it is over
_SAID_OVER_S: Final = 300.0
_BATCH: Final = 64
_SEVERITY: Final = {"critical": "critical", "high": "critical", "medium": "warning"}


class Alertmanager:
    """One Alertmanager.

    Parameters
    ----------
    where
        Its URL, without `/api/v2/alerts`.
    repeat_s
        How often living incidents are said again.
    """

    name = "alertmanager"

    def __init__(self, where: posting.Address, repeat_s: float = REPEAT_S) -> None:
        path = where.path.rstrip("/") + "/api/v2/alerts"
        self._where = posting.Address(where.is_secure, where.host, where.port, path, where.url)
        self._repeat_s = repeat_s
        self._said = float("-inf")  # the monotonic clock may have begun a moment ago
        self._over: dict[str, tuple[float, dict[str, Any]]] = {}

    def deliver(self, parcel: Parcel) -> None:
        """Say that an incident opened or is over.

        Raises
        ------
        OSError
            If Alertmanager could not be reached, or is at fault.
        RefusedError
            If it will never take it.
        """
        alert = self._alert(parcel.incident)
        self._post([alert])
        if parcel.incident.state == "closed":
            self._over[parcel.incident.id] = (time.monotonic(), alert)

    def work(self, living: Callable[[], list[Incident]]) -> None:
        """Say again what lives and what is just over, when it is time.

        Raises
        ------
        OSError
            If Alertmanager could not be reached.
        """
        now = time.monotonic()
        if now - self._said < self._repeat_s:
            return
        self._over = {key: said for key, said in self._over.items() if now - said[0] < _SAID_OVER_S}
        alerts = [self._alert(incident) for incident in living() if incident.id not in self._over]
        alerts += [alert for _, alert in self._over.values()]
        try:
            for start in range(0, len(alerts), _BATCH):
                self._post(alerts[start : start + _BATCH])
        except posting.RefusedError as error:
            raise OSError(str(error)) from error
        self._said = now

    def reopen(self) -> None:
        """Do nothing: there is no file."""

    def close(self) -> None:
        """Do nothing: there is no connection between posts."""

    def _post(self, alerts: list[dict[str, Any]]) -> None:
        if alerts:
            posting.post(self._where, json.dumps(alerts, separators=(",", ":")).encode(), {})

    def _alert(self, incident: Incident) -> dict[str, Any]:
        now_ns = time.time_ns()
        lives_ns = int(_LIVES_FOR * self._repeat_s * 1e9)
        # An incident that is over must not end before it began, also when the clock was set back.
        ends_ns = max(now_ns + (0 if incident.state == "closed" else lives_ns), incident.first_seen_ns + 1_000_000)
        annotations = {
            "summary": incident.title,
            "description": incident.reason,
            "subject": ", ".join(f"{key}={value}" for key, value in sorted(incident.subject.items())),
            "flows": str(incident.flows),
            "payload_bytes": str(incident.payload_bytes),
            "confidence": f"{incident.confidence:.2f}",
        }
        if incident.evidence:
            annotations["community_id"] = incident.evidence[0].community_id
        return {
            "labels": {
                "alertname": incident.rule,
                "site": incident.site,
                "severity": _SEVERITY.get(incident.level, "info"),
                "level": incident.level,
                "incident": incident.id,
            },
            "annotations": annotations,
            "startsAt": _time(incident.first_seen_ns),
            "endsAt": _time(ends_ns),
        }


def _time(at_ns: int) -> str:
    seconds, rest = divmod(at_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1_000_000:03d}Z"
