import { expect } from "bun:test";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, systemClock } from "#base";
import { digestOf, type Store } from "#content";
import { type Descriptor, digestAlgorithm, parseDigest } from "#oci";
import { type Disk, type DiskStore, openStore } from "#store";
import { randomBytes } from "#test-support/images";

/** Content of a test and the name it is delivered under. */
export interface Content {
  readonly name: string;
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/** One content of several pieces, one small, one empty, and one under sha512. */
export const CONTENTS: readonly Content[] = [
  content("large", 4_500_000, "sha256"),
  content("small", 100, "sha256"),
  content("empty", 0, "sha256"),
  content("other", 70_000, "sha512"),
];

/** Content that the name alone decides. */
export function content(
  name: string,
  length: number,
  algorithm: "sha256" | "sha512" = "sha256",
): Content {
  const bytes = randomBytes(name, length);
  const digest = digestOf(bytes, algorithm);
  return { name, bytes, descriptor: { mediaType: "application/x", digest, size: length } };
}

/** What a writer was promised, and what it has sent. */
export interface Story {
  /** Names that are durable. */
  readonly promised: Set<string>;
  bytesSent: number;
}

/** Does what a delivery does to a store. */
export async function fill(
  dataDir: string,
  options: { readonly disk?: Disk; readonly clock?: Clock } = {},
  story: Story = { promised: new Set(), bytesSent: 0 },
): Promise<Story> {
  await using store = await openStore(dataDir, { clock: systemClock, ...options });
  for (const content of CONTENTS) {
    if (!(await store.has(content.descriptor))) await put(store, content, story);
    await store.name(content.name, content.descriptor);
    story.promised.add(content.name);
  }
  return story;
}

/** Sends what the store says is missing. */
export async function put(
  store: Store,
  { descriptor, bytes }: Content,
  story: { bytesSent: number } = { bytesSent: 0 },
): Promise<void> {
  await using ingest = await store.ingest(descriptor);
  for (const { start, end } of ingest.missing) {
    for (let offset = start; offset < end; offset += 300_000) {
      const piece = bytes.subarray(offset, Math.min(offset + 300_000, end));
      story.bytesSent += piece.byteLength;
      await ingest.write(piece, offset);
    }
  }
  await ingest.commit();
}

/** All that lies under the final names is what its name says; all that was promised is there. */
export async function checkTruth(
  dataDir: string,
  store: DiskStore,
  promised: Iterable<string>,
): Promise<void> {
  for (const algorithm of ["sha256", "sha512"]) {
    for (const hex of await readdir(join(dataDir, "blobs", algorithm))) {
      const digest = parseDigest(`${algorithm}:${hex}`);
      const bytes = await readFile(join(dataDir, "blobs", algorithm, hex));
      expect(digestOf(bytes, digestAlgorithm(digest))).toBe(digest);
    }
  }
  for (const { descriptor } of await store.names()) expect(await store.has(descriptor)).toBe(true);
  for (const name of promised) expect(await store.lookup(name)).toBeDefined();
  for (const folder of [join(dataDir, "ingest"), join(dataDir, "uploads", "ingest")]) {
    const entries = existsSync(folder) ? await readdir(folder) : [];
    for (const entry of entries) expect(entry).toMatch(PARTIAL);
  }
}

const PARTIAL = /^sha(256|512)-[0-9a-f]+(\.log)?$/;

/** In memory where there is such a folder: thousands of fsyncs would wear a disk and the patience. */
const FOLDERS = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

/** A folder of its own, until it is disposed of. */
export async function newFolder(): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(FOLDERS, "dray-fault-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
