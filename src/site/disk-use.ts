import { readdirSync, statSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { join } from "node:path";
import { childrenIn, taggedIn } from "#content";
import type { DiskUse } from "#daemon";
import { type Descriptor, type Digest, tryParseDigest } from "#oci";
import type { DiskStore } from "#store";

/** What a revision keeps of a store. */
export interface KeptNames {
  readonly id: string;
  /** Its images as declared. */
  readonly declared: readonly string[];
}

/** The revisions that keep something, in the order in which they claim what they share. */
export type KeptRevisions = Readonly<Partial<Record<"active" | "staged" | "previous", KeptNames>>>;

/**
 * What the disk of a store is used for. Reads every manifest that is kept, and looks at every blob.
 *
 * @throws {Failure} what the store does
 */
export async function readDiskUse(
  dataDir: string,
  store: DiskStore,
  revisions: KeptRevisions,
  atMs: number,
): Promise<DiskUse> {
  const { bsize, blocks, bavail } = await statfs(dataDir);
  const left = blobsIn(dataDir);
  const claim = async (roots: AsyncIterable<Descriptor> | Iterable<Descriptor>) => {
    const use = { bytes: 0, blobs: 0 };
    for await (const digest of reached(store, roots)) {
      const bytes = left.get(digest);
      if (bytes === undefined || !left.delete(digest)) continue;
      use.bytes += bytes;
      use.blobs += 1;
    }
    return use;
  };
  const active = await claim(await rootsOf(store, revisions.active));
  const staged = await claim(await rootsOf(store, revisions.staged));
  const previous = await claim(await rootsOf(store, revisions.previous));
  const pushed = await claim(pushedIn(store));
  const partial = sum([...sizesIn(join(dataDir, "ingest")), ...sizesIn(join(dataDir, "uploads"))]);
  return {
    at: atMs,
    totalBytes: bsize * blocks,
    freeBytes: bsize * bavail,
    use: {
      ...{ active, staged, previous, pushed, partial },
      unkept: sum([...left.values()]),
      quarantine: sum(sizesIn(join(dataDir, "quarantine"))),
    },
  };
}

/** A name that the revision has for itself, or else that is in force. */
async function rootsOf(store: DiskStore, revision: KeptNames | undefined) {
  if (revision === undefined) return [];
  const own = await store.namesOfRevision(revision.id);
  const roots = new Map(own.map(({ name, descriptor }) => [name, descriptor]));
  for (const name of revision.declared) {
    const root = roots.has(name) ? undefined : await store.lookup(name);
    if (root !== undefined) roots.set(name, root);
  }
  return [...roots.values()];
}

const NEVER = new AbortController().signal;

/** Everything that the roots lead to, each once. What can't be read leads nowhere. */
async function* reached(
  store: DiskStore,
  roots: AsyncIterable<Descriptor> | Iterable<Descriptor>,
): AsyncGenerator<Digest> {
  const seen = new Set<Digest>();
  for await (const root of roots) {
    const waiting = [root];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      if (seen.has(next.digest)) continue;
      seen.add(next.digest);
      yield next.digest;
      waiting.push(...(await childrenIn(store, next, { signal: NEVER })));
    }
  }
}

async function* pushedIn({ repositories }: DiskStore): AsyncGenerator<Descriptor> {
  for await (const { descriptor } of taggedIn(repositories)) yield descriptor;
}

function blobsIn(dataDir: string): Map<Digest, number> {
  const blobs = new Map<Digest, number>();
  for (const algorithm of ["sha256", "sha512"]) {
    const folder = join(dataDir, "blobs", algorithm);
    for (const hex of namesIn(folder)) {
      // A backup or an editor may have left something of its own there.
      const digest = tryParseDigest(`${algorithm}:${hex}`);
      const bytes = digest && sizeOf(join(folder, hex));
      if (digest !== undefined && bytes !== undefined) blobs.set(digest, bytes);
    }
  }
  return blobs;
}

function sizesIn(folder: string): readonly number[] {
  return namesIn(folder).flatMap((name) => sizeOf(join(folder, name)) ?? []);
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** What the file takes on the disk: a partial may have holes. Undefined for what is no file, or gone. */
function sizeOf(path: string): number | undefined {
  const status = statSync(path, { throwIfNoEntry: false });
  return status?.isFile() === true ? Math.min(status.size, status.blocks * 512) : undefined;
}

function sum(sizes: readonly number[]) {
  return { bytes: sizes.reduce((total, size) => total + size, 0), blobs: sizes.length };
}
