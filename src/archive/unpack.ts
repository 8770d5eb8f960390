import { fsyncSync, renameSync, statfsSync } from "node:fs";
import { dirname } from "node:path";
import { Failure, quoted, systemErrorCode } from "#base";
import type { Fetcher } from "#content";
import { makeDraft, removeDraft, requireFree, withFolder } from "./draft-folder.ts";
import { type ImageLayer, type LayerOptions, ofLayer, readLayer } from "./layers.ts";
import { NODES_MAX, RootTree, walkTree } from "./root-tree.ts";
import { type LeftOut, RootWriter } from "./root-writer.ts";
import { systemCalls } from "./system-calls.ts";

/** How an image is unpacked. */
export interface UnpackOptions extends LayerOptions {
  /** Without what only root can give: owners, devices, attributes. What was left out is told. */
  readonly isRootless?: boolean;
  /** Bytes that the files may have together; by default all the room that the disk has. */
  readonly bytesMax?: number;
}

/** What an unpacking came to. */
export interface Unpacked {
  readonly folder: string;
  readonly layers: number;
  /** Names in the root file system. */
  readonly entries: number;
  /** Bytes of files that were written. */
  readonly bytes: number;
  /** What could not be given; empty without `isRootless`, but for attributes that are the machine's own. */
  readonly leftOut: readonly LeftOut[];
}

/** Room that is left to the machine. */
const RESERVE_BYTES = 64 * 1024 * 1024;

/**
 * Unpacks an image to a root file system: owners, modes, times, attributes, links, devices, and what
 * upper layers replaced or hid.
 *
 * The folder must not be there, or be empty. Everything is written to a folder beside it, compared with
 * the digests that the config promises, synced, and then renamed: a part of a root never has the name.
 *
 * @throws {Failure} `folder-taken`, `unpack-unprivileged`, `unpack-full`, `unpack-failed`,
 *   `digest-mismatch`, `layer-invalid`, and what `readLayer` throws. Nothing is left behind then
 */
export async function unpackLayers(
  fetcher: Fetcher,
  layers: readonly ImageLayer[],
  target: string,
  options: UnpackOptions,
): Promise<Unpacked> {
  const isRootless = options.isRootless ?? false;
  requirePrivilege(isRootless);
  const folder = requireFree(target);
  const draft = makeDraft(folder);
  try {
    const writer = new RootWriter({ folder: draft, isRootless, bytesMax: roomFor(draft, options) });
    const tree = await writeLayers(fetcher, layers, writer, options);
    writer.finish(tree);
    putInPlace(draft, folder);
    let entries = 0;
    for (const _ of walkTree(tree.root)) entries += 1;
    const { bytes, leftOut } = writer;
    return { folder, layers: layers.length, entries, bytes, leftOut };
  } catch (error) {
    removeDraft(draft);
    throw error;
  }
}

async function writeLayers(
  fetcher: Fetcher,
  layers: readonly ImageLayer[],
  writer: RootWriter,
  options: UnpackOptions,
): Promise<RootTree> {
  const tree = new RootTree(options.nodesMax ?? NODES_MAX);
  for (const [position, layer] of layers.entries()) {
    try {
      for await (const entry of readLayer(fetcher, layer, options)) {
        await writer.apply(tree.apply(entry, position), entry);
      }
    } catch (error) {
      throw ofLayer(error, layer);
    }
  }
  return tree;
}

function requirePrivilege(isRootless: boolean): void {
  if (isRootless || process.geteuid?.() === 0) return;
  throw new Failure({
    code: "unpack-unprivileged",
    message: `Cannot unpack a root file system as user ${process.geteuid?.()}: owners and devices need root`,
    hint: "Run it as root, or with `--rootless`, which goes without and says what it left out",
  });
}

function roomFor(draft: string, { bytesMax = Number.POSITIVE_INFINITY }: UnpackOptions): number {
  const { bavail, bsize } = statfsSync(draft);
  return Math.min(bytesMax, Math.max(0, bavail * bsize - RESERVE_BYTES));
}

/** One sync of the file system costs less than one of each file. */
function putInPlace(draft: string, folder: string): void {
  try {
    withFolder(draft, (fd) => systemCalls().syncFileSystem(fd));
    renameSync(draft, folder);
    withFolder(dirname(folder), fsyncSync);
  } catch (error) {
    throw new Failure({
      code: "unpack-failed",
      message: `Cannot give the root its name ${quoted(folder)}: the system answered ${systemErrorCode(error) ?? "an error"}, expected to rename a folder beside it`,
      hint: "If it is a mount point, name a folder below it",
      cause: error,
    });
  }
}
