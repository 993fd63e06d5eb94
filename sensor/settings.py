"""`policy.yaml` and its inventory to one frozen Policy; every mistake at once, each with its file, line and column.

The YAML is read as a tree of nodes, never as values: a scalar is the text that stands there, so `20:00` is not a
number, `no` is not false and `010` is not eight. Anchors, tags and second documents are refused; a policy needs none.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast

import yaml

from sensor import calendars
from sensor.errors import Mistake, OperatorError
from sensor.intervals import (
    check_times,
    expand_patch_tuesday,
    read_days,
    read_hours,
    read_months,
    read_patch_days,
    read_start,
    read_time,
    read_weekdays,
    read_years,
)
from sensor.inventory import read_inventory
from sensor.policy import DEFAULT_POLICY, PRIVATE, UNKNOWN_SITE, Exemption, Peering, Policy, Site, TimeInterval
from sensor.schedule import evaluate
from sensor.values import (
    MISTAKES_SHOWN,
    UnreadableError,
    one_of,
    quote,
    read_expires,
    read_file,
    read_grace,
    read_name,
    read_network,
    read_size,
    read_text,
    read_timezone,
    suggest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sensor.policy import Endpoint, Network

T = TypeVar("T")
U = TypeVar("U")

_POLICY_BYTES: Final = 1 << 20
_DEPTH: Final = 12
_YEAR_NS: Final = 365 * 86_400 * 1_000_000_000
_NEVER_YEARS: Final = 40  # the calendar repeats after 28
_NULL: Final = "tag:yaml.org,2002:null"

_ALLOWS: Final = ("off_window", "disabled", "site_pair", "internet", "other")
_PEERINGS: Final = ("disabled", "scheduled", "allowed")
_PEERS: Final = ("same_subnet", "same_site", "any")


def load_policy(path: Path | None) -> Policy:
    """Read the operator's policy; without one, every private network is one site that may peer at any time.

    Raises
    ------
    OperatorError
        All mistakes of the policy and its inventory, in the order of their lines.
    """
    return DEFAULT_POLICY if path is None else _Reading(path).policy


def warnings(path: Path, now_ns: int | None = None) -> list[Mistake]:
    """Return what is allowed in a policy but hardly meant, in the order of its lines.

    Raises
    ------
    OperatorError
        As `load_policy`.
    """
    return _Reading(path).warn(time.time_ns() if now_ns is None else now_ns)


# --- the tree ------------------------------------------------------------------------------------------------------
class _Loader(yaml.SafeLoader):
    """YAML's own composer, but for what a policy has no use for and an attacker has."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise yaml.MarkedYAMLError(problem="an anchor or alias", problem_mark=mark, note="write the value out")
        if getattr(event, "tag", None) is not None:
            raise yaml.MarkedYAMLError(problem=f"the tag {quote(event.tag)}", problem_mark=mark, note="leave it out")
        self.depth += 1
        if self.depth > _DEPTH:
            raise yaml.MarkedYAMLError(
                problem="brackets in too many brackets", problem_mark=mark, note="nothing here is that deep"
            )
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


# What PyYAML says, and what an operator can do about it.
_SYNTAX: Final = {
    "found character '\\t'": ("a tab", "indent with blanks"),
    "mapping values are not allowed here": ("a colon where none can be", "quote the text, or mend the indentation"),
    "could not find expected ':'": ("a line without a colon", "write key: value"),
    "expected <block end>": ("a line at an unexpected indentation", "align it with its neighbours"),
    "but found another document": ("a second document", "a policy is one document"),
    "expected ',' or": ("brackets that are not closed", "close them, or put a comma between"),
    "found unexpected end of stream": ("quotes that are not closed", "close them"),
    "found undefined alias": ("an anchor or alias", "write the value out"),
}


@dataclass(slots=True)
class _Page:
    """A YAML file as it is read: its name, and the mistakes found so far with their lines and columns."""

    name: str
    mistakes: list[tuple[int, int, Mistake]] = field(default_factory=list)

    def at(self, mark: yaml.Mark) -> str:
        return f"{self.name}:{mark.line + 1}:{mark.column + 1}"

    def wrong(self, node: yaml.Node, read: str, right: str = "") -> None:
        mark = node.start_mark
        self.mistakes.append((mark.line, mark.column, Mistake(self.at(mark), read, right)))
        if len(self.mistakes) >= MISTAKES_SHOWN:
            raise OperatorError(*self.ordered())

    def ordered(self) -> list[Mistake]:
        """Return the mistakes in the order of their lines."""
        return [mistake for _, _, mistake in sorted(self.mistakes, key=lambda one: one[:2])]

    def compose(self, data: bytes) -> yaml.Node:
        """Return the tree of the file's only document."""
        try:
            root = _Loader(self._decode(data)).get_single_node()
        except yaml.MarkedYAMLError as bad:
            mark = bad.problem_mark or bad.context_mark
            where = self.at(mark) if mark else self.name
            problem = bad.problem or bad.context or ""
            right = bad.note or ""
            for phrase, said in _SYNTAX.items():
                if phrase in problem:
                    problem, right = said
            raise OperatorError(Mistake(where, problem, right or "this is not YAML")) from None
        except (ValueError, OverflowError):
            # PyYAML's scanner hands an escape like "\\UFFFFFFFF" to chr() as it is.
            raise OperatorError(
                Mistake(self.name, "an escape that is no character", "write the character itself")
            ) from None
        if root is None:
            raise OperatorError(Mistake(self.name, "the file is empty", "write at least version: 1 and one site"))
        return root

    def _decode(self, data: bytes) -> str:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as bad:
            raise self._character(
                data[: bad.start].decode("utf-8-sig"), "a byte that is not UTF-8", "save the file as UTF-8"
            ) from None
        found = yaml.reader.Reader.NON_PRINTABLE.search(text)
        if found:
            raise self._character(text[: found.start()], f"the character {quote(found[0])}", "delete it")
        return text

    def _character(self, before: str, read: str, right: str) -> OperatorError:
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
        return OperatorError(Mistake(f"{self.name}:{line}:{column}", read, right))

    def keys(
        self, node: yaml.Node, what: str, known: Sequence[str], needed: Sequence[str] = ()
    ) -> dict[str, yaml.Node]:
        """Return a mapping's values by key; unknown, repeated and missing keys are mistakes."""
        if not isinstance(node, yaml.MappingNode):
            self.wrong(node, f"{_kind(node)} where {what} belongs", f"write {', '.join(needed or known)} as key: value")
            return {}
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            if name not in known:
                self.wrong(key, f"unknown key {quote(name)} in {what}", suggest(name, known))
            elif name in found:
                self.wrong(key, f"{quote(name)} a second time in {what}", "say it once")
            else:
                found[name] = value
        missing = [name for name in needed if name not in found]
        if missing:
            self.wrong(node, f"{what} without {', '.join(missing)}", "add it" if len(missing) == 1 else "add them")
        return found

    def items(self, node: yaml.Node | None, what: str, *, may_be_empty: bool = False) -> list[yaml.Node]:
        """Return a list's items, none if the key is absent; anything else is a mistake, and so is an empty list."""
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            example = (
                f"write [{quote(node.value)[1:-1]}]"
                if isinstance(node, yaml.ScalarNode) and node.value
                else "write a list"
            )
            self.wrong(node, f"{_kind(node)} where a list of {what} belongs", example)
            return []
        if not node.value and not may_be_empty:
            self.wrong(node, f"an empty list of {what}", "fill it, or leave the key out")
        return list(node.value)

    def value(self, node: yaml.Node | None, read: Callable[[str], T], otherwise: U) -> T | U:
        """Return what a scalar's text says; `otherwise` if the key is absent or the text is a mistake."""
        if node is None:
            return otherwise
        if not isinstance(node, yaml.ScalarNode):
            self.wrong(node, f"{_kind(node)} where one value belongs")
            return otherwise
        if node.tag == _NULL and node.style is None:
            self.wrong(node, "nothing is written here", "write a value, or leave the key out")
            return otherwise
        try:
            return read(node.value)
        except UnreadableError as bad:
            self.wrong(node, bad.read, bad.right)
            return otherwise

    def values(
        self, node: yaml.Node | None, what: str, read: Callable[[str], T], *, may_be_empty: bool = False
    ) -> tuple[T, ...]:
        """Return what a list of scalars says."""
        found = (self.value(item, read, None) for item in self.items(node, what, may_be_empty=may_be_empty))
        return tuple(value for value in found if value is not None)


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return quote(node.value) if node.value else "nothing"


# --- policy.yaml ---------------------------------------------------------------------------------------------------
class _Reading:
    """One reading of a policy: the Policy it says, and the nodes that warnings point at."""

    def __init__(self, path: Path) -> None:
        data = read_file(path, _POLICY_BYTES, "a policy file")
        self.page = _Page(str(path))
        self.interval_nodes: dict[str, yaml.Node] = {}
        self.site_nodes: dict[str, yaml.Node] = {}
        self.exemption_nodes: list[yaml.Node] = []
        self.items: dict[str, tuple[list[yaml.Node], list[TimeInterval]]] = {}
        self.prefixes: dict[Network, str] = {}
        self.elsewhere: list[Mistake] = []
        self.folder = path.parent

        known = ("version", "time_intervals", "sites", "endpoints", "exceptions", "capture")
        top = self.page.keys(self.page.compose(data), "the policy", known, ("version", "sites"))
        self.page.value(top.get("version"), one_of(("1",), "version"), "1")
        intervals = self._intervals(top.get("time_intervals"))
        sites = self._sites(top.get("sites"), intervals)
        exemptions = self._exemptions(top.get("exceptions"), [site.name for site in sites])
        local = self._capture(top.get("capture"))
        endpoints: tuple[Endpoint, ...] = ()
        inventory = self.page.value(top.get("endpoints"), read_text, "")
        if inventory:
            try:
                endpoints = read_inventory(path.parent / inventory)
            except OperatorError as bad:
                self.elsewhere += bad.mistakes
        if self.page.mistakes or self.elsewhere:
            raise OperatorError(*self.page.ordered(), *self.elsewhere)
        digest = hashlib.sha256(data).hexdigest()
        self.policy = Policy(sites, intervals, exemptions, endpoints, local, source=str(path), sha256=digest)

    def _capture(self, node: yaml.Node | None) -> tuple[Network, ...]:
        if node is None:
            return PRIVATE
        capture = self.page.keys(node, "capture", ("local",), ("local",))
        return self.page.values(capture.get("local"), "prefixes", read_network)

    # time intervals
    def _intervals(self, node: yaml.Node | None) -> dict[str, tuple[TimeInterval, ...]]:
        found: dict[str, tuple[TimeInterval, ...]] = {}
        for item in self.page.items(node, "time intervals", may_be_empty=True):
            known = ("name", "time_intervals", "patch_tuesday", "ics", "location")
            keys = self.page.keys(item, "a time interval", known, ("name",))
            name = self.page.value(keys.get("name"), read_text, "")
            if name and name in self.interval_nodes:
                self.page.wrong(keys["name"], f"time interval {quote(name)} a second time", "give each its own name")
            given = [key for key in ("time_intervals", "patch_tuesday", "ics") if key in keys]
            if keys and len(given) != 1:
                read = " and ".join(given) or "a name without times"
                self.page.wrong(item, read, "write either time_intervals, patch_tuesday or ics")
            if "location" in keys and "ics" not in keys:
                self.page.wrong(keys["location"], "location beside no ics", "write it in each item")
            self.interval_nodes.setdefault(name, keys.get("name", item))
            found.setdefault(name, ())
            if "ics" in keys:
                found[name] = self._calendar(keys)
            elif "patch_tuesday" in keys:
                found[name] = self._patch_tuesday(keys["patch_tuesday"])
            elif "time_intervals" in keys:
                nodes = self.page.items(keys["time_intervals"], "time intervals")
                found[name] = tuple(self._interval(one) for one in nodes)
                self.items[name] = (nodes, list(found[name]))
        return found

    def _calendar(self, keys: dict[str, yaml.Node]) -> tuple[TimeInterval, ...]:
        name = self.page.value(keys.get("ics"), read_text, "")
        location = self.page.value(keys.get("location"), read_timezone, None)
        if not name:
            return ()
        try:
            return (TimeInterval(imported=calendars.read(self.folder / name, location or "UTC")),)
        except OperatorError as bad:
            self.elsewhere += bad.mistakes
            return ()

    def _interval(self, node: yaml.Node) -> TimeInterval:
        page = self.page
        known = ("times", "weekdays", "days_of_month", "months", "years", "location")
        keys = page.keys(node, "a time interval's item", known)
        return TimeInterval(
            times=tuple(one for item in page.items(keys.get("times"), "times") for one in self._times(item)),
            weekdays=page.values(keys.get("weekdays"), "weekdays", read_weekdays),
            days_of_month=page.values(keys.get("days_of_month"), "days", read_days),
            months=page.values(keys.get("months"), "months", read_months),
            years=page.values(keys.get("years"), "years", read_years),
            location=page.value(keys.get("location"), read_timezone, None),
        )

    def _times(self, node: yaml.Node) -> tuple[tuple[int, int], ...]:
        keys = self.page.keys(node, "times", ("start_time", "end_time"), ("start_time", "end_time"))
        start = self.page.value(keys.get("start_time"), read_time, -1)
        end = self.page.value(keys.get("end_time"), read_time, -1)
        if start < 0 or end < 0:
            return ()
        try:
            check_times(start, end)
        except UnreadableError as bad:
            self.page.wrong(keys["start_time"], bad.read, bad.right)
        return ((start, end),)

    def _patch_tuesday(self, node: yaml.Node) -> tuple[TimeInterval, ...]:
        page = self.page
        keys = page.keys(node, "patch_tuesday", ("days", "start", "hours", "location"), ("days", "start", "hours"))
        days = page.value(keys.get("days"), read_patch_days, (-1, -1))
        start = page.value(keys.get("start"), read_start, -1)
        hours = page.value(keys.get("hours"), read_hours, -1)
        location = page.value(keys.get("location"), read_timezone, None)
        if min(days[0], start, hours) < 0:
            return ()
        try:
            return expand_patch_tuesday(days, start, hours, location)
        except UnreadableError as bad:
            page.wrong(node, bad.read, bad.right)
            return ()

    # sites
    def _sites(self, node: yaml.Node | None, intervals: dict[str, tuple[TimeInterval, ...]]) -> tuple[Site, ...]:
        nodes = self.page.items(node, "sites")
        named = [(one, self._site(one, intervals)) for one in nodes]
        names = [site.name for _, site in named]
        return tuple(replace(site, peers=self._peers(one, names)) for one, site in named)

    def _site(self, node: yaml.Node, intervals: dict[str, tuple[TimeInterval, ...]]) -> Site:
        page = self.page
        known = ("name", "subnets", "timezone", "peering", "update_windows", "exclude", "grace", "peers", "limits")
        keys = page.keys(node, "a site", known, ("name", "subnets"))
        name = page.value(keys.get("name"), read_name, "")
        if name in self.site_nodes:
            page.wrong(keys["name"], f"site {quote(name)} a second time", "give each its own name")
        elif name:
            self.site_nodes[name] = node
        grace = page.keys(keys["grace"], "grace", ("before", "after")) if "grace" in keys else {}
        limits = page.keys(keys["limits"], "limits", ("hourly", "daily")) if "limits" in keys else {}
        read_interval = one_of(tuple(intervals), "time interval")
        return Site(
            name=name,
            subnets=self._subnets(keys.get("subnets")),
            timezone=page.value(keys.get("timezone"), read_timezone, "UTC"),
            peering=cast("Peering", page.value(keys.get("peering"), one_of(_PEERINGS, "peering"), "scheduled")),
            update_windows=page.values(keys.get("update_windows"), "time intervals", read_interval, may_be_empty=True),
            exclude=page.values(keys.get("exclude"), "time intervals", read_interval, may_be_empty=True),
            grace_before_s=page.value(grace.get("before"), read_grace, 0),
            grace_after_s=page.value(grace.get("after"), read_grace, 0),
            hourly_bytes=page.value(limits.get("hourly"), read_size, None),
            daily_bytes=page.value(limits.get("daily"), read_size, None),
        )

    def _subnets(self, node: yaml.Node | None) -> tuple[Network, ...]:
        found = []
        for item in self.page.items(node, "prefixes"):
            network = self.page.value(item, read_network, None)
            if network is None:
                continue
            here = self.page.at(item.start_mark)
            there = self.prefixes.setdefault(network, here)
            if there != here:
                self.page.wrong(item, f"{network} is already at {there}", "a prefix belongs to one site")
            found.append(network)
        return tuple(found)

    def _peers(
        self, node: yaml.Node, names: Sequence[str]
    ) -> Literal["same_subnet", "same_site", "any"] | tuple[str, ...]:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        peers = next((value for key, value in pairs if key.value == "peers"), None)
        if isinstance(peers, yaml.SequenceNode):
            return self.page.values(peers, "sites", one_of(names, "site"))
        if isinstance(peers, yaml.ScalarNode) and peers.value in names and peers.value not in _PEERS:
            self.page.wrong(peers, f"{quote(peers.value)} where a list of sites belongs", f"write [{peers.value}]")
            return ()
        read = one_of((*_PEERS, "[list of sites]"), "peers")
        return cast('Literal["same_subnet", "same_site", "any"]', self.page.value(peers, read, "same_site"))

    # exceptions
    def _exemptions(self, node: yaml.Node | None, sites: Sequence[str]) -> tuple[Exemption, ...]:
        self.exemption_nodes = self.page.items(node, "exceptions", may_be_empty=True)
        found: dict[str, Exemption] = {}
        for item in self.exemption_nodes:
            exemption = self._exemption(item, sites)
            if exemption.id in found:
                self.page.wrong(item, f"exception {quote(exemption.id)} a second time", "give each its own id")
            if exemption.id:
                found[exemption.id] = exemption
        return tuple(found.values())

    def _exemption(self, node: yaml.Node, sites: Sequence[str]) -> Exemption:
        page = self.page
        needed = ("id", "owner", "reason", "expires", "match")
        keys = page.keys(node, "an exception", (*needed, "allow"), needed)
        match = page.keys(keys["match"], "match", ("sites", "subnets")) if "match" in keys else {}
        if "match" in keys and isinstance(keys["match"], yaml.MappingNode) and not keys["match"].value:
            page.wrong(keys["match"], "an exception for everything", "name its sites or subnets")
        allow = page.values(keys.get("allow"), "what is allowed", one_of(_ALLOWS, "allowance"))
        return Exemption(
            id=page.value(keys.get("id"), read_text, ""),
            owner=page.value(keys.get("owner"), read_text, ""),
            reason=page.value(keys.get("reason"), read_text, ""),
            expires_ns=page.value(keys.get("expires"), read_expires, 0),
            sites=page.values(match.get("sites"), "sites", one_of((*sites, UNKNOWN_SITE), "site")),
            subnets=page.values(match.get("subnets"), "prefixes", read_network),
            allow=allow or ("off_window",),
        )

    # warnings
    def warn(self, now_ns: int) -> list[Mistake]:
        """Return what is allowed but hardly meant."""
        page = _Page(self.page.name)
        for name, (nodes, items) in self.items.items():
            _warn_alternatives(page, name, nodes, items)
        for name, intervals in self.policy.time_intervals.items():
            node = self.interval_nodes[name]
            if not any(name in (*site.update_windows, *site.exclude) for site in self.policy.sites):
                page.wrong(node, f"no site uses {quote(name)}", "name it in update_windows or exclude, or delete it")
            if len(evaluate(intervals, "UTC", now_ns, now_ns + _NEVER_YEARS * _YEAR_NS)) == 0:
                page.wrong(
                    node,
                    f"{quote(name)} is not open once in the next {_NEVER_YEARS} years",
                    "look at its days, months and years",
                )
        for site in self.policy.sites:
            self._warn_site(page, site)
        for node, exemption in zip(self.exemption_nodes, self.policy.exemptions, strict=True):
            if exemption.expires_ns <= now_ns:
                page.wrong(node, f"exception {quote(exemption.id)} has expired", "delete it, or give it a new end")
        return page.ordered()

    def _warn_site(self, page: _Page, site: Site) -> None:
        node, name = self.site_nodes[site.name], quote(site.name)
        keys = {key.value for key, _ in node.value}
        if site.peering == "scheduled" and not site.update_windows:
            page.wrong(
                node,
                f"site {name} is scheduled without update_windows, so it is never open",
                "name its windows, or say disabled",
            )
        if site.peering != "scheduled" and (
            site.update_windows or site.exclude or site.grace_before_s or site.grace_after_s
        ):
            page.wrong(
                node, f"site {name} is {site.peering}, so its windows mean nothing", "say scheduled, or delete them"
            )
        used = [one for window in (*site.update_windows, *site.exclude) for one in self.policy.time_intervals[window]]
        local = [one for one in used if one.location is None and one.imported is None]
        if site.peering == "scheduled" and "timezone" not in keys and local:
            page.wrong(
                node, f"site {name} has no timezone, so its windows are in UTC", "say which, as Europe/Berlin or UTC"
            )
        others = {other.name: other for other in self.policy.sites}
        for other in site.peers if isinstance(site.peers, tuple) else ():
            back = others[other].peers
            if other != site.name and back != "any" and not (isinstance(back, tuple) and site.name in back):
                page.wrong(
                    node,
                    f"site {name} names {quote(other)} as a peer, but not the other way round",
                    "both sides must permit it",
                )


def _warn_alternatives(page: _Page, name: str, nodes: Sequence[yaml.Node], items: Sequence[TimeInterval]) -> None:
    """Point at the times that were meant to be on the weekdays beside them, but are on every day."""
    only_days = [item for item in items if item.weekdays and not item.times]
    for node, item in zip(nodes, items, strict=True):
        if only_days and item.times and replace(item, times=(), location=None) == TimeInterval():
            right = "items are alternatives; to mean these times on those days, write both in one item"
            page.wrong(
                node,
                f"{quote(name)} is open at these times on every day, and all day on the weekdays beside them",
                right,
            )
