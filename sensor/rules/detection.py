"""The `detection:` of a Sigma rule as a `Clause`: first each part is checked where it stands, then pySigma reads it.

pySigma gives the meaning (modifiers, wildcards, linking, the condition's grammar); the checks before it give every
mistake its address, say what this backend does not do, and bound what a hostile file can ask for. Regular expressions
are RE2's, here and when they run: no backtracking, so no pattern is slow.
"""

from __future__ import annotations

import ipaddress
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from sensor.errors import Mistake
from sensor.rules.columns import Kind, kinds, nearest
from sensor.rules.ruleset import Clause

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensor.rules.documents import Document

_TEXT: Final = frozenset({"contains", "startswith", "endswith", "cased"})
_ORDER: Final = frozenset({"lt", "lte", "gt", "gte"})
_FLAGS: Final = {"i": "i", "ignorecase": "i", "m": "m", "multiline": "m", "s": "s", "dotall": "s"}
_ALONE: Final = frozenset({"re", "cidr", "exists", "fieldref"}) | _ORDER  # one of these says what is compared
_SUPPORTED: Final = _ALONE | _TEXT | set(_FLAGS) | {"all", "neq"}
_MOST_VALUES: Final = 1000
_MOST_TEXT: Final = 512
_MOST_NESTED: Final = 16
_KEYWORDS: Final = frozenset({"and", "or", "not", "of", "1", "any", "all", "them"})
_GRAMMAR: Final = "use names, and, or, not, ( ), 1 of x*, all of x*, 1 of them"


def check(document: Document, category: str) -> list[Mistake]:
    """Return what is wrong in the `detection:` of a document, each with its address.

    Raises
    ------
    nothing
    """
    detection = document.plain.get("detection")
    if not isinstance(detection, dict):
        return [
            Mistake(document.at("detection"), "no detection", "write `detection:` with a selection and a condition")
        ]
    names = [name for name in detection if name != "condition"]
    found: list[Mistake] = []
    if "timeframe" in detection:
        found.append(
            Mistake(document.at_key("detection", "timeframe"), "timeframe", "write a correlation: docs/rules.md")
        )
        names.remove("timeframe")
    if not names:
        found.append(Mistake(document.at("detection"), "no selection", "write e.g. `selection: {verdict: do}`"))
    for name in names:
        found += _check_definition(document, ("detection", name), detection[name], category)
    return found + _check_condition(document, detection.get("condition"), names)


def compile_clause(document: Document, plain: dict[str, Any]) -> Clause | Mistake:
    """Return the condition of a checked document, as pySigma reads it.

    Raises
    ------
    nothing
    """
    from sigma.exceptions import SigmaConditionError, SigmaError
    from sigma.rule.detection import SigmaDetections

    try:
        read = SigmaDetections.from_dict(plain)
        parsed = read.parsed_condition[0].parsed
        return _converted(parsed)
    except SigmaConditionError:
        where = document.at("detection", "condition")
        return Mistake(where, f'the condition "{plain["condition"]}" cannot be read', _GRAMMAR)
    except SigmaError as error:
        return Mistake(document.at("detection"), str(error), "see docs/rules.md")


# --- checks --------------------------------------------------------------------------------------------------------
def _check_condition(document: Document, condition: object, names: list[str]) -> list[Mistake]:
    where = document.at("detection", "condition")
    if not isinstance(condition, str):
        return [Mistake(where, "no condition, or not one line of text", "write e.g. `condition: selection`")]
    depth = deepest = 0
    for sign in condition:
        depth += (sign == "(") - (sign == ")")
        deepest = max(deepest, depth)
    if len(condition) > _MOST_TEXT or deepest > _MOST_NESTED:
        return [Mistake(where, "the condition is too long or too deep", f"at most {_MOST_TEXT} characters")]
    if "|" in condition:
        return [Mistake(where, "a pipe in a condition", "write a correlation: docs/rules.md")]
    tokens = re.findall(r"[\w*-]+", condition)
    found = []
    for before, word in zip(["", *tokens], tokens, strict=False):
        if before == "of":
            if word != "them" and not any(fnmatchcase(name, word) for name in names):
                found.append(Mistake(where, f'no selection matches "{word}"', f"there are: {', '.join(names)}"))
        elif word not in names and word not in _KEYWORDS:
            hint = nearest(word, names) or f"there are: {', '.join(names)}"
            found.append(Mistake(where, f'unknown selection "{word}"', hint))
    return found


def _check_definition(document: Document, path: tuple[str | int, ...], plain: Any, category: str) -> list[Mistake]:
    if isinstance(plain, list) and plain and all(isinstance(each, dict) for each in plain):
        nested = enumerate(plain)
        return [mistake for at, each in nested for mistake in _check_definition(document, (*path, at), each, category)]
    if not isinstance(plain, dict):
        return [Mistake(document.at(*path), "keywords without a field", "name the column: `verdict: tls`")]
    if not plain:
        return [Mistake(document.at(*path), "an empty selection", "write e.g. `verdict: do`")]
    found: list[Mistake] = []
    for key, value in plain.items():
        found += _check_item(document, (*path, key), value, category)
    return found


def _check_item(document: Document, path: tuple[str | int, ...], value: Any, category: str) -> list[Mistake]:
    name, *modifiers = str(path[-1]).split("|")
    where = document.at_key(*path)
    columns = kinds(category)
    if not name:
        return [Mistake(where, "keywords without a field", "name the column: `verdict: tls`")]
    if name not in columns:
        return [Mistake(where, f'unknown field "{name}"', nearest(name, columns) or "see the manual of columns")]
    found = _check_modifiers(where, modifiers, columns[name], name)
    values = value if isinstance(value, list) else [value]
    if not values or len(values) > _MOST_VALUES:
        found.append(Mistake(document.at(*path), f"{len(values)} values", f"1 to {_MOST_VALUES} values"))
    if found:
        return found
    for at, each in enumerate(values[:_MOST_VALUES]):
        wrong = _wrong_value(each, modifiers, name, category)
        if wrong:
            place = (*path, at) if isinstance(value, list) else path
            found.append(Mistake(document.at(*place), *wrong))
    return found


def _check_modifiers(where: str, modifiers: list[str], kind: Kind, name: str) -> list[Mistake]:
    from sigma.modifiers import modifier_mapping

    supported = ", ".join(sorted(_SUPPORTED))
    found = []
    for each in modifiers:
        if each in _SUPPORTED:
            continue
        hint = nearest(each, _SUPPORTED) or f"there are: {supported}"
        known = each in modifier_mapping
        found.append(Mistake(where, f'{"unsupported" if known else "unknown"} modifier "{each}"', hint))
    if found:
        return found
    given = set(modifiers)
    main = given & _ALONE
    if len(main) > 1 or (main and given & _TEXT) or (given & set(_FLAGS) and "re" not in main):
        return [Mistake(where, f"modifiers {', '.join(modifiers)} together", "use one comparison per line")]
    if kind.holds != "text" and given & (_TEXT | {"re"}):
        return [Mistake(where, f"{modifiers[0]} on {name}, which holds a {kind.holds}", "compare its value")]
    if kind.holds != "number" and given & _ORDER:
        return [Mistake(where, f"{modifiers[0]} on {name}, which holds {kind.holds}", "only numbers have an order")]
    if "cidr" in given and not name.endswith("_ip"):
        return [Mistake(where, f"cidr on {name}", "only orig_ip and resp_ip hold addresses")]
    return []


def _wrong_value(value: Any, modifiers: list[str], name: str, category: str) -> tuple[str, str] | None:
    """Return what is wrong with a value and what would be right, or nothing."""
    kind = kinds(category)[name]
    if isinstance(value, str) and len(value) > _MOST_TEXT:
        return f"{len(value)} characters", f"at most {_MOST_TEXT}"
    for modifier, wrong in _WRONG.items():
        if modifier in modifiers:
            return wrong(value, kind, category)
    if value is None and not set(modifiers) & (_ORDER | _TEXT):
        return None
    if kind.holds == "text":
        return _wrong_text(value, modifiers, name, kind)
    if kind.holds == "number":
        return None if _is_number(value) else (_shown(value), f"{name} holds a number")
    return None if isinstance(value, bool) else (_shown(value), f"{name} is true or false")


def _wrong_text(value: Any, modifiers: list[str], name: str, kind: Kind) -> tuple[str, str] | None:
    if not isinstance(value, str):
        return _shown(value), f'{name} holds text; write "{value}" in quotes'
    unusual = set(modifiers) & _TEXT or re.search(r"[*?\\]", value)
    if kind.words and not unusual and value.lower() not in {word.lower() for word in kind.words}:
        return _shown(value), nearest(value, kind.words) or f"{name} is one of {', '.join(kind.words)}"
    return None


def _wrong_network(value: Any, kind: Kind, category: str) -> tuple[str, str] | None:
    del kind, category
    try:
        ipaddress.ip_network(value if isinstance(value, str) else "")
    except ValueError as error:
        return _shown(value), f"write a network such as 10.0.0.0/8 ({error})"
    return None


def _wrong_reference(value: Any, kind: Kind, category: str) -> tuple[str, str] | None:
    columns = kinds(category)
    if value not in columns:
        return f'unknown field "{value}"', nearest(str(value), columns) or "see the manual of columns"
    if columns[value].holds != kind.holds:
        return f"{value} holds {columns[value].holds}", f"compare columns that both hold {kind.holds}"
    return None


def _wrong_existence(value: Any, kind: Kind, category: str) -> tuple[str, str] | None:
    del kind, category
    return None if isinstance(value, bool) else (_shown(value), "exists is true or false")


def _wrong_pattern(value: Any, kind: Kind, category: str) -> tuple[str, str] | None:
    from sigma.exceptions import SigmaRegularExpressionError
    from sigma.types import SigmaRegularExpression

    del kind, category
    if not isinstance(value, str):
        return _shown(value), "a regular expression is text"
    try:
        SigmaRegularExpression(value)
    except SigmaRegularExpressionError as error:
        return str(error), "write it as RE2 does: no look-around, no back-references"
    return None


_WRONG: Final[dict[str, Callable[[Any, Kind, str], tuple[str, str] | None]]] = {
    "cidr": _wrong_network,
    "fieldref": _wrong_reference,
    "exists": _wrong_existence,
    "re": _wrong_pattern,
}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**63


def _shown(value: Any) -> str:
    return f'"{str(value)[:60]}"'


# --- conversion ----------------------------------------------------------------------------------------------------
def _converted(item: Any) -> Clause:
    from sigma import conditions

    links = {conditions.ConditionAND: "and", conditions.ConditionOR: "or", conditions.ConditionNOT: "not"}
    for kind, op in links.items():
        if isinstance(item, kind):
            return Clause(op, parts=tuple(_converted(each) for each in item.args))
    return _compared(item.field, item.value)


def _compared(column: str, value: Any) -> Clause:
    from sigma import types

    ways: list[tuple[type, Callable[[Any], Clause]]] = [
        (types.SigmaString, lambda each: _text(column, each, cased=isinstance(each, types.SigmaCasedString))),
        (types.SigmaNumber, lambda each: Clause("equal", column, each.number)),
        (types.SigmaBool, lambda each: Clause("equal", column, each.boolean)),
        (types.SigmaNull, lambda _: Clause("null", column)),
        (types.SigmaExists, lambda each: Clause("exists", column, bool(each))),
        (
            types.SigmaRegularExpression,
            lambda each: Clause("re", column, each.escape((), "", escape_escape_char=False)),
        ),
        (types.SigmaCIDRExpression, lambda each: Clause("cidr", column, str(each.network))),
        (types.SigmaCompareExpression, lambda each: Clause(each.op.name.lower(), column, each.number.number)),
        (types.SigmaFieldReference, lambda each: Clause("same", column, each.field)),
    ]
    return next(way(value) for kind, way in ways if isinstance(value, kind))


def _text(column: str, value: Any, *, cased: bool) -> Clause:
    if not value.contains_special():
        plain = "".join(value.s)
        return Clause("is_cased", column, plain) if cased else Clause("is", column, plain.lower())
    from sigma.types import SpecialChars

    wild = {SpecialChars.WILDCARD_MULTI: ".*", SpecialChars.WILDCARD_SINGLE: "."}
    pattern = "".join(wild[part] if isinstance(part, SpecialChars) else re.escape(part) for part in value.s)
    return Clause("re", column, f"(?{'s' if cased else 'is'})\\A{pattern}\\z")
