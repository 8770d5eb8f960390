import { isFailure, systemErrorCode } from "#base";
import { digestOf } from "#content";
import {
  childrenOf,
  type Descriptor,
  type Digest,
  type Document,
  digestAlgorithm,
  isIndexType,
  isManifestType,
  MANIFEST_BYTES_MAX,
  parseDocument,
} from "#oci";
import type { StoreDatabase } from "./database.ts";
import type { Disk } from "./disk.ts";
import { blobPath, type Layout, trashPath } from "./layout.ts";
import { descriptorOf, NameTable } from "./names.ts";
import { REPOSITORIES_SINCE } from "./schema.ts";

/** Content that somebody names, and what that is called. */
export interface Root {
  readonly name: string;
  readonly descriptor: Descriptor;
}

/** Why it can't be known what is live: what a document leads to is not to be found out. */
export interface MarkTrouble {
  readonly digest: Digest;
  /** A name that leads to it. */
  readonly name: string;
  readonly problem: "missing" | "wrong" | "unreadable";
}

/** What the documents of a store were found to list. Their bytes never change, so one look is enough. */
export type KnownDocuments = Map<Digest, readonly Descriptor[]>;

/** How to mark. */
export interface MarkOptions {
  readonly layout: Layout;
  readonly disk: Disk;
  readonly signal: AbortSignal;
  readonly known: KnownDocuments;
  /** Called with all that is reached, before it is read. */
  readonly onReach?: (digest: Digest) => Promise<void>;
}

/** What is live. With any trouble, it is not all. */
export interface Marks {
  readonly live: ReadonlySet<Digest>;
  readonly trouble: readonly MarkTrouble[];
}

/**
 * What names content for good: the names of what was delivered, and every manifest that was pushed,
 * tagged or not, so the children of pushed indexes and whatever refers to something as well.
 */
export function rootsIn(database: StoreDatabase): readonly Root[] {
  return [...new NameTable(database).all(), ...pushedIn(database)];
}

interface PushedRow {
  readonly repository: string;
  readonly media_type: string;
  readonly digest: string;
  readonly size: number;
}

function pushedIn(database: StoreDatabase): readonly Root[] {
  if (!database.hasVersion(REPOSITORIES_SINCE)) return [];
  const rows = database.rows<PushedRow>(
    "SELECT repository, media_type, digest, size FROM repository_manifests",
  );
  return rows.map((row) => ({
    name: `${row.repository}@${row.digest}`,
    descriptor: descriptorOf(row),
  }));
}

/** A blob that a repository has. */
export interface Link extends Descriptor {
  readonly repository: string;
  /** When it was last said so, in milliseconds since 1970. */
  readonly linkedMs: number;
}

/** The blobs that repositories have. They lead to nothing, and keep a blob only while they are young. */
export function linksIn(database: StoreDatabase): readonly Link[] {
  if (!database.hasVersion(REPOSITORIES_SINCE)) return [];
  return database
    .rows<PushedRow & { readonly linked_ms: number }>("SELECT * FROM repository_blobs")
    .map((row) => ({
      ...descriptorOf(row),
      repository: row.repository,
      linkedMs: row.linked_ms,
    }));
}

/**
 * Everything that the roots lead to, through every index and manifest at any depth (S-80). That a child
 * is not here is no trouble, for an index keeps its entries of other platforms; a root must be, and what
 * is here must be what it is named (S-81).
 */
export async function mark(roots: readonly Root[], options: MarkOptions): Promise<Marks> {
  const { layout, disk, signal, onReach } = options;
  const live = new Set<Digest>();
  const read = new Set<Digest>();
  const trouble: MarkTrouble[] = [];
  const quarantined = new Set(await disk.list(layout.quarantine));
  const waiting = roots.map((root) => ({ ...root, isRoot: true }));
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    signal.throwIfAborted();
    const { name, descriptor, isRoot } = next;
    const { digest } = descriptor;
    if (!live.has(digest)) await onReach?.(digest);
    live.add(digest);
    // The same content may be a layer to one and a document to another.
    if (read.has(digest) || !(isRoot || isDocument(descriptor))) continue;
    read.add(digest);
    const found = await readChildren(descriptor, options);
    if (found === "leaf") continue;
    if (found === "missing") {
      const isLost = isRoot || quarantined.has(digest.replace(":", "-"));
      if (isLost) trouble.push({ digest, name, problem: found });
    } else if (typeof found === "string") {
      trouble.push({ digest, name, problem: found });
    } else {
      for (const child of found) waiting.push({ name, descriptor: child, isRoot: false });
    }
  }
  return { live, trouble };
}

function isDocument({ mediaType }: Descriptor): boolean {
  return isManifestType(mediaType) || isIndexType(mediaType);
}

/** What a document lists, or why that can't be said. What no client takes for a document lists nothing. */
async function readChildren(
  descriptor: Descriptor,
  { layout, disk, known }: MarkOptions,
): Promise<readonly Descriptor[] | "leaf" | MarkTrouble["problem"]> {
  const { digest } = descriptor;
  const earlier = known.get(digest);
  if (earlier !== undefined) return earlier;
  try {
    const bytes =
      (await readSmall(disk, blobPath(layout, digest))) ??
      // A collection that was interrupted has left it there, and the next puts it back.
      (await readSmall(disk, trashPath(layout, digest)));
    if (bytes === undefined) return "missing";
    if (bytes === "large") return "leaf";
    if (digestOf(bytes, digestAlgorithm(digest)) !== digest) return "wrong";
    const document = tryParse(bytes, descriptor.mediaType);
    if (document === undefined) return "leaf";
    const children = childrenOf(document);
    known.set(digest, children);
    return children;
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    return "unreadable";
  }
}

async function readSmall(disk: Disk, path: string): Promise<Uint8Array | "large" | undefined> {
  const size = await disk.sizeOf(path);
  const file = size === undefined ? undefined : await disk.open(path);
  if (size === undefined || file === undefined) return undefined;
  try {
    if (size > MANIFEST_BYTES_MAX) return "large";
    const bytes = new Uint8Array(size);
    for (let offset = 0, count = -1; count !== 0 && offset < size; offset += count) {
      count = await file.read(bytes.subarray(offset), offset);
    }
    return bytes;
  } finally {
    await file.close();
  }
}

/** What whoever lists it calls it may be wrong; what it says itself leads to more. */
function tryParse(bytes: Uint8Array, mediaType: string): Document | undefined {
  for (const type of [undefined, mediaType]) {
    try {
      return parseDocument(bytes, type);
    } catch (error) {
      if (!isFailure(error)) throw error;
    }
  }
  return undefined;
}
