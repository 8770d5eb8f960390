import { type Clock, formatBytes } from "#base";
import type { UpkeepSummary } from "#daemon";
import { collectStore, type DiskStore, verifyStore } from "#store";

/** What upkeep is done with. */
export interface UpkeepPlace {
  readonly dataDir: string;
  readonly clock: Clock;
  /** A number in [0, 1). */
  readonly random: () => number;
  readonly signal: AbortSignal;
}

/** A week of samples hashes a good part of a store, and one of them is done in minutes. */
const SAMPLE_PERCENT = 10;

/** Reading what nobody asked for must not be felt. */
const VERIFY_BYTES_PER_SECOND = 50 * 1000 * 1000;

/** Hashes anew what the store has, and says in a sentence what was found. */
export async function verifyUpkeep(
  scope: "all" | "sample" | "since-unclean",
  { dataDir, store, clock, random, signal }: UpkeepPlace & { readonly store: DiskStore },
): Promise<UpkeepSummary> {
  const seed = random().toString(36).slice(2, 10);
  const verification = await verifyStore(dataDir, store, {
    ...{ clock, signal },
    ...(scope === "all" ? {} : { bytesPerSecond: VERIFY_BYTES_PER_SECOND }),
    scope:
      scope === "all"
        ? { kind: "whole" }
        : scope === "sample"
          ? { kind: "sample", percent: SAMPLE_PERCENT, seed }
          : { kind: "since-unclean" },
  });
  const { wrong, blobsVerified: blobs, bytesVerified: bytes } = verification;
  const verdict = wrong.length === 0 ? "all as they should be" : `${wrong.length} wrong`;
  return {
    ok: wrong.length === 0,
    text: `Verified ${blobs} of ${verification.blobsInStore} blobs (${formatBytes(bytes)}): ${verdict}`,
    ...{ blobs, bytes },
    trouble: wrong.slice(0, TOLD_MAX).map(({ digest, names, quarantined }) => ({
      code: "blob-wrong",
      message: `${digest} is wrong${names[0] === undefined ? "" : `, a part of ${names[0]}`}: ${quarantined === undefined ? "it could not be moved away" : "it was moved to quarantine"}`,
      hint:
        quarantined === undefined
          ? "Let the agent write to its data folder: until then it is served"
          : "It is fetched again; if it comes back, look for disk errors with `dmesg`",
    })),
  };
}

/** Wrong blobs that are told of one by one. */
const TOLD_MAX = 20;

/** Removes what nothing needs any more, or says what that would be. */
export async function collectUpkeep(
  isDryRun: boolean,
  { dataDir, clock, signal }: UpkeepPlace,
): Promise<UpkeepSummary> {
  const { blobs, bytes, trouble } = await collectStore(dataDir, { clock, signal, isDryRun });
  const isStopped = trouble.length > 0;
  const amount = `${blobs.length} ${blobs.length === 1 ? "blob" : "blobs"} (${formatBytes(bytes)})`;
  return {
    ok: !isStopped,
    text: isStopped
      ? "Nothing was removed: it can't be known what is needed"
      : `${isDryRun ? "Would remove" : "Removed"} ${amount}`,
    ...{ blobs: blobs.length, bytes },
    trouble: trouble.slice(0, TOLD_MAX).map(({ digest, name, problem }) => ({
      code: "collect-blocked",
      message: `${digest} of ${name} is ${problem}, so it can't be known what it leads to`,
      hint: "Ask for `dray stage`, which fetches it again; what was pushed must be pushed again, or deleted",
    })),
  };
}
