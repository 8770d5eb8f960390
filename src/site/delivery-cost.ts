import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { createMemoryStore } from "#content";
import { type Estimate, estimate } from "#deliver";
import type { Link } from "#link";
import type { RemoteNotice } from "#remote";
import { createDiskLedger, openLayout } from "#store";
import { clusterPlatform } from "./cluster-platform.ts";
import type { SiteContext } from "./context.ts";
import { openImageSources } from "./image-sources.ts";
import { readLastSpeed } from "./last-speed.ts";
import { openStoreIfThere } from "./own-store.ts";
import type { Planned } from "./plan-inputs.ts";
import { openUplink } from "./uplink.ts";

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

/** What is needed of something, and what there is. */
export interface Sufficiency {
  readonly bytesNeeded: number;
  readonly bytesAvailable: number;
  readonly suffices: boolean;
}

/** What an estimate is made with, beside the plan and its inputs. */
export interface CostOptions {
  /** The store that it is for, which need not be there. */
  readonly dataDir: string;
  /** OCI layouts that content would be taken from. */
  readonly from?: readonly string[] | undefined;
  /** Speed of the link in bytes per second, where somebody knows it. */
  readonly rate?: number | undefined;
  readonly signal: AbortSignal;
  readonly onNotice: (notice: RemoteNotice) => void;
}

/**
 * Says what a delivery would cost. Asks the registries for manifests, and moves nothing else.
 *
 * @throws {Failure} what `openLayout`, `openStoreIfThere` and the ledger of the link throw
 */
export async function estimateCost(
  { plan, inputs }: Pick<Planned, "plan" | "inputs">,
  { dataDir, from = [], rate, signal, onNotice }: CostOptions,
  context: SiteContext,
): Promise<Cost> {
  const { clock, random } = context;
  const folders = await Promise.all(from.map(openLayout));
  await using store = await openStoreIfThere(dataDir, context);
  await using uplink = await openUplink({
    inputs,
    ledger: createDiskLedger(dataDir),
    context,
    onNotice,
    onPause: () => undefined,
    isMetered: false,
  });
  const found = await estimate(plan, {
    store: store ?? createMemoryStore(),
    folders,
    platform: clusterPlatform(inputs.site, context),
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
    time: await timeNeeded(bytesToMove, dataDir, uplink.link, rate, context),
    disk: sufficiency(found.bytesOnDisk, await freeBytes(dataDir)),
    quota: quotaFor(bytesToMove, uplink.link),
  };
}

async function timeNeeded(
  bytes: number,
  dataDir: string,
  link: Link,
  rate: number | undefined,
  { clock }: SiteContext,
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
