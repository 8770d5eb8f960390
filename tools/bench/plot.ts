import { type ScenarioResult, type Summary, summarise } from "./result.ts";

/** A panel of bars: what it shows, of each row one value, and in which unit. NaN is a failure. */
export interface Panel {
  readonly title: string;
  readonly values: readonly number[];
  readonly label: (value: number) => string;
}

/** Rows of bars in panels. */
export interface Chart {
  readonly title: string;
  readonly rows: readonly string[];
  readonly panels: readonly Panel[];
}

/** What is shown of a scenario. */
interface Measure extends Omit<Panel, "values"> {
  readonly value: (summary: Summary) => number;
}

const MEASURES: readonly Measure[] = [
  {
    title: "wall time",
    value: ({ wallMs }) => wallMs / 1e3,
    label: (value) => `${value.toFixed(value < 10 ? 2 : 1)} s`,
  },
  {
    title: "CPU",
    value: ({ cpuMs }) => cpuMs / 1e3,
    label: (value) => `${value.toFixed(value < 10 ? 2 : 1)} s`,
  },
  {
    title: "peak memory",
    value: ({ peakBytes }) => peakBytes / 1e6,
    label: (value) => `${value.toFixed(0)} MB`,
  },
  {
    title: "moved",
    value: ({ movedBytes }) => movedBytes / 1e6,
    label: (value) => `${value.toFixed(value < 100 ? 1 : 0)} MB`,
  },
];

const PANEL_WIDTH = 190;
const NAME_WIDTH_MIN = 70;
/** Of a character of a name, on the average; fonts differ. */
const CHARACTER_WIDTH = 7.5;
const ROW_HEIGHT = 24;
const HEAD_HEIGHT = 34;
/** What the longest bar leaves for its label. */
const LABEL_WIDTH = 64;

/** Shown as an image, the picture knows no style of its page: it takes the reader's scheme by itself. */
const STYLE = `text{font:12px system-ui,sans-serif;fill:#24292f}.title{font-weight:600}.bar{fill:#8c959f}.ours{fill:#0969da}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.bar{fill:#6e7681}.ours{fill:#4493f8}}`;

/** The figures of a scenario as an SVG: a row for each contender, a panel for each measure. */
export function plot(result: ScenarioResult): string {
  const summaries = result.results.map(summarise);
  return drawChart({
    title: result.scenario.title,
    rows: summaries.map(({ contender }) => contender),
    panels: MEASURES.map(({ value, ...panel }) => ({ ...panel, values: summaries.map(value) })),
  });
}

/** A chart as an SVG. The rows whose name begins with `drayage` are ours. */
export function drawChart({ title, rows, panels }: Chart): string {
  const longest = Math.max(...rows.map((row) => row.length));
  const nameWidth = Math.max(NAME_WIDTH_MIN, 10 + Math.ceil(CHARACTER_WIDTH * longest));
  const width = nameWidth + panels.length * PANEL_WIDTH;
  const height = HEAD_HEIGHT + rows.length * ROW_HEIGHT + 6;
  const names = rows.map((name, row) => text(0, rowMiddle(row), name));
  const bars = panels.map((panel, column) =>
    drawPanel(panel, nameWidth + column * PANEL_WIDTH, rows),
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`,
    `<title>${escaped(title)}</title>`,
    `<style>${STYLE}</style>`,
    ...names,
    ...bars,
    "</svg>\n",
  ].join("\n");
}

function drawPanel({ title, values, label }: Panel, left: number, rows: readonly string[]): string {
  const most = Math.max(...values.filter((amount) => !Number.isNaN(amount)), Number.MIN_VALUE);
  const bars = values.map((amount, row) => {
    const middle = rowMiddle(row);
    if (Number.isNaN(amount)) return text(left, middle, "failed");
    const length = Math.max(1, Math.round((amount / most) * (PANEL_WIDTH - LABEL_WIDTH)));
    const kind = rows[row]?.startsWith("drayage") ? "bar ours" : "bar";
    const bar = `<rect class="${kind}" x="${left}" y="${middle - 8}" width="${length}" height="16" rx="2"/>`;
    return bar + text(left + length + 5, middle, label(amount));
  });
  return [text(left, 18, title, "title"), ...bars].join("\n");
}

function rowMiddle(row: number): number {
  return HEAD_HEIGHT + row * ROW_HEIGHT + ROW_HEIGHT / 2;
}

function text(x: number, middle: number, content: string, kind?: string): string {
  const classed = kind === undefined ? "" : ` class="${kind}"`;
  return `<text${classed} x="${x}" y="${middle + 4}">${escaped(content)}</text>`;
}

function escaped(content: string): string {
  return content.replace(/[&<>]/g, (character) => `&#${character.charCodeAt(0)};`);
}
