// A dashboard as Grafana draws it, from its JSON and the answers of a real Prometheus (data.js).
import React from "react";
import { createRoot } from "react-dom/client";
import {
  applyFieldOverrides, createTheme, dateTime, FieldType, fieldReducers, getDisplayProcessor, getFieldDisplayValues, identityOverrideProcessor,
  reduceField, standardEditorsRegistry, standardFieldConfigEditorRegistry, ThemeContext, toDataFrame,
} from "@grafana/data";
import { BarGauge, BigValue, GlobalStyles, PanelChrome, TimeSeries } from "@grafana/ui";

const name = location.hash.slice(1) || "overview";
const board = window.boards[name];
const theme = createTheme({ colors: { mode: "dark" } });
const CELL = 30, GAP = 8, WIDTH = 1440;
const column = (WIDTH - 2 * GAP) / 24;

// The registry of standard properties lives in Grafana's core; these are the ones that our dashboards set.
const property = (id) => ({
  id, path: id, name: id, editor: () => null, override: () => null, process: identityOverrideProcessor, shouldApply: () => true,
  settings: {}, description: "", category: [],
});
standardFieldConfigEditorRegistry.setInit(() =>
  ["unit", "min", "max", "decimals", "displayName", "noValue", "color", "thresholds", "mappings", "links"].map(property));
standardEditorsRegistry.setInit(() => []);

const frames = (panel) => {
  const made = panel.series.map((series) =>
    toDataFrame({
      name: series.name,
      fields: [
        { name: "time", type: FieldType.time, values: series.values.map(([at]) => at) },
        {
          name: "value", type: FieldType.number, values: series.values.map(([, number]) => number),
          labels: series.labels, config: { displayNameFromDS: series.name || Object.values(series.labels).join(" ") },
        },
      ],
    }));
  const found = applyFieldOverrides({
    data: made, fieldConfig: panel.fieldConfig, theme, timeZone: "utc", replaceVariables: (text) => text,
    fieldConfigRegistry: standardFieldConfigEditorRegistry,
  });
  for (const frame of found) {
    for (const field of frame.fields) {
      const custom = panel.fieldConfig.defaults.custom ?? {};
      field.config.custom = panel.type === "state-timeline"
        ? { drawStyle: "line", lineInterpolation: "stepAfter", fillOpacity: 30, lineWidth: 2, showPoints: "never" }
        : { ...custom };
      field.state = { ...field.state, seriesIndex: found.indexOf(frame) };
      field.display = getDisplayProcessor({ field, theme, timeZone: "utc" });
    }
  }
  return found;
};

const last = (field) => reduceField({ field, reducers: ["lastNotNull"] }).lastNotNull;

const Lines = ({ panel, width, height }) => {
  const range = { from: dateTime(board.from), to: dateTime(board.to), raw: { from: "", to: "" } };
  const legend = { ...panel.options.legend, displayMode: "list", showLegend: true, placement: "bottom", calcs: [] };
  const moving = frames(panel);
  return (
    <TimeSeries width={width} height={height} frames={moving} timeRange={range} timeZone="utc" legend={legend}
      options={panel.options} theme={theme} replaceVariables={(text) => text} structureRev={1} dataLinkPostProcessor={() => []} />
  );
};

const Numbers = ({ panel, width, height }) => {
  const found = frames(panel);
  const each = width / Math.max(1, found.length);
  return (
    <div style={{ display: "flex" }}>
      {found.map((frame, at) => {
        const field = frame.fields[1];
        const value = { ...field.display(last(field)), title: found.length > 1 ? frame.name : undefined };
        return (
          <BigValue key={at} value={value} width={each} height={height} theme={theme} colorMode={panel.options.colorMode}
            graphMode="none" justifyMode="auto" textMode={panel.options.textMode} />
        );
      })}
    </div>
  );
};

const Bars = ({ panel, width, height }) => {
  const found = frames(panel).sort((one, other) => last(other.fields[1]) - last(one.fields[1])).slice(0, 8);
  const most = Math.max(1, ...found.map((frame) => last(frame.fields[1])));
  return found.map((frame, at) => {
    const field = frame.fields[1];
    const value = { ...field.display(last(field)), title: frame.name };
    const config = { ...field.config, min: 0, max: most };
    return (
      <BarGauge key={at} value={value} field={config} display={field.display} width={width} height={height / found.length - 4}
        orientation="horizontal" displayMode="gradient" showUnfilled theme={theme} itemSpacing={8} lcdCellWidth={12} />
    );
  });
};

const Rows = ({ panel }) => {
  const found = frames(panel).map((frame, at) => ({ frame, labels: panel.series[at].labels }));
  found.sort((one, other) => last(other.frame.fields[1]) - last(one.frame.fields[1]));
  const names = [...new Set(found.flatMap(({ labels }) => Object.keys(labels)))];
  const hidden = panel.transformations?.[0]?.options?.excludeByName?.Value;
  const renamed = panel.transformations?.[0]?.options?.renameByName?.Value ?? "value";
  const cell = { textAlign: "left", padding: "5px 10px", borderBottom: `1px solid ${theme.colors.border.weak}`, whiteSpace: "nowrap" };
  return (
    <table style={{ width: "100%", fontSize: 13, borderCollapse: "collapse" }}>
      <thead><tr>{[...names, ...(hidden ? [] : [renamed])].map((label) => <th key={label} style={{ ...cell, color: theme.colors.primary.text }}>{label}</th>)}</tr></thead>
      <tbody>
        {found.map(({ frame, labels }, at) => {
          const { text, suffix } = frame.fields[1].display(last(frame.fields[1]));
          return <tr key={at}>{names.map((label) => <td key={label} style={cell}>{labels[label]}</td>)}{!hidden && <td style={cell}>{text}{suffix}</td>}</tr>;
        })}
      </tbody>
    </table>
  );
};

const KINDS = { timeseries: Lines, "state-timeline": Lines, stat: Numbers, bargauge: Bars, table: Rows };

const Panel = ({ panel }) => {
  const { x, y, w, h } = panel.gridPos;
  const place = { position: "absolute", left: GAP + x * column, top: 56 + y * (CELL + GAP) };
  const width = w * column - GAP, height = h * (CELL + GAP) - GAP;
  if (panel.type === "row") {
    return <h5 style={{ ...place, margin: 0, paddingTop: 8, color: theme.colors.text.primary }}>{panel.title}</h5>;
  }
  const Kind = KINDS[panel.type];
  return (
    <div style={place}>
      <PanelChrome title={panel.title} description={panel.description} width={width} height={height}>
        {(inner, tall) => (!Kind || panel.series.length === 0
          ? <div style={{ padding: 20, color: theme.colors.text.secondary }}>{panel.fieldConfig.defaults.noValue ?? "(drawn by Grafana itself)"}</div>
          : <Kind panel={panel} width={inner} height={tall} />)}
      </PanelChrome>
    </div>
  );
};

const bottom = Math.max(...board.panels.map(({ gridPos: { y, h } }) => y + h));
createRoot(document.getElementById("root")).render(
  <ThemeContext.Provider value={theme}>
    <GlobalStyles />
    <div id="drawn" style={{ position: "relative", width: WIDTH, height: 64 + bottom * (CELL + GAP), background: theme.colors.background.canvas,
      color: theme.colors.text.primary, fontFamily: theme.typography.fontFamily }}>
      <h3 style={{ margin: 0, padding: "14px 16px" }}>{board.title}</h3>
      {board.panels.map((panel) => <Panel key={panel.id} panel={panel} />)}
    </div>
  </ThemeContext.Provider>,
);
