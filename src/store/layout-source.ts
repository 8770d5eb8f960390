import { constants } from "node:fs";
import { type FileHandle, lstat, open } from "node:fs/promises";
import { join, resolve } from "node:path";
import { Failure, quoted, systemErrorCode } from "#base";
import { contentMissing, type Fetcher, fetchVerified } from "#content";
import {
  type Descriptor,
  type Digest,
  digestAlgorithm,
  isJsonObject,
  MANIFEST_BYTES_MAX,
  parseDocument,
} from "#oci";
import type { DiskFile } from "./disk.ts";
import { blobPath, type Layout, layoutOf, namesInIndex } from "./layout.ts";
import { streamFile } from "./read.ts";

/**
 * An OCI image layout that somebody else may have written, on a stick or a disk: read and never
 * written, and trusted no more than a registry. Every file is opened by its digest, as what it is: a
 * symbolic link or a folder in its place counts as not there.
 */
export interface LayoutSource extends Fetcher {
  readonly path: string;
  /** Whether there is a file of this digest and size; its bytes may still be wrong. */
  has(descriptor: Descriptor): Promise<boolean>;
  /**
   * What `index.json` says that a name stands for, or undefined. Only whole names count: the `latest`
   * that tools write for want of a better one could be anything.
   */
  lookup(name: string): Promise<Descriptor | undefined>;
  /** The manifest or index of a digest, or undefined when there is none that is right. */
  describe(digest: Digest): Promise<Descriptor | undefined>;
}

/** `index.json` of a store with ten thousand names has 3 MB. */
const INDEX_BYTES_MAX = 64 * 1024 * 1024;

/**
 * Opens an OCI image layout for reading.
 *
 * @throws {Failure} `folder-invalid` when the folder is none; `folder-unreadable`
 */
export async function openLayout(path: string): Promise<LayoutSource> {
  const layout = layoutOf(resolve(path));
  await requireLayout(layout, path);
  const names = namesInIndex(await readJson(layout.index, path));
  const openBlob = async ({ digest, size }: Pick<Descriptor, "digest" | "size">) => {
    if (!(await isRealFolder(layout, digest))) return undefined;
    const file = await openRegular(blobPath(layout, digest), path);
    if (file === undefined || file.size === size) return file?.handle;
    await file.handle.close();
    return undefined;
  };
  const source: LayoutSource = {
    path,
    async has(descriptor) {
      const handle = await openBlob(descriptor);
      await handle?.close();
      return handle !== undefined;
    },
    async fetch(descriptor, options) {
      options.signal.throwIfAborted();
      const handle = await openBlob(descriptor);
      if (handle === undefined) throw contentMissing(descriptor);
      return streamFile(fileOf(handle), {
        range: options.range ?? { start: 0, end: descriptor.size },
        signal: options.signal,
        failure: (error) => unreadable(path, error),
      });
    },
    lookup: async (name) => names.get(name),
    async describe(digest) {
      const file = await openRegular(blobPath(layout, digest), path);
      await file?.handle.close();
      if (file === undefined || file.size > MANIFEST_BYTES_MAX) return undefined;
      return describeDocument(source, digest, file.size);
    },
  };
  return source;
}

/** What kind of document the content is, as its own bytes say. */
async function describeDocument(
  source: Fetcher,
  digest: Digest,
  size: number,
): Promise<Descriptor | undefined> {
  try {
    const untyped = { mediaType: "application/octet-stream", digest, size };
    const signal = new AbortController().signal;
    const bytes = await fetchVerified(source, untyped, { signal });
    const { mediaType } = parseDocument(bytes, undefined);
    return { mediaType, digest, size };
  } catch (error) {
    if (error instanceof Failure) return undefined;
    throw error;
  }
}

async function requireLayout({ marker }: Layout, path: string): Promise<void> {
  const json = await readJson(marker, path);
  const version = isJsonObject(json) ? json["imageLayoutVersion"] : undefined;
  if (typeof version === "string" && version.startsWith("1.")) return;
  throw new Failure({
    code: "folder-invalid",
    message: `Cannot take content from ${quoted(path)}: it has no oci-layout file of version 1, expected an OCI image layout`,
    hint: "Name the folder in which oci-layout and index.json lie: a store of `dray`, or what skopeo copy oci:DIR or crane pull --format=oci wrote",
  });
}

async function readJson(file: string, path: string): Promise<unknown> {
  const opened = await openRegular(file, path);
  if (opened === undefined) return undefined;
  try {
    if (opened.size > INDEX_BYTES_MAX) return undefined;
    return JSON.parse(await opened.handle.readFile("utf8"));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw unreadable(path, error);
  } finally {
    await opened.handle.close();
  }
}

/** The folders on the way to a blob are the layout's own, and lead nowhere else. */
async function isRealFolder({ blobs }: Layout, digest: Digest): Promise<boolean> {
  for (const folder of [blobs, join(blobs, digestAlgorithm(digest))]) {
    const stats = await lstat(folder).catch(() => undefined);
    if (stats?.isDirectory() !== true) return false;
  }
  return true;
}

const NOT_THERE: ReadonlySet<string> = new Set(["ENOENT", "ENOTDIR", "ELOOP", "ENXIO"]);

/** A regular file, and not what a link leads to; a pipe is not waited for. */
async function openRegular(
  file: string,
  path: string,
): Promise<{ readonly handle: FileHandle; readonly size: number } | undefined> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  let handle: FileHandle | undefined;
  try {
    handle = await open(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    const stats = await handle.stat();
    if (stats.isFile()) return { handle, size: stats.size };
    await handle.close();
    return undefined;
  } catch (error) {
    await handle?.close().catch(() => {});
    if (NOT_THERE.has(systemErrorCode(error) ?? "")) return undefined;
    throw unreadable(path, error);
  }
}

function fileOf(handle: FileHandle): Pick<DiskFile, "read" | "close"> {
  return {
    read: async (buffer, at) => (await handle.read(buffer, 0, buffer.byteLength, at)).bytesRead,
    close: () => handle.close(),
  };
}

function unreadable(path: string, cause: unknown): Failure {
  return new Failure({
    code: "folder-unreadable",
    message: `Cannot read ${quoted(path)}: the disk or its permissions answered ${systemErrorCode(cause) ?? "an error"}, expected content`,
    hint: "Check that this user may read it, and the stick or disk that it is on",
    cause,
  });
}
