"""Rule files into a `RuleSet`: Sigma rules and correlations; every mistake in them at once, with its address."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from sensor.errors import Mistake, OperatorError
from sensor.rules import correlation, detection, documents, header
from sensor.rules.columns import CATEGORIES, PLANNED, nearest
from sensor.rules.ruleset import Clause, Measure, Rule, RuleSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from sensor.rules.documents import Document

_MOST_FILES: Final = 2000
_SUFFIXES: Final = (".yml", ".yaml")
_DEFAULT_SUBJECT: Final = {"activity": ("orig_ip", "resp_ip"), "flow": ("orig_ip", "resp_ip"), "span": ("site",)}


@dataclass(frozen=True, slots=True)
class _Part:
    """A document on its way to a rule: a condition, or a correlation that refers to conditions."""

    document: Document
    category: str
    condition: Clause | None
    correlation: correlation.Correlation | None

    @property
    def name(self) -> str:
        return str(self.document.plain.get("name", ""))

    @property
    def id(self) -> str:
        return str(self.document.plain.get("id", "")).lower()

    @property
    def extends(self) -> str:
        return str(self.document.plain.get("part_of", ""))


def load(paths: Sequence[Path]) -> RuleSet:
    """Return the rules of files and folders, in the order of file names and of documents in a file.

    A folder gives every `*.yml` and `*.yaml` below it. Rule files are data: nothing in them is run.

    Raises
    ------
    OperatorError
        With every mistake in every file.
    """
    mistakes: list[Mistake] = []
    written: list[Document] = []
    files: dict[str, str] = {}
    for label, path in _files(paths, mistakes):
        try:
            with path.open("rb") as file:
                raw = file.read(documents.MOST_BYTES + 1)
        except OSError as error:
            mistakes.append(Mistake(str(path), error.strerror or "cannot be read", "name a readable file"))
            continue
        files[label if label not in files else str(path)] = hashlib.sha256(raw).hexdigest()
        found, wrong = documents.read(str(path), raw)
        mistakes += wrong
        if not found and not wrong:
            mistakes.append(Mistake(str(path), "no rule in this file", "write one: docs/rules.md"))
        written += found
    known = _categories(written)
    parts = [_read(document, known, mistakes) for document in written]
    mistakes += _doubles(parts)
    rules = _linked(parts, mistakes)
    if not mistakes and not rules:
        mistakes.append(Mistake(", ".join(map(str, paths)), "no rule that reports", "name a rule file or a folder"))
    if mistakes:
        raise OperatorError(*mistakes)
    return RuleSet(tuple(rules), files)


def _files(paths: Iterable[Path], mistakes: list[Mistake]) -> list[tuple[str, Path]]:
    found: list[tuple[str, Path]] = []
    for path in paths:
        if not path.is_dir():
            if path.is_file():
                found.append((path.name, path))
            else:
                mistakes.append(Mistake(str(path), "no such file or folder", "name a rule file or a folder of rules"))
            continue
        # Beside ours lie the rules of Prometheus, which are YAML too and not Sigma.
        ours = (each for each in path.rglob("*") if "prometheus" not in each.relative_to(path).parts)
        below = sorted(each for each in ours if each.suffix in _SUFFIXES and each.is_file())
        if not below:
            mistakes.append(Mistake(str(path), "a folder without rules", "rule files end in .yml"))
        if len(below) > _MOST_FILES:
            mistakes.append(Mistake(str(path), f"{len(below)} rule files", f"at most {_MOST_FILES}"))
        found += [(each.relative_to(path).as_posix(), each) for each in below[:_MOST_FILES]]
    return found


def _categories(written: Iterable[Document]) -> dict[str, str]:
    """Return the category of each rule that has one of its own, by name and id."""
    found = {}
    for document in written:
        if "correlation" not in document.plain:
            category, _ = _category(document)
            for key in ("name", "id"):
                if isinstance(document.plain.get(key), str):
                    found[document.plain[key]] = category
    return found


def _read(document: Document, known: dict[str, str], mistakes: list[Mistake]) -> _Part:
    """Return a document as far as it can be read, adding its mistakes; `known` are the categories of all rules."""
    plain = document.plain
    if "correlation" in plain:
        category = _correlated(plain["correlation"], known)
        mistakes += header.check(document, category)
        read, wrong = correlation.check(document, category)
        mistakes += wrong
        return _Part(document, category, None, read)
    category, wrong = _category(document)
    mistakes += [*header.check(document, category), *wrong]
    wrong = detection.check(document, category)
    mistakes += wrong
    made = None if wrong else detection.compile_clause(document, plain["detection"])
    if isinstance(made, Mistake):
        mistakes.append(made)
        made = None
    return _Part(document, category, made, None)


def _correlated(plain: object, known: dict[str, str]) -> str:
    """Return the category of the rules that a correlation refers to."""
    rules = plain.get("rules", ()) if isinstance(plain, dict) else ()
    named = [rules] if isinstance(rules, str) else rules
    found = (known[each] for each in named if isinstance(each, str) and each in known)
    return next(found, next(iter(CATEGORIES)))


def _category(document: Document) -> tuple[str, list[Mistake]]:
    source = document.plain.get("logsource")
    right = "write `logsource: {product: swarmtap, category: activity}`"
    default = next(iter(CATEGORIES))
    if not isinstance(source, dict):
        return default, [Mistake(document.at("logsource"), "no logsource", right)]
    if source.get("product") != "swarmtap":
        return default, [Mistake(document.at("logsource", "product"), f'product "{source.get("product")}"', right)]
    category = str(source.get("category"))
    if category not in CATEGORIES:
        read = f'category "{category}"' + (" is not judged yet" if category in PLANNED else "")
        return default, [Mistake(document.at("logsource", "category"), read, right)]
    return category, []


def _doubles(parts: Iterable[_Part]) -> list[Mistake]:
    first: dict[tuple[str, str], str] = {}
    found = []
    for part in parts:
        for key, value in (("name", part.name), ("id", part.id)):
            if not value:
                continue
            where = part.document.at(key)
            other = first.setdefault((key, value), where)
            if other != where:
                found.append(Mistake(where, f'{key} "{value}" twice', f"it is already at {other}"))
    return found


# --- from documents to rules ---------------------------------------------------------------------------------------
def _linked(parts: list[_Part], mistakes: list[Mistake]) -> list[Rule]:
    """Return the rules that report, their correlations joined to the conditions they refer to."""
    known = {key: part for part in parts for key in (part.name, part.id) if key}
    names = [part.name for part in parts if part.name]
    hidden: set[int] = set()
    bases: dict[int, list[_Part]] = {}
    for part in parts:
        if part.correlation is None:
            continue
        bases[id(part)] = _referred(part, known, names, mistakes)
        if not part.correlation.generate:
            hidden |= {id(each) for each in bases[id(part)]}
    extensions: dict[int, list[_Part]] = {}
    for part in parts:
        if part.extends:
            owner = _owner(part, known, bases, mistakes)
            if owner is not None:
                extensions.setdefault(id(owner), []).append(part)
    reporting = [part for part in parts if id(part) not in hidden and not part.extends]
    mistakes += [
        Mistake(part.document.at("unless", at), f'unknown rule "{name}"', nearest(name, names) or "name a rule here")
        for part in reporting
        for at, name in enumerate(part.document.plain.get("unless", ()))
        if name not in names and len(reporting) > 1
    ]
    for part in reporting:
        mistakes += header.check_complete(part.document, plain_rule=part.correlation is None)
    return (
        [] if mistakes else [_rule(part, bases.get(id(part), []), extensions.get(id(part), [])) for part in reporting]
    )


def _referred(part: _Part, known: dict[str, _Part], names: list[str], mistakes: list[Mistake]) -> list[_Part]:
    found = []
    for name in part.correlation.rules if part.correlation else ():
        where = part.document.at("correlation", "rules")
        base = known.get(name) or known.get(name.lower())
        if base is None:
            mistakes.append(
                Mistake(where, f'unknown rule "{name}"', nearest(name, names) or "name a rule in these files")
            )
        elif base.correlation is not None:
            mistakes.append(Mistake(where, f'"{name}" is a correlation', "correlate rules that have a detection"))
        elif base.category != part.category:
            read = f'"{name}" is of category {base.category}, others are of {part.category}'
            mistakes.append(Mistake(where, read, "correlate rules of one category"))
        else:
            found.append(base)
    return found


def _owner(
    part: _Part, known: dict[str, _Part], bases: dict[int, list[_Part]], mistakes: list[Mistake]
) -> _Part | None:
    where = part.document.at("part_of")
    owner = known.get(part.extends)
    if owner is None or owner is part or owner.extends:
        mistakes.append(Mistake(where, f'part of unknown rule "{part.extends}"', "name a correlation that reports"))
        return None
    if part.correlation is None or owner.correlation is None:
        mistakes.append(Mistake(where, "part_of joins two correlations", "write a correlation"))
        return None
    same_rows = [id(each) for each in bases[id(part)]] == [id(each) for each in bases[id(owner)]]
    same_subject = part.correlation.group_by == owner.correlation.group_by
    if not same_rows or not same_subject or part.correlation.aliases != owner.correlation.aliases:
        mistakes.append(
            Mistake(where, "other rules or group-by than its owner", "count the same rows of the same subject")
        )
        return None
    return owner


def _rule(part: _Part, bases: list[_Part], extensions: list[_Part]) -> Rule:
    plain = part.document.plain
    measures: tuple[Measure, ...] = ()
    if part.correlation is None:
        clauses = [part.condition]
        subject = tuple(plain.get("subject", _DEFAULT_SUBJECT[part.category]))
    else:
        clauses = [base.condition for base in bases]
        subject = part.correlation.group_by
        measures = tuple(each.correlation.measure for each in (part, *extensions) if each.correlation)
    whole = tuple(clause for clause in clauses if clause is not None)
    aliases = part.correlation.aliases if part.correlation else ()
    told_apart = aliases or any(measure.kind in correlation.TEMPORAL for measure in measures)
    return Rule(
        name=part.name,
        title=str(plain["title"]),
        level=str(plain["level"]).lower(),
        condition=whole[0] if len(whole) == 1 else Clause("or", parts=whole),
        subject=subject,
        measures=measures,
        category=part.category,
        parts=whole if told_apart else (),
        aliases=aliases,
        id=str(UUID(part.id)) if part.id else "",
        **header.rest(plain),
        where=part.document.at_key("title"),
    )
