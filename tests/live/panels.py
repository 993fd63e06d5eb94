"""Asks what a dashboard asks, as Grafana would, and says what is wrong with the answers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.live.stage import Stage

Json = dict[str, Any]


@dataclass(frozen=True)
class View:
    """What is chosen in Grafana: the time shown, and the interval that the data source states."""

    start: float
    end: float
    scrape_s: float

    def resolved(self, expression: str) -> str:
        rate_s = max(self.scrape_s + self.scrape_s, 4 * self.scrape_s)
        values = {
            "$__rate_interval": f"{int(rate_s * 1000)}ms",
            "$__range": f"{math.ceil(self.end - self.start)}s",
            "$__interval": f"{int(self.scrape_s * 1000)}ms",
        }
        for name, value in values.items():
            expression = expression.replace(name, value)
        return re.sub(r"\$(job|instance|site)\b", ".+", expression)


@dataclass(frozen=True)
class Answer:
    """One series: its labels, and its values in time, without those that are not numbers."""

    labels: dict[str, str]
    values: tuple[float, ...]

    @property
    def peak(self) -> float:
        return max(self.values)

    @property
    def last(self) -> float:
        return self.values[-1]


@dataclass
class Looked:
    """A panel's answers, by target, and what is wrong with them."""

    title: str
    answers: list[list[Answer]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def series(self) -> list[Answer]:
        return [each for target in self.answers for each in target]


def ask(stage: Stage, target: Json, view: View) -> list[Answer]:
    expression = view.resolved(target["expr"])
    assert "$" not in expression, expression
    if target["instant"]:
        found = [(each["metric"], [each["value"]]) for each in stage.query(expression, view.end)]
    else:
        ranged = stage.query_range(expression, view.start, view.end, view.scrape_s)
        found = [(each["metric"], each["values"]) for each in ranged]
    answers = []
    for labels, pairs in found:
        numbers = tuple(value for _, told in pairs if math.isfinite(value := float(told)))
        if numbers:
            answers.append(Answer(labels, numbers))
    return answers


def look(stage: Stage, panel: Json, view: View) -> Looked:
    """Ask every target of a panel; no data, nothing but NaN, and a legend without its label are wrong."""
    looked = Looked(panel["title"])
    for target in panel["targets"]:
        answers = ask(stage, target, view)
        looked.answers.append(answers)
        if not answers:
            looked.wrong.append(f"{target['refId']}: no data: {target['expr']}")
        for label in re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")):
            if any(label not in answer.labels for answer in answers):
                looked.wrong.append(f"{target['refId']}: no label {label}: {target['expr']}")
    return looked


def variables(stage: Stage, board: Json) -> list[str]:
    """Return the variables of a dashboard that would be empty."""
    empty = []
    for each in board["templating"]["list"]:
        if each["type"] == "query":
            asked = re.fullmatch(r"label_values\((.+), (\w+)\)", each["query"]["query"])
            assert asked
            selector = re.sub(r"\$(job|instance)\b", ".+", asked[1])
            if not [
                found for found in stage.query(f"count by ({asked[2]}) ({selector})") if asked[2] in found["metric"]
            ]:
                empty.append(each["name"])
    return empty


Expectation = Callable[[Looked], bool]


def total(low: float, high: float = math.inf) -> Expectation:
    """The sum of the last values lies in between."""
    return lambda looked: low <= sum(each.last for each in looked.series) <= high


def peaks(low: float, high: float = math.inf, **labels: str) -> Expectation:
    """Some series with these labels peaks in between."""

    def holds(looked: Looked) -> bool:
        chosen = [each for each in looked.series if labels.items() <= each.labels.items()]
        return any(low <= each.peak <= high for each in chosen)

    return holds


def names(label: str, *values: str) -> Expectation:
    """Exactly these values of a label are drawn."""
    return lambda looked: {each.labels.get(label) for each in looked.series} == set(values)


def flat(value: float) -> Expectation:
    """Every value of every series is this one."""
    return lambda looked: all(set(each.values) == {value} for each in looked.series)


def both(*expectations: Expectation) -> Expectation:
    return lambda looked: all(expectation(looked) for expectation in expectations)
