"""Times as people write them on a command line: dates with a zone, and distances from now or from the first packet."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from sensor.errors import Mistake, OperatorError
from sensor.values import UnreadableError, read_timezone

if TYPE_CHECKING:
    from collections.abc import Callable

_SECOND_NS: Final = 1_000_000_000
_DISTANCE: Final = re.compile(r"([+-])((?:\d{1,6}[dhms])+)", re.ASCII)
_STEP: Final = re.compile(r"(\d+)([dhms])", re.ASCII)
_STEPS_S: Final = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_RIGHT: Final = (
    "write 2026-06-09, 2026-06-09T20:00, 2026-06-09T20:00:00+02:00 or '2026-06-09 20:00 Europe/Berlin'; "
    "-2h is before now, +1d6h after the first packet"
)


def read(option: str, told: str, first_packet_ns: Callable[[], int]) -> int:
    """Return a time in ns since 1970 UTC; without a zone it is UTC.

    Parameters
    ----------
    option
        Where it stands, for whoever has to mend it.
    first_packet_ns
        Asked for only if the time counts from there.

    Raises
    ------
    OperatorError
        If it is no time, or none that there was on that day in that zone.
    """
    if distance := _DISTANCE.fullmatch(told.strip()):
        sign, steps = distance.groups()
        length_ns = sum(int(count) * _STEPS_S[unit] for count, unit in _STEP.findall(steps)) * _SECOND_NS
        return first_packet_ns() + length_ns if sign == "+" else time.time_ns() - length_ns
    when, _, zone = told.strip().rpartition(" ")
    if not zone[:1].isalpha():
        when, zone = told.strip(), ""
    try:
        moment = datetime.fromisoformat(when)
    except ValueError:
        raise OperatorError(Mistake(option, f'"{told}" is not a time', _RIGHT)) from None
    if zone:
        moment = _local(option, when, moment, zone)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    whole = moment.replace(microsecond=0)
    return int(whole.timestamp()) * _SECOND_NS + moment.microsecond * 1000


def _local(option: str, when: str, moment: datetime, zone: str) -> datetime:
    """Return a moment in a zone; of an hour that there was twice the first is meant."""
    try:
        place = read_timezone(zone)
    except UnreadableError as bad:
        raise OperatorError(Mistake(option, bad.read, bad.right)) from None
    if moment.tzinfo is not None:
        raise OperatorError(Mistake(option, f'"{when} {zone}" has two zones', "leave one out"))
    local = moment.replace(tzinfo=ZoneInfo(place))
    if local.astimezone(UTC).astimezone(local.tzinfo).replace(tzinfo=None) != moment:
        said = f'"{when}" was skipped by the clocks of {zone}'
        raise OperatorError(Mistake(option, said, "choose a time before or after the change"))
    return local
