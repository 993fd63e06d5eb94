"""A rule document's header: what it must have, what kind of value each part is, and our own parts beside Sigma's.

Our own are `reason` (the sentence of a finding), `subject` (whom a rule without correlation is about), `quiet` (after
which its incident closes), `part_of` (another threshold of the same rule), `unless` (rules that tell the same better),
`wait` (how long they are given to), `absence` (it is about what did not come, which loss makes inconclusive),
`evasion` (how it is evaded) and `cases`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from sensor.errors import Mistake
from sensor.rules import reason
from sensor.rules.columns import kinds, nearest
from sensor.rules.ruleset import Expectation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sensor.rules.documents import Document

_WORDS: Final = ("title", "id", "name", "status", "description", "author", "level", "license")
_OUR_WORDS: Final = ("reason", "evasion", "quiet", "part_of", "wait")
_LISTS: Final = ("tags", "references", "falsepositives", "fields", "unless")
_OTHER: Final = ("date", "modified", "logsource", "detection", "correlation", "related", "taxonomy", "scope", "cases")
_KEYS: Final = (*_WORDS, *_OUR_WORDS, *_LISTS, *_OTHER, "subject", "absence")
_NEEDED: Final = ("title", "name", "level")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_CASE_KEYS: Final = ("capture", "policy", "expect")
_TABLE: Final = "flow_table"
_MOST_REASON: Final = 500
_DAY_NS: Final = 86_400 * 1_000_000_000
_UNITS_NS: Final = {"s": _DAY_NS // 86_400, "m": _DAY_NS // 1440, "h": _DAY_NS // 24, "d": _DAY_NS, "w": 7 * _DAY_NS}
_LONGEST_NS: Final = 31 * _DAY_NS
_DEFAULT_QUIET: Final = "1h"
_ANY: Final = {"outcome": "attempt"}


def span_ns(text: object) -> int | None:
    """Return a timespan such as `60s`, `15m`, `1h`, `1d`, `2w` in ns, or nothing if it is none or beyond 31 days.

    Raises
    ------
    nothing
    """
    found = re.fullmatch(r"(\d{1,7})([smhdw])", text) if isinstance(text, str) else None
    if not found:
        return None
    length = int(found[1]) * _UNITS_NS[found[2]]
    return length if 0 < length <= _LONGEST_NS else None


def check(document: Document, category: str) -> list[Mistake]:
    """Return what is wrong in the header of a document of a category.

    Raises
    ------
    nothing
    """
    plain = document.plain
    found: list[Mistake] = []
    for key in plain:
        hint = nearest(key, _KEYS)
        if key not in _KEYS and hint:  # Sigma allows attributes of anyone's own; one that is nearly ours is a slip
            found.append(Mistake(document.at_key(key), f'unknown key "{key}"', hint))
    found += [
        Mistake(document.at(key), f"{key} is not text", f"write `{key}: …`, in quotes if need be")
        for key in (*_WORDS, *_OUR_WORDS)
        if key in plain and not (isinstance(plain[key], str) and plain[key].strip())
    ]
    found += [
        Mistake(document.at(key), f"{key} is not a list of text", f"write `{key}: [one, two]`")
        for key in (*_LISTS, "subject")
        if key in plain and not _is_list_of_text(plain[key])
    ]
    return found or [*_check_sigma(document), *_check_ours(document, category), *_check_cases(document, category)]


def check_complete(document: Document, *, plain_rule: bool) -> list[Mistake]:
    """Return what a rule that reports lacks.

    Raises
    ------
    nothing
    """
    plain = document.plain
    found = [Mistake(document.at(key), f"no {key}", f"write `{key}: …`") for key in _NEEDED if key not in plain]
    if "subject" in plain and not plain_rule:
        found.append(Mistake(document.at_key("subject"), "subject in a correlation", "its group-by is the subject"))
    return found


def rest(plain: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of a checked header that a rule takes as they are.

    Raises
    ------
    nothing
    """
    tags = _listed(plain.get("tags"))
    return {
        "status": str(plain.get("status", "")),
        "description": str(plain.get("description", "")).strip(),
        "tags": tags,
        "attack": _techniques(tags),
        "falsepositives": _listed(plain.get("falsepositives")),
        "evasion": str(plain.get("evasion", "")).strip(),
        "reason": " ".join(str(plain.get("reason", plain["title"])).split()),
        "quiet_ns": span_ns(plain.get("quiet", _DEFAULT_QUIET)),
        "cases": tuple(_expectation(each) for each in plain.get("cases") or ()),
        "unless": _listed(plain.get("unless")),
        "wait_ns": span_ns(plain.get("wait")) or 0,
        "absence": plain.get("absence", False),
    }


def _check_sigma(document: Document) -> list[Mistake]:
    """Return what pySigma finds in Sigma's own part of the header."""
    from sigma.rule import SigmaRule

    keys = (*_WORDS, *(key for key in _LISTS if key != "unless"), "date", "modified")
    header: dict[str, Any] = {key: document.plain[key] for key in keys if key in document.plain}
    header.setdefault("title", "-")  # whether it is needed depends on who refers to it
    body = {"logsource": {"product": "-"}, "detection": {"any": _ANY, "condition": "any"}}
    errors = SigmaRule.from_dict(header | body, collect_errors=True).errors
    found = []
    for error in errors:
        key = type(error).__name__.removeprefix("Sigma").removesuffix("Error").lower()
        key = {"identifier": "id", "value": "tags", "tag": "tags"}.get(key, key)
        found.append(Mistake(document.at(key), str(error), f"see `{key}` in the Sigma specification"))
    name = document.plain.get("name")
    if name is not None and not _NAME.fullmatch(name):
        found.append(Mistake(document.at("name"), f'name "{name[:80]}"', "small letters, digits, _ and -, at most 64"))
    return found


def _check_ours(document: Document, category: str) -> list[Mistake]:
    plain = document.plain
    columns = kinds(category)
    found = []
    if "quiet" in plain and span_ns(plain["quiet"]) is None:
        found.append(Mistake(document.at("quiet"), f'"{plain["quiet"]}" is no timespan', "write 30s, 15m, 1h, 1d, 2w"))
    if "wait" in plain and ((span_ns(plain["wait"]) or _DAY_NS) >= _DAY_NS or "unless" not in plain):
        right = "write 30s, 2m or 1h, less than a day, and beside it `unless: [name]`"
        found.append(Mistake(document.at("wait"), f'a wait of "{plain["wait"]}"', right))
    if not isinstance(plain.get("absence", False), bool):
        found.append(Mistake(document.at("absence"), f'"{plain["absence"]}"', "absence is true or false"))
    for at, name in enumerate(plain.get("subject", ())):
        if name not in columns:
            hint = nearest(name, columns) or "see the manual of columns"
            found.append(Mistake(document.at("subject", at), f'unknown field "{name}"', hint))
    text = str(plain.get("reason", ""))
    where = document.at("reason")
    if len(text) > _MOST_REASON or reason.stray(text):
        found.append(Mistake(where, "too long, or a brace without its partner", f"at most {_MOST_REASON} characters"))
    known = (*columns, *_aliases(plain), *reason.MEASURED)
    for name, form in reason.places(text):
        if name not in known:
            hint = nearest(name, known) or f"a column, or one of {', '.join(reason.MEASURED)}"
            found.append(Mistake(where, f'unknown placeholder "{name}"', hint))
        elif form not in reason.FORMATS or (form and name in columns and columns[name].holds != "number"):
            forms = ", ".join(each for each in reason.FORMATS if each)
            found.append(Mistake(where, f'"{name}" as "{form}"', f"numbers can be written as {forms}"))
    return found


def _aliases(plain: dict[str, Any]) -> tuple[str, ...]:
    correlation = plain.get("correlation")
    found = correlation.get("aliases", {}) if isinstance(correlation, dict) else {}
    return tuple(map(str, found)) if isinstance(found, dict) else ()


def _check_cases(document: Document, category: str) -> list[Mistake]:
    cases = document.plain.get("cases", [])
    right = "write `- {capture: name, policy: name, expect: 1}`"
    if not isinstance(cases, list):
        return [Mistake(document.at("cases"), "cases is not a list", right)]
    found = []
    for at, case in enumerate(cases):
        where = document.at("cases", at)
        if not isinstance(case, dict) or not {*_CASE_KEYS} <= {*case} <= {*_CASE_KEYS, _TABLE}:
            found.append(Mistake(where, "not a case", right))
            continue
        found += [
            Mistake(document.at("cases", at, key), f'"{case[key]}" is no name', "write a name without path")
            for key in ("capture", "policy")
            if not (isinstance(case[key], str) and _NAME.fullmatch(case[key]))
        ]
        if not isinstance(case.get(_TABLE, 1), int) or isinstance(case.get(_TABLE), bool) or case.get(_TABLE, 1) < 1:
            found.append(Mistake(document.at("cases", at, _TABLE), f'"{case[_TABLE]}"', "write a number of flows"))
        if not _is_expectation(case["expect"], {*kinds(category), *_aliases(document.plain)}):
            where = document.at("cases", at, "expect")
            found.append(Mistake(where, "neither a number nor a list of subjects", "write 1, or [{resp_ip: 10.1.0.5}]"))
    return found


def _is_expectation(plain: Any, columns: set[str]) -> bool:
    if isinstance(plain, list):
        return all(isinstance(each, dict) and set(each) <= columns for each in plain)
    return isinstance(plain, int) and not isinstance(plain, bool) and plain >= 0


def _expectation(case: dict[str, Any]) -> Expectation:
    expect = case["expect"]
    if isinstance(expect, int):
        return Expectation(case["capture"], case["policy"], expect, None, case.get(_TABLE, 0))
    subjects = tuple(tuple(sorted(each.items())) for each in expect)
    return Expectation(case["capture"], case["policy"], len(expect), subjects, case.get(_TABLE, 0))


def _is_list_of_text(plain: Any) -> bool:
    return isinstance(plain, list) and all(isinstance(each, str) for each in plain)


def _listed(plain: Any) -> tuple[str, ...]:
    return tuple(plain) if isinstance(plain, list) else ()


def _techniques(tags: Iterable[str]) -> tuple[str, ...]:
    found = (re.fullmatch(r"attack\.(t\d{4}(?:\.\d{3})?)", tag.lower()) for tag in tags)
    return tuple(each[1].upper() for each in found if each)
