"""Building blocks of Grafana dashboards: queries on metrics of the catalogue, panels, variables, and their layout.

A query names its metric through `selector`, which knows the catalogue: a metric or label that does not exist cannot be
drawn. Everything is plain JSON of Grafana's classic schema, so no Grafana library is needed to build or to read it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from sensor.catalogue import CATALOGUE

Json = dict[str, Any]

SCHEMA_VERSION: Final = 39  # read by Grafana 10.3 and every later one
_COLUMNS: Final = 24
_SOURCE: Final[Json] = {"type": "prometheus", "uid": "${datasource}"}
_SUFFIXES: Final = ("_bucket", "_sum", "_count")
_PROCESS: Final = ("process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds", "process_max_fds",
                   "process_start_time_seconds")  # fmt: skip
_KNOWN: Final[dict[str, tuple[str, ...]]] = {each.name: each.labels for each in CATALOGUE} | {
    f"{each.name}{end}": (*each.labels, "le") for each in CATALOGUE if each.buckets for end in _SUFFIXES
}
_EVERY: Final = ".+"


@dataclass(frozen=True, slots=True)
class Query:
    """One target: PromQL, the legend of its series, and whether one instant or the whole range is asked for."""

    expr: str
    legend: str = ""
    instant: bool = False
    heatmap: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """How values are drawn: their unit, the colours of thresholds, names of values, options of the panel type.

    `without` is what a panel says while there is no value.
    """

    unit: str = "short"
    steps: tuple[tuple[float, str], ...] = ()
    names: tuple[tuple[str, str, str], ...] = ()
    decimals: int | None = None
    most: float | None = None
    without: str = ""
    custom: Json = field(default_factory=dict)
    options: Json = field(default_factory=dict)
    overrides: tuple[Json, ...] = ()
    transformations: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel without a place: its type, what it says of itself, what it asks, how it looks, and its size in cells."""

    kind: str
    title: str
    description: str
    queries: tuple[Query, ...] = ()
    look: Look = field(default_factory=Look)
    width: int = 12
    height: int = 8


def selector(metric: str, *, within: str = "", **labels: str) -> str:
    """Return a selector of a metric of the catalogue, narrowed to the dashboard's job, instance and sites.

    Parameters
    ----------
    metric
        Name in the catalogue, of a histogram's series, or `process_…`.
    within
        Range in brackets, for `rate()` and its kind.
    labels
        Regular expressions for further labels.

    Raises
    ------
    KeyError
        If the catalogue has no such metric, or the metric no such label.
    """
    known = _KNOWN[metric] if metric not in _PROCESS else ()
    for label in labels:
        if label not in known:
            raise KeyError(f"{metric} has no label {label}")
    matchers = ['job=~"$job"', 'instance=~"$instance"']
    matchers += [f'{site}=~"$site"' for site in ("site", "from_site") if site in known]
    matchers += [f'{label}=~"{value}"' for label, value in labels.items()]
    return f"{metric}{{{', '.join(matchers)}}}" + (f"[{within}]" if within else "")


def rate(metric: str, by: str, **labels: str) -> str:
    """Return the per-second rate of a counter, summed by labels.

    Raises
    ------
    KeyError
        As `selector`.
    """
    return f"sum by ({by}) (rate({selector(metric, within='$__rate_interval', **labels)}))"


def grown(metric: str, by: str, **labels: str) -> str:
    """Return by how much a counter grew in the time shown, summed by labels.

    Raises
    ------
    KeyError
        As `selector`.
    """
    return f"sum by ({by}) (increase({selector(metric, within='$__range', **labels)}))"


def series(title: str, description: str, unit: str, *queries: Query, **more: Any) -> Panel:
    """Return lines over time.

    Parameters
    ----------
    more
        `stacked` fills and stacks them, `colours` are those of series whose name means one, `reach` is up to where the
        axis goes while all values are smaller.

    Raises
    ------
    nothing
    """
    stacked, colours = more.pop("stacked", False), more.pop("colours", {})
    custom: Json = {
        "drawStyle": "line", "lineWidth": 1, "fillOpacity": 25 if stacked else 8, "showPoints": "never",
        "spanNulls": False, "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
    }  # fmt: skip
    custom["thresholdsStyle"] = {"mode": "line" if more.get("steps") else "off"}
    options = {
        "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["max", "lastNotNull"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    if "reach" in more:
        custom["axisSoftMax"] = more.pop("reach")
    more["overrides"] = tuple(
        {
            "matcher": {"id": "byName", "options": name},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
        }
        for name, colour in colours.items()
    )
    return _panel("timeseries", (title, description, unit), queries, custom, options, **more)


def stat(title: str, description: str, unit: str, *queries: Query, **more: Any) -> Panel:
    """Return one number (or one per series), coloured by thresholds.

    Raises
    ------
    nothing
    """
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": more.pop("colour", "value"), "graphMode": "none", "justifyMode": "auto", "orientation": "auto",
        "textMode": more.pop("text", "auto"),
    }  # fmt: skip
    return _panel("stat", (title, description, unit), queries, {}, options, **({"width": 6, "height": 4} | more))


def timeline(title: str, description: str, *queries: Query, **more: Any) -> Panel:
    """Return states over time, one bar a series.

    Raises
    ------
    nothing
    """
    options = {
        "mergeValues": True, "showValue": "auto", "alignValue": "left", "rowHeight": 0.8,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}, "tooltip": {"mode": "single"},
    }  # fmt: skip
    return _panel("state-timeline", (title, description, "short"), queries, {"fillOpacity": 80}, options, **more)


def bars(title: str, description: str, unit: str, *queries: Query, **more: Any) -> Panel:
    """Return one bar a series, for what is largest.

    Raises
    ------
    nothing
    """
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "orientation": "horizontal",
        "displayMode": "gradient", "showUnfilled": True, "valueMode": "color", "minVizWidth": 8, "minVizHeight": 16,
    }  # fmt: skip
    return _panel("bargauge", (title, description, unit), queries, {}, options, **more)


def heat(title: str, description: str, unit: str, query: Query, **more: Any) -> Panel:
    """Return a histogram's buckets over time.

    Raises
    ------
    nothing
    """
    options = {
        "calculate": False, "yAxis": {"unit": unit, "axisPlacement": "left"}, "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64}, "legend": {"show": True},
        "tooltip": {"mode": "single", "yHistogram": False}, "rowsFrame": {"layout": "auto"},
        "filterValues": {"le": 1e-9},
    }  # fmt: skip
    return _panel("heatmap", (title, description, unit), (query,), {}, options, **more)


def table(title: str, description: str, unit: str, query: Query, *, value: str = "", **more: Any) -> Panel:
    """Return one row a series: its labels, and its value in a column named `value`, or no such column.

    Raises
    ------
    nothing
    """
    hidden = {"Time": True, "__name__": True, "job": True, "instance": True}
    if not value:
        hidden["Value"] = True
    arranged = {"id": "organize", "options": {"excludeByName": hidden, "renameByName": {"Value": value}}}
    options = {
        "showHeader": True,
        "cellHeight": "sm",
        "sortBy": [{"displayName": value, "desc": True}] if value else [],
    }
    more.setdefault("transformations", (arranged,))
    return _panel("table", (title, description, unit), (query,), {"align": "auto", "filterable": True}, options, **more)


def row(title: str) -> Panel:
    """Return a heading over the panels that follow.

    Raises
    ------
    nothing
    """
    return Panel("row", title, "", width=_COLUMNS, height=1)


def dashboard(uid: str, title: str, description: str, panels: list[Panel], **more: Any) -> Json:
    """Return a dashboard as Grafana reads it: panels flow from left to right, ids count from 1.

    Parameters
    ----------
    more
        `span`: the time shown at first, `site`: whether sites are chosen, `annotations`: further ones,
        `metric`: the one that says which jobs and instances there are.

    Raises
    ------
    nothing
    """
    known = selector(more.get("metric", "swarmtap_build_info")).partition("{")[0]
    variables = [
        _datasource(),
        _variable("job", "Job", known),
        _variable("instance", "Instance", f'{known}{{job=~"$job"}}'),
    ]
    if more.get("site", True):
        where = 'swarmtap_flows_active{job=~"$job", instance=~"$instance"}'
        variables.append(_variable("site", "Site", where))
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["swarmtap"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "fiscalYearStartMonth": 0,
        "liveNow": False,
        "weekStart": "",
        "timezone": "browser",
        "refresh": more.get("refresh", "30s"),
        "time": {"from": more.get("span", "now-6h"), "to": "now"},
        "timepicker": {},
        "templating": {"list": variables},
        "annotations": {"list": [*_annotations(), *more.get("annotations", ())]},
        "links": [{
            "title": "swarmtap", "type": "dashboards", "tags": ["swarmtap"], "asDropdown": False,
            "icon": "external link",
            "includeVars": True, "keepTime": True, "targetBlank": False, "tooltip": "", "url": "",
        }],
        "panels": _placed(panels),
    }  # fmt: skip


def _panel(
    kind: str, told: tuple[str, str, str], queries: tuple[Query, ...], custom: Json, options: Json, **more: Any
) -> Panel:
    title, description, unit = told
    size = {key: more.pop(key) for key in ("width", "height") if key in more}
    return Panel(kind, title, description, queries, Look(unit=unit, custom=custom, options=options, **more), **size)


def _placed(panels: list[Panel]) -> list[Json]:
    x = y = tallest = 0
    placed = []
    for number, panel in enumerate(panels, 1):
        if x + panel.width > _COLUMNS:
            x, y, tallest = 0, y + tallest, 0
        at = {"x": x, "y": y, "w": panel.width, "h": panel.height}
        placed.append(_json(panel, number, at))
        x, tallest = x + panel.width, max(tallest, panel.height)
    return placed


def _json(panel: Panel, number: int, at: Json) -> Json:
    if panel.kind == "row":
        return {"id": number, "type": "row", "title": panel.title, "gridPos": at, "collapsed": False, "panels": []}
    look = panel.look
    defaults: Json = {
        "unit": look.unit,
        "color": {"mode": "thresholds" if look.steps and panel.kind != "timeseries" else "palette-classic"},
        "mappings": [
            {"type": "value", "options": {value: {"text": text, "color": colour, "index": index}}}
            for index, (value, text, colour) in enumerate(look.names)
        ],
        "thresholds": {
            "mode": "absolute",
            "steps": [
                {"value": None, "color": "green"},
                *({"value": value, "color": colour} for value, colour in look.steps),
            ],
        },
        "custom": look.custom,
    }
    if panel.kind in {"timeseries", "bargauge"}:
        defaults["min"] = 0
    if look.most is not None:
        defaults["max"] = look.most
    if look.without:
        defaults["noValue"] = look.without
    if look.decimals is not None:
        defaults["decimals"] = look.decimals
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "gridPos": at,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": list(look.overrides)},
        "options": look.options,
        "transformations": list(look.transformations),
        "targets": [_target(query, chr(ord("A") + index)) for index, query in enumerate(panel.queries)],
    }


def _target(query: Query, letter: str) -> Json:
    made: Json = {
        "refId": letter,
        "datasource": _SOURCE,
        "expr": query.expr,
        "editorMode": "code",
        "instant": query.instant,
        "range": not query.instant,
        "format": "heatmap" if query.heatmap else "table" if query.instant and not query.legend else "time_series",
        "exemplar": "findings_total" in query.expr and not query.instant,
    }
    if query.legend:
        made["legendFormat"] = query.legend
    return made


def _datasource() -> Json:
    return {
        "type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "hide": 0,
        "includeAll": False, "multi": False, "refresh": 1, "regex": "", "options": [],
        "current": {"selected": False, "text": "default", "value": "default"},
    }  # fmt: skip


def _variable(name: str, label: str, where: str) -> Json:
    query = f"label_values({where}, {name})"
    return {
        "type": "query", "name": name, "label": label, "datasource": _SOURCE, "definition": query,
        "query": {"query": query, "refId": f"Variable-{name}"}, "refresh": 2, "sort": 1, "multi": True,
        "includeAll": True, "allValue": _EVERY, "hide": 0, "regex": "", "options": [], "skipUrlSync": False,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }  # fmt: skip


def _annotations() -> list[Json]:
    where = 'job=~"$job", instance=~"$instance"'
    schedule = f"swarmtap_schedule_open{{{where}}}[$__interval]"
    return [
        {
            "name": "Alerts", "enable": True, "hide": False, "iconColor": "red", "datasource": _SOURCE,
            "expr": f'ALERTS{{alertname=~"Swarmtap.*", alertstate="firing", {where}}}', "step": "",
            "titleFormat": "{{alertname}}", "textFormat": "{{site}}", "tagKeys": "severity", "useValueForTime": False,
        },
        {
            "name": "Schedule changes", "enable": False, "hide": False, "iconColor": "blue", "datasource": _SOURCE,
            "expr": f"changes({schedule}) > 0", "step": "", "titleFormat": "{{site}}",
            "textFormat": "its schedule changed", "tagKeys": "site", "useValueForTime": False,
        },
    ]  # fmt: skip
