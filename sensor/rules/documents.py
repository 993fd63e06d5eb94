"""A rule file's YAML as plain documents that know the line and column of each of their parts.

A rule file can come from anywhere, so it is measured before it is read: size, nesting and number of nodes are bounded,
anchors and aliases (which can blow up) are refused, and only plain YAML types are built.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, TypeGuard

import yaml

from sensor.errors import Mistake

MOST_BYTES: Final = 256 * 1024
MOST_NODES: Final = 20_000
MOST_DEPTH: Final = 32
MOST_DOCUMENTS: Final = 256
_PLAIN_TAGS: Final = ("tag:yaml.org,2002:seq", "tag:yaml.org,2002:map")
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Path = tuple[str | int, ...]


@dataclass(slots=True)
class Document:
    """One YAML document: its plain content, and where each part of it is written."""

    file: str
    plain: dict[str, Any]
    line: int
    _keys: dict[Path, tuple[int, int]] = field(default_factory=dict)
    _values: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def at(self, *path: str | int) -> str:
        """Return `file:line:col` of a value, or of the nearest part around it that is written."""
        return self._where(self._values, path)

    def at_key(self, *path: str | int) -> str:
        """Return `file:line:col` of a key, or of the nearest part around it that is written."""
        return self._where(self._keys, path)

    def _where(self, marks: dict[Path, tuple[int, int]], path: Path) -> str:
        while path:
            for known in (marks, self._keys):
                if path in known:
                    line, column = known[path]
                    return f"{self.file}:{line}:{column}"
            path = path[:-1]
        return f"{self.file}:{self.line}:1"


def read(file: str, raw: bytes) -> tuple[list[Document], list[Mistake]]:
    """Return the documents of a rule file, and what is wrong with it as YAML.

    Raises
    ------
    nothing
    """
    if len(raw) > MOST_BYTES:
        return [], [Mistake(file, f"{len(raw)} bytes", f"a rule file has at most {MOST_BYTES} bytes")]
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return [], [Mistake(file, f"byte {error.start} is not UTF-8", "save the file as UTF-8")]
    try:
        mistake = _measured(file, text)
        nodes = [] if mistake else [node for node in yaml.compose_all(text, Loader=_LOADER) if node is not None]
    except yaml.YAMLError as error:
        return [], [_broken(file, error)]
    if mistake:
        return [], [mistake]
    return _documents(file, nodes)


def _measured(file: str, text: str) -> Mistake | None:
    """Return why the text is not safe to build: this reads events only, so nothing grows."""
    depth = nodes = documents = 0
    for event in yaml.parse(text, Loader=_LOADER):
        mark = event.start_mark
        where = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else file
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        nodes += isinstance(event, yaml.NodeEvent)
        documents += isinstance(event, yaml.DocumentStartEvent)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            return Mistake(where, "an anchor or alias", "write the value out")
        if depth > MOST_DEPTH:
            return Mistake(where, "nested too deeply", f"at most {MOST_DEPTH} levels")
        if nodes > MOST_NODES or documents > MOST_DOCUMENTS:
            return Mistake(where, "too large", f"at most {MOST_NODES} values and {MOST_DOCUMENTS} rules in a file")
    return None


def _broken(file: str, error: yaml.YAMLError) -> Mistake:
    mark = getattr(error, "problem_mark", None)
    where = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark is not None else file
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return Mistake(where, f"not YAML: {problem}", "mend the syntax")


def _documents(file: str, nodes: list[yaml.Node]) -> tuple[list[Document], list[Mistake]]:
    found: list[Document] = []
    mistakes: list[Mistake] = []
    for node in nodes:
        if isinstance(node, yaml.ScalarNode) and not node.value:
            continue  # nothing after a trailing `---`
        document = Document(file, {}, node.start_mark.line + 1)
        try:
            plain = _plain(node, document, (), mistakes)
        except yaml.YAMLError as error:
            mistakes.append(_broken(file, error))
            continue
        if _is_mapping(plain):
            document.plain = plain
            found.append(document)
        else:
            mistakes.append(Mistake(f"{file}:{document.line}:1", "not a mapping", "a rule is `title: …` and so on"))
    return found, mistakes


def _plain(node: yaml.Node, document: Document, path: Path, mistakes: list[Mistake]) -> Any:
    document._values[path] = (node.start_mark.line + 1, node.start_mark.column + 1)  # noqa: SLF001 - builds it
    if isinstance(node, yaml.CollectionNode) and node.tag not in _PLAIN_TAGS:
        where = f"{document.file}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"
        mistakes.append(Mistake(where, f'the tag "{node.tag}"', "write plain lists and mappings"))
    if isinstance(node, yaml.SequenceNode):
        return [_plain(each, document, (*path, at), mistakes) for at, each in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return _scalar(node, mistakes, document.file)
    made: dict[str, Any] = {}
    for key_node, value_node in node.value:
        mark = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        where = f"{document.file}:{mark[0]}:{mark[1]}"
        if not isinstance(key_node, yaml.ScalarNode):
            mistakes.append(Mistake(where, "a key that is not text", "write a word and a colon"))
            continue
        key = str(key_node.value)
        if key in made:
            mistakes.append(Mistake(where, f'key "{key}" twice', "keep one of them"))
            continue
        document._keys[(*path, key)] = mark  # noqa: SLF001 - builds it
        made[key] = _plain(value_node, document, (*path, key), mistakes)
    return made


def _scalar(node: yaml.Node, mistakes: list[Mistake], file: str) -> Any:
    try:
        return yaml.constructor.SafeConstructor().construct_document(node)
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        where = f"{file}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"
        mistakes.append(Mistake(where, f"a value that cannot be read: {problem}", "write plain text or a number"))
        return None


def _is_mapping(plain: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(plain, dict)
