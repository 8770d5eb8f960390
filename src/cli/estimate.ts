import { resolve } from "node:path";
import { formatBytes, formatDuration, printable } from "#base";
import type { RemoteNotice } from "#remote";
import { type Cost, estimateCost, type Sufficiency } from "#site";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";
import { answerPlan, type PlanCommandOptions } from "./plan.ts";
import { planFor } from "./plan-for.ts";

/** The words of `dray plan --estimate` on the command line. */
export interface EstimateOptions extends PlanCommandOptions {
  readonly dataDir?: string;
  readonly from?: readonly string[];
  /** Speed of the link in bytes per second. */
  readonly rate?: number;
}

/** `dray plan --estimate`: asks the registries for manifests, and says what a delivery would cost. */
export async function runEstimate(
  options: EstimateOptions,
  context: CliContext,
): Promise<ExitCode> {
  const planned = await planFor(options, context);
  if (planned.plan.faults.length > 0) return answerPlan(planned, options, context);
  const { from, rate } = options;
  const dataDir = resolve(options.dataDir ?? planned.inputs.site.dataDir);
  const onNotice = ({ registry, message }: RemoteNotice) =>
    context.err(`warning: ${printable(registry)}: ${message}\n`);
  const how = { dataDir, from, rate, signal: context.signal, onNotice };
  const cost = await estimateCost(planned, how, context);
  const addition = { fields: { estimate: cost }, text: formatEstimate(cost) };
  const exitCode = answerPlan(planned, options, context, addition);
  return cost.unsized.length > 0 ? EXIT.failed : exitCode;
}

/** The estimate for eyes. Ends with a line break. */
export function formatEstimate({ stages, total, time, disk, quota, unsized }: Cost): string {
  const rows = [
    ["ESTIMATE", "IMAGES", "TOTAL", "HERE", "FOLDERS", "TO MOVE"],
    ...stages.map((need) => [need.name, `${need.imagesSized}/${need.images}`, ...sizes(need)]),
    ["all", `${sum(stages, "imagesSized")}/${sum(stages, "images")}`, ...sizes(total)],
  ];
  const enough = ({ bytesNeeded, bytesAvailable, suffices }: Sufficiency) =>
    suffices ? "enough" : `NOT ENOUGH, ${formatBytes(bytesNeeded - bytesAvailable)} more needed`;
  const of = (what: Sufficiency) =>
    `${formatBytes(what.bytesNeeded)} of ${formatBytes(what.bytesAvailable)}: ${enough(what)}`;
  return [
    "",
    ...alignRight(rows),
    "",
    `TIME         ${timeText(time)}`,
    ...(disk === null ? [] : [`DISK         ${of(disk)}`]),
    ...(quota === null ? [] : [`QUOTA        ${of(quota)}; renews ${dateText(quota.renewsMs)}`]),
    ...unsized.flatMap(({ image, message, hint }) => [
      `UNKNOWN      ${image}: ${message}`,
      `  hint: ${hint}`,
    ]),
    "",
  ].join("\n");
}

function sizes(need: Cost["total"]): readonly string[] {
  const { bytesTotal, bytesHere, bytesInFolders, bytesToMove } = need;
  return [bytesTotal, bytesHere, bytesInFolders, bytesToMove].map(formatBytes);
}

function sum(stages: Cost["stages"], key: "images" | "imagesSized"): number {
  return stages.reduce((count, stage) => count + stage[key], 0);
}

function timeText({ ms, bytesPerSecond, from }: Cost["time"]): string {
  if (ms === null) {
    return bytesPerSecond === null
      ? "unknown: no delivery was measured yet; give the speed of the link with --rate"
      : "never: the windows of link.windows let nothing through";
  }
  const speed = bytesPerSecond === null ? "" : ` at ${formatBytes(Math.round(bytesPerSecond))}/s`;
  const basis = from === "last-delivery" ? " as in the last delivery" : "";
  return `${formatDuration(ms)}${speed}${basis}, with the caps and windows of the site`;
}

function dateText(ms: number): string {
  return new Date(ms).toISOString().slice(0, 16).replace("T", " ");
}

/** The first column to the left, all others to the right. */
function alignRight(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, i) => (i === 0 ? cell.padEnd(14) : cell.padStart((widths[i] ?? 0) + 2)))
      .join(""),
  );
}
