import { type ScenarioResult, type Summary, summarise } from "./result.ts";

/** A panel of bars: what it shows, in which unit. */
interface Panel {
  readonly title: string;
  readonly value: (summary: Summary) => number;
  readonly label: (value: number) => string;
}

const PANELS: readonly Panel[] = [
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
const NAME_WIDTH = 70;
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
  const width = NAME_WIDTH + PANELS.length * PANEL_WIDTH;
  const height = HEAD_HEIGHT + summaries.length * ROW_HEIGHT + 6;
  const names = summaries.map(({ contender }, row) => text(0, rowMiddle(row), contender));
  const panels = PANELS.map((panel, column) =>
    drawPanel(panel, NAME_WIDTH + column * PANEL_WIDTH, summaries),
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`,
    `<title>${escaped(result.scenario.title)}</title>`,
    `<style>${STYLE}</style>`,
    ...names,
    ...panels,
    "</svg>\n",
  ].join("\n");
}

function drawPanel({ title, value, label }: Panel, left: number, summaries: readonly Summary[]) {
  const values = summaries.map(value);
  const most = Math.max(...values.filter((amount) => !Number.isNaN(amount)), Number.MIN_VALUE);
  const bars = values.map((amount, row) => {
    const middle = rowMiddle(row);
    if (Number.isNaN(amount)) return text(left, middle, "failed");
    const length = Math.max(1, Math.round((amount / most) * (PANEL_WIDTH - LABEL_WIDTH)));
    const kind = summaries[row]?.contender === "drayage" ? "bar ours" : "bar";
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
