import { join } from "node:path";
import type { Clock } from "#base";
import { isJsonObject } from "#oci";
import { type Disk, readText, replaceFile } from "./disk.ts";
import type { Layout } from "./layout.ts";

/**
 * A file system says when a file changed in ticks of the kernel, which lag behind the clock by some
 * milliseconds.
 */
const CHANGE_LAG_MS = 1_000;

/** A process that has the store open for writing. */
export interface WriterRun {
  /** Says that it ended as it should: whatever it wrote is durable. */
  end(): Promise<void>;
}

/**
 * What is known of the writers of a store in one role, in a file of its own. All times are milliseconds
 * since 1970, by the machine's clock: one that was set back hides what was written until it is where
 * it was.
 */
interface WriterMark {
  /** What changed since then is suspect: the first run began then that died and is not verified yet. */
  readonly suspectSinceMs?: number;
  /** When the last run ended as it should; absent while one is at work, or when it died. */
  readonly endedMs?: number;
}

/**
 * Marks that a writer is at work. What it finds of an earlier one says that this one died, by a power
 * cut perhaps: a disk may have lost what it said was durable, so its work is suspect until verified.
 *
 * A disk that is full is no reason not to begin: a registry has to serve from it. An empty mark takes
 * no room, and makes everything suspect.
 */
export async function beginRun(disk: Disk, layout: Layout, clock: Clock): Promise<WriterRun> {
  const sinceMs = clock.now();
  const earlierMs = await suspectsIn(disk, layout, layout.writerMark);
  const suspectSinceMs = Math.min(sinceMs, earlierMs ?? sinceMs);
  await writeMark(disk, layout, { suspectSinceMs }).catch(() => leaveEmptyMark(disk, layout));
  return {
    async end() {
      const isVerified = ((await verifiedAt(disk, layout)) ?? 0) >= sinceMs;
      if (earlierMs !== undefined && !isVerified) {
        return writeMark(disk, layout, { suspectSinceMs, endedMs: clock.now() });
      }
      await disk.remove(layout.writerMark);
      await disk.syncFolder(layout.dataDir);
    },
  };
}

/**
 * Since when what changed is suspect: a writer began then that died, or is at work now. Undefined when
 * nothing is. A mark that can't be read makes everything suspect.
 */
export async function suspectsSince(disk: Disk, layout: Layout): Promise<number | undefined> {
  const found: number[] = [];
  for (const mark of layout.writerMarks) {
    const sinceMs = await suspectsIn(disk, layout, mark);
    if (sinceMs !== undefined) found.push(sinceMs);
  }
  return found.length === 0 ? undefined : Math.min(...found);
}

async function suspectsIn(disk: Disk, layout: Layout, mark: string): Promise<number | undefined> {
  const text = await readText(disk, mark);
  if (text === undefined) return undefined;
  const verifiedMs = (await verifiedAt(disk, layout)) ?? 0;
  if (verifiedMs >= (numberIn(text, "endedMs") ?? Number.POSITIVE_INFINITY)) return undefined;
  const firstMs = numberIn(text, "suspectSinceMs") ?? 0;
  return Math.max(0, Math.max(firstMs, verifiedMs) - CHANGE_LAG_MS);
}

/** Says that everything suspect that was there at that time has been verified. */
export function markVerified(disk: Disk, { dataDir }: Layout, atMs: number): Promise<void> {
  const path = join(dataDir, "verified.json");
  const text = `${JSON.stringify({ atMs })}\n`;
  return replaceFile(disk, { path, folder: dataDir, draft: `${path}.draft` }, text);
}

async function verifiedAt(disk: Disk, { dataDir }: Layout): Promise<number | undefined> {
  return numberIn((await readText(disk, join(dataDir, "verified.json"))) ?? "", "atMs");
}

/** One that is there already says more. */
async function leaveEmptyMark(disk: Disk, { writerMark }: Layout): Promise<void> {
  const file = await disk.create(writerMark).catch(() => undefined);
  await file?.close();
}

function writeMark(disk: Disk, layout: Layout, mark: WriterMark): Promise<void> {
  const { dataDir: folder, ingest, writerMark: path } = layout;
  const at = { path, folder, draft: join(ingest, "writer.json") };
  return replaceFile(disk, at, `${JSON.stringify(mark)}\n`);
}

function numberIn(text: string, key: string): number | undefined {
  try {
    const json: unknown = JSON.parse(text);
    const value = isJsonObject(json) ? json[key] : undefined;
    return typeof value === "number" && Number.isFinite(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
