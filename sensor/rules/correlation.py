"""The `correlation:` of a Sigma document as plain facts: what is measured, over which rules, for whom.

All eight kinds of Sigma are measured. `rows` in a condition is ours: how many rows there must be before a share or an
average means anything.
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

COUNTED: Final = ("event_count", "value_count", "value_sum")
TEMPORAL: Final = ("temporal", "temporal_ordered")
RANKED: Final = ("value_percentile", "value_median")
MEASURED: Final = (*COUNTED, *TEMPORAL, "value_avg", *RANKED)
OPERATORS: Final = ("lt", "lte", "gt", "gte", "eq", "neq")
_KEYS: Final = ("type", "rules", "group-by", "timespan", "condition", "generate", "aliases")
_MOST_GROUPED: Final = 8
_MOST_COUNTED: Final = 2**53  # from here on, float64 no longer holds every whole number
_MEDIAN: Final = 50


@dataclass(frozen=True, slots=True)
class Correlation:
    """A correlation as it is written, checked."""

    rules: tuple[str, ...]
    group_by: tuple[str, ...]
    measure: Measure
    generate: bool
    aliases: tuple[tuple[str, tuple[str, ...]], ...] = ()


def check(document: Document, category: str) -> tuple[Correlation | None, list[Mistake]]:
    """Return a document's correlation if it is right, and what is wrong with it; its rules are of that category.

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
    if not isinstance(plain.get("generate", False), bool):
        found.append(Mistake(document.at("correlation", "generate"), "generate is true or false", "write false"))
    rules, group_by = (_names(plain.get(key, [])) for key in ("rules", "group-by"))
    aliases, wrong = _aliases(document, plain.get("aliases", {}), rules or (), category)
    found += wrong + _check_names(document, rules, group_by, category, dict(aliases))
    kind, span = plain.get("type"), header.span_ns(plain.get("timespan"))
    if kind not in MEASURED:
        found.append(_wrong_kind(document, kind))
    if span is None:
        where = document.at("correlation", "timespan")
        found.append(
            Mistake(where, f'"{plain.get("timespan")}" is no timespan', "write 60s, 15m, 1h or 1d; at most 31d")
        )
    condition = plain.get("condition")
    if kind in TEMPORAL and condition is None and rules:
        condition = {"gte": len(rules)}
    found += _check_condition(document, condition, str(kind), category)
    if not found:
        found += _check_sigma(document)
    if found or rules is None or group_by is None or span is None or not isinstance(condition, dict):
        return None, found
    op = next(each for each in OPERATORS if each in condition)
    percentile = int(condition.get("percentile", _MEDIAN)) if kind in RANKED else 0
    column = str(condition.get("field", ""))
    measure = Measure(str(kind), column, op, condition[op], span, percentile, int(condition.get("rows", 0)))
    return Correlation(rules, group_by, measure, bool(plain.get("generate", False)), aliases), []


def _names(plain: Any) -> tuple[str, ...] | None:
    listed = [plain] if isinstance(plain, str) else plain
    return tuple(listed) if isinstance(listed, list) and all(isinstance(each, str) for each in listed) else None


def _aliases(
    document: Document, plain: Any, rules: tuple[str, ...], category: str
) -> tuple[tuple[tuple[str, tuple[str, ...]], ...], list[Mistake]]:
    """Return each alias with its column in each of the rules, in their order."""
    where = document.at("correlation", "aliases")
    right = "write `aliases: {host: {rule_a: orig_ip, rule_b: resp_ip}}`"
    if not isinstance(plain, dict):
        return (), [Mistake(where, "aliases is not a mapping", right)]
    columns = kinds(category)
    made, found = [], []
    for name, sides in plain.items():
        here = document.at("correlation", "aliases", name)
        if name in columns:
            found.append(Mistake(here, f'alias "{name}" is a column', "give it a name of its own"))
        if not isinstance(sides, dict) or sorted(sides) != sorted(rules):
            found.append(Mistake(here, f'alias "{name}" does not name each rule once', right))
            continue
        named = tuple(sides[rule] for rule in rules)
        found += [
            Mistake(here, f'unknown field "{column}"', nearest(str(column), columns) or right)
            for column in named
            if column not in columns
        ]
        if not found and len({columns[column].holds for column in named}) > 1:
            found.append(Mistake(here, f'alias "{name}" of different kinds', "join columns that hold the same"))
        made.append((name, named))
    return tuple(made), found


def _check_names(
    document: Document,
    rules: tuple[str, ...] | None,
    group_by: tuple[str, ...] | None,
    category: str,
    aliases: dict[str, tuple[str, ...]],
) -> list[Mistake]:
    found = []
    if not rules:
        found.append(Mistake(document.at("correlation", "rules"), "no rules", "name the rules whose rows count"))
    if group_by is None or len(group_by) > _MOST_GROUPED:
        found.append(
            Mistake(document.at("correlation", "group-by"), "no list of columns", "write `group-by: [orig_ip]`")
        )
    for at, name in enumerate(group_by or ()):
        if name not in kinds(category) and name not in aliases:
            hint = nearest(name, [*kinds(category), *aliases]) or "see the manual of columns"
            found.append(Mistake(document.at("correlation", "group-by", at), f'unknown field "{name}"', hint))
    return found + [
        Mistake(document.at("correlation", "aliases", name), f'alias "{name}" is not used', "name it in group-by")
        for name in aliases
        if name not in (group_by or ())
    ]


def _wrong_kind(document: Document, kind: Any) -> Mistake:
    from sigma.correlations import SigmaCorrelationType

    known = kind in {each.name.lower() for each in SigmaCorrelationType} or str(kind).endswith("_extended")
    read = f'{"unsupported" if known else "unknown"} correlation type "{kind}"'
    return Mistake(document.at("correlation", "type"), read, f"there are: {', '.join(MEASURED)}")


def _check_condition(document: Document, plain: Any, kind: str, category: str) -> list[Mistake]:
    where = document.at("correlation", "condition")
    if not isinstance(plain, dict):
        return [Mistake(where, "no condition", "write `condition: {gte: 20}`, with `field:` if values are measured")]
    found = []
    for key in plain:
        if key not in (*OPERATORS, "field", "percentile", "rows"):
            place = document.at_key("correlation", "condition", key)
            found.append(Mistake(place, f'unsupported "{key}"', f"one of {', '.join(OPERATORS)}, and field"))
    for key, most in (("percentile", 100), ("rows", _MOST_COUNTED)):
        value = plain.get(key, 0)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            found.append(Mistake(document.at("correlation", "condition", key), f'"{value}"', f"write 0 to {most}"))
    if ("percentile" in plain) != (kind == "value_percentile"):
        found.append(Mistake(where, "percentile belongs to value_percentile", "write it there, and only there"))
    given = [each for each in OPERATORS if each in plain]
    if len(given) != 1:
        found.append(Mistake(where, f"{len(given)} thresholds", f"write one of {', '.join(OPERATORS)}"))
    found += [
        Mistake(document.at("correlation", "condition", op), f'"{plain[op]}"', "write a number")
        for op in given
        if not isinstance(plain[op], int | float) or isinstance(plain[op], bool) or not abs(plain[op]) < _MOST_COUNTED
    ]
    return found + _check_field(document, plain.get("field"), kind, category)


def _check_field(document: Document, name: Any, kind: str, category: str) -> list[Mistake]:
    where = document.at("correlation", "condition", "field")
    columns = kinds(category)
    if kind == "event_count" or kind in TEMPORAL:
        return [Mistake(where, f"field in {kind}", "it counts rows; leave it out")] if name is not None else []
    if not isinstance(name, str):
        return [Mistake(where, "no field, or several", "name the one column that is measured")]
    if name not in columns:
        return [Mistake(where, f'unknown field "{name}"', nearest(name, columns) or "see the manual of columns")]
    if kind == "value_sum" and not columns[name].adds:
        return [Mistake(where, f"the sum of {name}", "sum a column of bytes, packets or messages")]
    if kind in {"value_avg", *RANKED} and columns[name].holds == "text":
        return [Mistake(where, f"{kind} of {name}, which holds text", "measure a number, or a truth as a share")]
    return []


def _check_sigma(document: Document) -> list[Mistake]:
    """Return what pySigma says of a correlation that looks right to us."""
    from sigma.correlations import SigmaCorrelationRule
    from sigma.exceptions import SigmaError

    plain = dict(document.plain["correlation"])
    if isinstance(plain.get("condition"), dict):
        plain["condition"] = {key: value for key, value in plain["condition"].items() if key != "rows"}
    try:
        SigmaCorrelationRule.from_dict({"title": "-", "correlation": plain})
    except SigmaError as error:
        return [Mistake(document.at("correlation"), str(error), "see docs/rules.md")]
    return []
