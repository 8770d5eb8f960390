import { type ScenarioResult, type Summary, summarise } from "./result.ts";
import type { Scenario } from "./scenario.ts";

/** What a report says beside its figures. */
export interface ReportHead {
  readonly machine: string;
  readonly date: string;
  /** The command that gave the figures. */
  readonly command: string;
  /** Name, version and what it does. */
  readonly contenders: readonly {
    readonly name: string;
    readonly version: string;
    readonly does: string;
  }[];
}

/** The whole page, with a picture for each scenario at `images/bench-NAME.svg`. */
export function formatReport(head: ReportHead, results: readonly ScenarioResult[]): string {
  const contenders = head.contenders.map(
    ({ name, version, does }) => `- **${name}** (${version}): ${does}.`,
  );
  const sections = results.map(
    (result) =>
      `## ${result.scenario.title}\n\n![${result.scenario.name}: wall time, CPU, memory and bytes of each program](images/bench-${result.scenario.name}.svg)\n\n${formatTable(result)}`,
  );
  return `# Benchmarks

This page is written by a run: \`${head.command}\`, ${head.date}, on ${head.machine}.

Everything runs on one machine: the registry, the link and, in turn, each program, so that a slow minute hits all of them. Times are from start to exit with everything on the disk: drayage fsyncs by itself, after the others comes a \`sync\` of the file system. Figures are the median of the complete runs, times with the fastest and the slowest beside it. CPU is user and system time of all processes of the program; memory is the peak of what they hold resident together. Bytes are what crossed the link, or on loopback what the registry says that it sent. The second run is the same command again, with nothing to do.

${contenders.join("\n")}

${sections.join("\n")}`;
}

/** The figures of a scenario as a table in Markdown. */
export function formatTable({ results, setBytes, scenario, link }: ScenarioResult): string {
  const summaries = results.map(summarise);
  const fastestPeer = Math.min(
    ...summaries
      .filter(({ contender }) => contender === "skopeo" || contender === "crane")
      .map(({ wallMs }) => wallMs)
      .filter((wallMs) => !Number.isNaN(wallMs)),
  );
  const rows = summaries.map((summary) => formatRow(summary, { setBytes, fastestPeer }));
  const rounds = scenario.rounds === 1 ? "1 round" : `${scenario.rounds} rounds`;
  const from = scenario.registry === "embedded" ? "the embedded registry" : "docker-registry";
  return [
    `To move: ${megabytes(setBytes)}, from ${from}, over ${link}${lineTime(scenario, setBytes)}; ${rounds}.`,
    "",
    "| program | complete | wall time | of the fastest peer | CPU | peak memory | moved | second run |",
    "|---|---|---|---|---|---|---|---|",
    ...rows,
    "",
  ].join("\n");
}

/** What nobody can be faster than. */
function lineTime({ link }: Scenario, setBytes: number): string {
  if (link.kind !== "shaped") return "";
  return ` (the line alone needs ${seconds((setBytes * 8) / (link.megabitsPerSecond * 1e3))} s)`;
}

function formatRow(
  summary: Summary,
  { setBytes, fastestPeer }: { readonly setBytes: number; readonly fastestPeer: number },
): string {
  const { contender, complete, runs } = summary;
  const counts = `${complete} of ${runs}`;
  if (complete === 0) return `| ${contender} | ${counts} | failed | – | – | – | – | – |`;
  const spread = runs === 1 ? "" : ` (${seconds(summary.wallMsMin)}–${seconds(summary.wallMsMax)})`;
  const extra = ((summary.movedBytes / setBytes - 1) * 100).toFixed(1);
  return `| ${[
    contender,
    counts,
    `${seconds(summary.wallMs)} s${spread}`,
    Number.isFinite(fastestPeer) ? (summary.wallMs / fastestPeer).toFixed(2) : "–",
    `${seconds(summary.cpuMs)} s`,
    megabytes(summary.peakBytes),
    `${megabytes(summary.movedBytes)} (${extra.startsWith("-") ? "" : "+"}${extra} %)`,
    Number.isNaN(summary.againMs) ? "–" : `${seconds(summary.againMs)} s`,
  ].join(" | ")} |`;
}

function seconds(ms: number): string {
  return (ms / 1_000).toFixed(2);
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(bytes < 100e6 ? 1 : 0)} MB`;
}
