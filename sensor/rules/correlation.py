"""The `correlation:` of a Sigma document as plain facts: what is measured, over which rules, for whom.

Sigma has eight kinds; the three that are measured are in `MEASURED`, the others are refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sensor.errors import Mistake
from sensor.rules import header
from sensor.rules.columns import kinds, nearest
from sensor.rules.ruleset import Measure

if TYPE_CHECKING:
    from sensor.rules.documents import Document

MEASURED: Final = ("event_count", "value_count", "value_sum")
OPERATORS: Final = ("lt", "lte", "gt", "gte", "eq", "neq")
_KEYS: Final = ("type", "rules", "group-by", "timespan", "condition", "generate", "aliases")
_MOST_GROUPED: Final = 8
_MOST_COUNTED: Final = 2**53  # from here on, float64 no longer holds every whole number


@dataclass(frozen=True, slots=True)
class Correlation:
    """A correlation as it is written, checked."""

    rules: tuple[str, ...]
    group_by: tuple[str, ...]
    measure: Measure
    generate: bool


def check(document: Document) -> tuple[Correlation | None, list[Mistake]]:
    """Return a document's correlation if it is right, and what is wrong with it.

    Raises
    ------
    nothing
    """
    plain = document.plain["correlation"]
    if not isinstance(plain, dict):
        return None, [
            Mistake(document.at("correlation"), "not a mapping", "write type, rules, group-by, timespan, condition")
        ]
    found = [
        Mistake(document.at_key("correlation", key), f'unknown key "{key}"', nearest(key, _KEYS) or ", ".join(_KEYS))
        for key in plain
        if key not in _KEYS
    ]
    if "aliases" in plain:
        found.append(
            Mistake(document.at_key("correlation", "aliases"), "unsupported: aliases", "name the same columns")
        )
    if not isinstance(plain.get("generate", False), bool):
        found.append(Mistake(document.at("correlation", "generate"), "generate is true or false", "write false"))
    rules, group_by = (_names(plain.get(key, [])) for key in ("rules", "group-by"))
    found += _check_names(document, rules, group_by)
    kind, span = plain.get("type"), header.span_ns(plain.get("timespan"))
    if kind not in MEASURED:
        found.append(_wrong_kind(document, kind))
    if span is None:
        where = document.at("correlation", "timespan")
        found.append(
            Mistake(where, f'"{plain.get("timespan")}" is no timespan', "write 60s, 15m, 1h or 1d; at most 31d")
        )
    found += _check_condition(document, plain.get("condition"), str(kind))
    if not found:
        found += _check_sigma(document)
    if found or rules is None or group_by is None or span is None:
        return None, found
    condition = plain["condition"]
    op = next(each for each in OPERATORS if each in condition)
    measure = Measure(str(kind), str(condition.get("field", "")), op, condition[op], span)
    return Correlation(rules, group_by, measure, bool(plain.get("generate", False))), []


def _names(plain: Any) -> tuple[str, ...] | None:
    listed = [plain] if isinstance(plain, str) else plain
    return tuple(listed) if isinstance(listed, list) and all(isinstance(each, str) for each in listed) else None


def _check_names(document: Document, rules: tuple[str, ...] | None, group_by: tuple[str, ...] | None) -> list[Mistake]:
    found = []
    if not rules:
        found.append(Mistake(document.at("correlation", "rules"), "no rules", "name the rules whose rows count"))
    if group_by is None or len(group_by) > _MOST_GROUPED:
        found.append(
            Mistake(document.at("correlation", "group-by"), "no list of columns", "write `group-by: [orig_ip]`")
        )
    for at, name in enumerate(group_by or ()):
        if name not in kinds("activity"):
            hint = nearest(name, kinds("activity")) or "see the manual of columns"
            found.append(Mistake(document.at("correlation", "group-by", at), f'unknown field "{name}"', hint))
    return found


def _wrong_kind(document: Document, kind: Any) -> Mistake:
    from sigma.correlations import SigmaCorrelationType  # noqa: PLC0415 - pySigma is loaded only to read rules

    known = kind in {each.name.lower() for each in SigmaCorrelationType}
    read = f'{"unsupported" if known else "unknown"} correlation type "{kind}"'
    return Mistake(document.at("correlation", "type"), read, f"there are: {', '.join(MEASURED)}")


def _check_condition(document: Document, plain: Any, kind: str) -> list[Mistake]:
    where = document.at("correlation", "condition")
    if not isinstance(plain, dict):
        return [Mistake(where, "no condition", "write `condition: {gte: 20}`, with `field:` if values are measured")]
    found = []
    for key in plain:
        if key not in (*OPERATORS, "field"):
            place = document.at_key("correlation", "condition", key)
            found.append(Mistake(place, f'unsupported "{key}"', f"one of {', '.join(OPERATORS)}, and field"))
    given = [each for each in OPERATORS if each in plain]
    if len(given) != 1:
        found.append(Mistake(where, f"{len(given)} thresholds", f"write one of {', '.join(OPERATORS)}"))
    found += [
        Mistake(document.at("correlation", "condition", op), f'"{plain[op]}"', "write a number")
        for op in given
        if not isinstance(plain[op], int | float) or isinstance(plain[op], bool) or not abs(plain[op]) < _MOST_COUNTED
    ]
    return found + _check_field(document, plain.get("field"), kind)


def _check_field(document: Document, name: Any, kind: str) -> list[Mistake]:
    where = document.at("correlation", "condition", "field")
    columns = kinds("activity")
    if kind == "event_count":
        return [Mistake(where, "field in event_count", "it counts rows; leave it out")] if name is not None else []
    if not isinstance(name, str):
        return [Mistake(where, "no field, or several", "name the one column that is measured")]
    if name not in columns:
        return [Mistake(where, f'unknown field "{name}"', nearest(name, columns) or "see the manual of columns")]
    if kind == "value_sum" and not columns[name].adds:
        return [Mistake(where, f"the sum of {name}", "sum a column of bytes, packets or messages")]
    return []


def _check_sigma(document: Document) -> list[Mistake]:
    """Return what pySigma says of a correlation that looks right to us."""
    from sigma.correlations import SigmaCorrelationRule  # noqa: PLC0415 - pySigma is loaded only to read rules
    from sigma.exceptions import SigmaError  # noqa: PLC0415

    try:
        SigmaCorrelationRule.from_dict({"title": "-", "correlation": document.plain["correlation"]})
    except SigmaError as error:
        return [Mistake(document.at("correlation"), str(error), "see docs/rules.md")]
    return []
