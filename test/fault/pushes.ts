import { expect } from "bun:test";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Clock, systemClock } from "#base";
import type { Upload } from "#content";
import { type Disk, type DiskStore, openStore, systemDisk } from "#store";
import { CONTENTS, type Content, checkTruth } from "./contents.ts";

/** The repository of all pushes. */
export const REPOSITORY = "team/app";

/** The folders of these tests may lie on a file system that is too small for uploads to begin. */
export const roomyDisk: Disk = { ...systemDisk, freeBytes: async () => 2 ** 40 };

/** What clients were promised. */
export interface PushStory {
  /** Content that was answered with a 201. */
  readonly pushed: Set<Content>;
  /** The upload that is under way, and how much of it they were told is here. */
  current?: { readonly id: string; readonly content: Content; bytes: number };
}

const signal = new AbortController().signal;

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += 200_000) yield bytes.slice(at, at + 200_000);
}

/** Appends bytes of a content. */
export function append(upload: Upload, { bytes }: Content, end = bytes.byteLength): Promise<void> {
  return upload.append(pieces(bytes.subarray(upload.bytes, end)), { signal });
}

/** Does what clients do to a registry's store: each content in two chunks. */
export async function push(
  dataDir: string,
  options: { readonly disk?: Disk; readonly clock?: Clock } = {},
  story: PushStory = { pushed: new Set() },
): Promise<PushStory> {
  await using store = await openStore(dataDir, {
    clock: systemClock,
    disk: roomyDisk,
    role: "registry",
    ...options,
  });
  for (const content of CONTENTS) {
    const { digest, size } = content.descriptor;
    const upload = await store.uploads.begin(REPOSITORY, null);
    const current = { id: upload.id, content, bytes: 0 };
    story.current = current;
    for (const end of [Math.floor(size / 2), size]) {
      await append(upload, content, end);
      current.bytes = upload.bytes;
    }
    await store.repositories.linkBlob(REPOSITORY, await upload.commit(digest));
    delete story.current;
    story.pushed.add(content);
  }
  return story;
}

/** What was promised holds; there is nothing else; and what is under way can be brought to its end. */
export async function checkPushes(
  dataDir: string,
  store: DiskStore,
  { pushed, current }: PushStory,
): Promise<"gone" | "gone on with" | "none"> {
  await checkTruth(dataDir, store, []);
  for (const { descriptor } of pushed) {
    expect(await store.repositories.blob(REPOSITORY, descriptor.digest)).toMatchObject({
      size: descriptor.size,
    });
  }
  const files = (await readdir(join(dataDir, "uploads"))).filter((entry) => entry !== "ingest");
  const upload = current && (await store.uploads.find(current.id));
  for (const file of files) expect(file).toBe(upload?.id ?? "no file");
  if (current === undefined) return "none";
  if (upload === undefined) return "gone";
  const { content } = current;
  if (upload.bytes > 0) {
    const there = await readFile(join(dataDir, "uploads", upload.id));
    const counted = there.subarray(0, upload.bytes);
    expect(counted.equals(content.bytes.subarray(0, upload.bytes))).toBe(true);
  }
  expect(upload.bytes).toBeGreaterThanOrEqual(current.bytes);
  await append(upload, content);
  await upload.commit(content.descriptor.digest);
  expect(await store.has(content.descriptor)).toBe(true);
  return "gone on with";
}
