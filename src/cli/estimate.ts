import { statfs } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { formatBytes, formatDuration, isFailure, printable } from "#base";
import { createMemoryStore, type Store } from "#content";
import { type Estimate, estimate } from "#deliver";
import type { Link } from "#link";
import { parsePlatform } from "#oci";
import { openImageSources, openUplink, type Planned, readLastSpeed } from "#site";
import { createDiskLedger, type DiskStore, openLayout, openStore } from "#store";
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

/** What a delivery would cost, as `dray plan --estimate` answers. */
export interface Cost extends Estimate {
  readonly time: {
    /** Of the line itself: given, measured in the last delivery, or null when neither is known. */
    readonly bytesPerSecond: number | null;
    readonly from: "option" | "last-delivery" | null;
    /** With caps and windows of the site; null when it can't be told. */
    readonly ms: number | null;
  };
  readonly disk: Sufficiency | null;
  /** Null without a quota. */
  readonly quota: (Sufficiency & { readonly renewsMs: number }) | null;
}

interface Sufficiency {
  readonly bytesNeeded: number;
  readonly bytesAvailable: number;
  readonly suffices: boolean;
}

/** `dray plan --estimate`: asks the registries for manifests, and says what a delivery would cost. */
export async function runEstimate(
  options: EstimateOptions,
  context: CliContext,
): Promise<ExitCode> {
  const planned = await planFor(options, context);
  if (planned.plan.faults.length > 0) return answerPlan(planned, options, context);
  const cost = await estimateCost(planned, options, context);
  const addition = { fields: { estimate: cost }, text: formatEstimate(cost) };
  const exitCode = answerPlan(planned, options, context, addition);
  return cost.unsized.length > 0 ? EXIT.failed : exitCode;
}

/** Asks the registries for manifests; moves nothing else. */
export async function estimateCost(
  { plan, inputs }: Planned,
  words: EstimateOptions,
  context: CliContext,
): Promise<Cost> {
  const { clock, random, signal } = context;
  const dataDir = resolve(words.dataDir ?? inputs.site.dataDir);
  const folders = await Promise.all((words.from ?? []).map(openLayout));
  await using store = await openExisting(dataDir, context);
  await using uplink = await openUplink({
    inputs,
    ledger: createDiskLedger(dataDir),
    context,
    onNotice: ({ registry, message }) =>
      context.err(`warning: ${printable(registry)}: ${message}\n`),
    onPause: () => undefined,
    isMetered: false,
  });
  const found = await estimate(plan, {
    store: store.content,
    folders,
    platform: inputs.site.platform ?? parsePlatform(context.platform),
    clock,
    random,
    signal,
    openSource: openImageSources({
      ...{ inputs, clock, random, uplink: uplink.remote, near: uplink.remote },
      onNotice: () => undefined,
      fallbackMs: 0,
    }),
  });
  const { bytesToMove } = found.total;
  return {
    ...found,
    time: await timeNeeded(bytesToMove, dataDir, uplink.link, words, context),
    disk: sufficiency(found.bytesOnDisk, await freeBytes(dataDir)),
    quota: quotaFor(bytesToMove, uplink.link),
  };
}

/** The store as it is, also beside a delivery that runs; where there is none, an empty one. */
async function openExisting(
  dataDir: string,
  { clock }: CliContext,
): Promise<AsyncDisposable & { readonly content: Store }> {
  let store: DiskStore | undefined;
  try {
    store = await openStore(dataDir, { clock, readOnly: true });
  } catch (error) {
    if (!isFailure(error, "store-missing")) throw error;
  }
  return {
    content: store ?? createMemoryStore(),
    async [Symbol.asyncDispose]() {
      await store?.[Symbol.asyncDispose]();
    },
  };
}

async function timeNeeded(
  bytes: number,
  dataDir: string,
  link: Link,
  { rate }: EstimateOptions,
  { clock }: CliContext,
): Promise<Cost["time"]> {
  const measured = rate === undefined ? await readLastSpeed(dataDir) : undefined;
  const bytesPerSecond = rate ?? measured ?? null;
  const from = rate !== undefined ? "option" : measured !== undefined ? "last-delivery" : null;
  const isCapped = link.openAt(clock.now()).bytesPerSecond < Number.POSITIVE_INFINITY;
  if (bytesPerSecond === null && !isCapped && bytes > 0) return { bytesPerSecond, from, ms: null };
  const ms = link.timeFor(bytes, clock.now(), bytesPerSecond ?? undefined);
  return { bytesPerSecond, from, ms: Number.isFinite(ms) ? Math.round(ms) : null };
}

/** Of the folder, or of the nearest one above it that exists; undefined where nobody says. */
async function freeBytes(folder: string): Promise<number | undefined> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  } catch {
    const above = dirname(folder);
    return above === folder ? undefined : freeBytes(above);
  }
}

function sufficiency(bytesNeeded: number, bytesAvailable: number | undefined): Sufficiency | null {
  if (bytesAvailable === undefined) return null;
  return { bytesNeeded, bytesAvailable, suffices: bytesAvailable >= bytesNeeded };
}

function quotaFor(bytes: number, link: Link): Cost["quota"] {
  const left = link.quotaLeft();
  if (left === undefined) return null;
  return {
    bytesNeeded: bytes,
    bytesAvailable: left.bytes,
    suffices: left.bytes >= bytes,
    renewsMs: left.renewsMs,
  };
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

function sizes(need: Estimate["total"]): readonly string[] {
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
