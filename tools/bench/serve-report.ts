import { drawChart } from "./plot.ts";
import { median } from "./result.ts";
import type { CellResult, ServeResult, ServeRun } from "./serve.ts";

/** The middle of a registry's runs at a cell, value by value. */
export interface ServeSummary {
  readonly server: string;
  readonly bytesPerSecond: number;
  readonly answersPerSecond: number;
  /** Of the registry: milliseconds for a gigabyte, microseconds for an answer. */
  readonly cpuMsPerGigabyte: number;
  readonly cpuUsPerAnswer: number;
  readonly peakBytes: number;
  readonly medianMs: number;
  readonly slowMs: number;
  /** How much of a core the clients took: near 1, it is they who were measured. */
  readonly clientsLoad: number;
}

/** Sums up each registry of a cell. */
export function summariseCell({ results }: CellResult): readonly ServeSummary[] {
  return results.map(({ server, runs }) => {
    const middle = (value: (run: ServeRun) => number) => median(runs.map(value));
    return {
      server,
      bytesPerSecond: middle(({ bytes, wallMs }) => (bytes / wallMs) * 1e3),
      answersPerSecond: middle(({ answers, wallMs }) => (answers / wallMs) * 1e3),
      cpuMsPerGigabyte: middle(({ cpuMs, bytes }) => cpuMs / (bytes / 1e9)),
      cpuUsPerAnswer: middle(({ cpuMs, answers }) => (cpuMs * 1e3) / answers),
      peakBytes: middle(({ peakBytes }) => peakBytes),
      medianMs: middle(({ medianMs }) => medianMs),
      slowMs: middle(({ slowMs }) => slowMs),
      clientsLoad: middle(({ ownCpuMs, wallMs }) => ownCpuMs / wallMs),
    };
  });
}

/** The section about serving, with its picture at `images/bench-serve.svg`. */
export function formatServe({ versions, cells, pushes }: ServeResult): string {
  const programs = versions.map(({ name, version }) => `${name} (${version})`).join(", ");
  const rounds = cells[0]?.results[0]?.runs.length ?? 0;
  return [
    "## Serving: parallel clients that discard what they get",
    "",
    "![serve: bytes per second, CPU and memory of each registry](images/bench-serve.svg)",
    "",
    `${programs}, each with the same images on this disk, all of them in the page cache. The clients (\`tools/bench/load.c\`) keep a connection each, have one request under way, and let the kernel drop the bodies; registry and clients share the machine. In each of ${rounds === 1 ? "1 round" : `${rounds} rounds`} the registries take turns at every line; figures are the median. CPU is user and system time of the registry alone, memory the peak of what it holds resident, its program included. drayage has the images by \`dray deliver\`, and in the rows "pushed" by a push; its registry writes no access log, nor do the others.`,
    "",
    "| asked for | clients | registry | MB/s | CPU per GB | peak memory |",
    "|---|---|---|---|---|---|",
    ...rowsOf(cells, "bytes", (summary) => [
      megabytes(summary.bytesPerSecond),
      `${summary.cpuMsPerGigabyte.toFixed(0)} ms`,
      `${megabytes(summary.peakBytes)} MB`,
    ]),
    "",
    "| asked for | clients | registry | answers per second | CPU per answer | middle | 99 of 100 within |",
    "|---|---|---|---|---|---|---|",
    ...rowsOf(cells, "answers", (summary) => [
      summary.answersPerSecond.toFixed(0),
      `${summary.cpuUsPerAnswer.toFixed(0)} µs`,
      `${summary.medianMs.toFixed(2)} ms`,
      `${summary.slowMs.toFixed(2)} ms`,
    ]),
    "",
    `Peak memory while 2 GB are pushed as one stream: ${pushes.map(({ server, peakBytes }) => `${server} ${megabytes(peakBytes)} MB`).join(", ")}.`,
    "",
  ].join("\n");
}

function rowsOf(
  cells: readonly CellResult[],
  counts: "bytes" | "answers",
  figures: (summary: ServeSummary) => readonly string[],
): readonly string[] {
  return cells
    .filter(({ cell }) => cell.counts === counts)
    .flatMap((result) =>
      summariseCell(result).map((summary) => {
        const { title, clients } = result.cell;
        return `| ${[title, clients, summary.server, ...figures(summary)].join(" | ")} |`;
      }),
    );
}

/** The largest crowd for each kind of blob, and manifests by tag, as an SVG. */
export function plotServe({ cells }: ServeResult): string {
  const bytes = cells.filter(({ cell }) => cell.counts === "bytes").at(-1);
  const answers = cells.find(({ cell }) => cell.counts === "answers" && cell.method === "GET");
  const [blobs, manifests] = [bytes, answers].map((one) =>
    one === undefined ? [] : summariseCell(one),
  );
  return drawChart({
    title: "Serving: parallel clients that discard what they get",
    rows: (blobs ?? []).map(({ server }) => server),
    panels: [
      {
        title: `${bytes?.cell.title}, ${bytes?.cell.clients} clients`,
        values: (blobs ?? []).map(({ bytesPerSecond }) => bytesPerSecond / 1e6),
        label: (value) => `${value.toFixed(0)} MB/s`,
      },
      {
        title: "CPU per GB",
        values: (blobs ?? []).map(({ cpuMsPerGigabyte }) => cpuMsPerGigabyte),
        label: (value) => `${value.toFixed(0)} ms`,
      },
      {
        title: "peak memory",
        values: (blobs ?? []).map(({ peakBytes }) => peakBytes / 1e6),
        label: (value) => `${value.toFixed(0)} MB`,
      },
      {
        title: `${answers?.cell.title}`,
        values: (manifests ?? []).map(({ answersPerSecond }) => answersPerSecond),
        label: (value) => `${value.toFixed(0)}/s`,
      },
    ],
  });
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
}
