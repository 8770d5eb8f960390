import { Failure, isFailure, Limiter } from "#base";
import {
  createVerifier,
  type Fetcher,
  type ResolveOptions,
  releaseChunk,
  type Source,
  type Store,
  writeContent,
} from "#content";
import { type Descriptor, MANIFEST_BYTES_MAX } from "#oci";
import { type Reference, tagOrDigest } from "#reference";
import { artifactLocation, artifactName, formatArtifactAddress } from "./address.ts";
import {
  type Blob,
  FILE_BYTES_MAX,
  type FileRole,
  type ListedArtifact,
  readManifest,
} from "./artifact.ts";

/** An artifact that is here, whole and verified. */
export interface SiteArtifact {
  /** As it was asked for: `oci://registry/site:stable`. */
  readonly address: string;
  /** What findings call its root: `oci://registry/site@sha256:…`. */
  readonly location: string;
  /** Its name in a store. */
  readonly name: string;
  readonly manifest: Blob;
  readonly config: Blob;
  readonly files: readonly (Blob & { readonly path: string; readonly role: FileRole })[];
}

/** Where artifacts are kept once they came. */
export type ArtifactStore = Pick<Store, "lookup" | "has" | "fetch">;

/** What fetching an artifact takes. */
export interface FetchArtifactOptions {
  /** The repository that the address names. */
  readonly source: Source;
  /** Where the last one is. Everything is fetched anew without it. */
  readonly store?: ArtifactStore;
  readonly signal: AbortSignal;
  /** Told why the last one that came stands, when its registry can't be asked. */
  readonly onStale: (because: Failure) => void;
}

/** Requests at once: each is a round trip and a few kilobytes. */
const REQUESTS_MAX = 8;

/**
 * Brings an artifact: one request when it has not changed, else what of it is not here yet. When the
 * registry can't be reached, what last came under this address stands.
 *
 * @throws {Failure} `artifact-invalid`; `digest-mismatch`, `content-too-long` for bytes that are not what
 *   the manifest says; `artifact-moved` when what a digest stands for is something else; what keeps the
 *   registry from answering, when nothing came before
 */
export async function fetchArtifact(
  reference: Reference,
  options: FetchArtifactOptions,
): Promise<SiteArtifact> {
  const { source, store, onStale, signal } = options;
  const last = await store?.lookup(artifactName(reference));
  const patience = last === undefined ? "full" : "brief";
  try {
    const isPinned = last !== undefined && last.digest === reference.digest;
    const root = isPinned ? last : await resolveArtifact(reference, source, { signal, patience });
    return await bring(reference, root, options);
  } catch (error) {
    signal.throwIfAborted();
    if (!isFailure(error) || !error.transient || last === undefined || store === undefined) {
      throw error;
    }
    const standing = await bring(reference, last, { ...options, source: store });
    onStale(error);
    return standing;
  }
}

/**
 * What the address stands for now, by one small request (HEAD): whoever knows the digest knows all of it.
 *
 * @throws {Failure} `artifact-moved` when a pinned address is answered with another digest; what keeps
 *   the registry from answering
 */
export async function resolveArtifact(
  reference: Reference,
  source: Pick<Source, "resolve">,
  options: ResolveOptions,
): Promise<Descriptor> {
  const root = await source.resolve(tagOrDigest(reference), options);
  if (reference.digest === undefined || root.digest === reference.digest) return root;
  throw new Failure({
    code: "artifact-moved",
    message: `Cannot use ${formatArtifactAddress(reference)}: its registry gave ${root.digest}, expected the digest of the address`,
    hint: `Look for a proxy or a broken cache in front of ${reference.domain}`,
  });
}

async function bring(
  reference: Reference,
  root: Descriptor,
  { source, store, signal }: Omit<FetchArtifactOptions, "source"> & { readonly source: Fetcher },
): Promise<SiteArtifact> {
  const requests = new Limiter(REQUESTS_MAX);
  const read = (content: Descriptor, bytesMax: number): Promise<Blob> =>
    requests.run(signal, async () => {
      const bytes =
        (await readStored(content, bytesMax, store, signal)) ??
        (await readVerified(source, content, bytesMax, signal));
      return { descriptor: content, bytes };
    });
  const manifest = await read(root, MANIFEST_BYTES_MAX);
  const listed = readListed(manifest.bytes, reference);
  const [config, ...contents] = await Promise.all(
    [listed.config, ...listed.files.map(({ descriptor }) => descriptor)].map((content) =>
      read(content, FILE_BYTES_MAX),
    ),
  );
  if (config === undefined) throw new Error("Broken assertion: an artifact has a config");
  return {
    address: formatArtifactAddress(reference),
    location: artifactLocation(reference, root.digest),
    name: artifactName(reference),
    manifest,
    config,
    files: listed.files.flatMap(({ path, role }, i) => {
      const content = contents[i];
      return content === undefined ? [] : [{ path, role, ...content }];
    }),
  };
}

/** What is wrong with it says nothing of which artifact it is; this does. */
function readListed(bytes: Uint8Array, reference: Reference): ListedArtifact {
  try {
    return readManifest(bytes);
  } catch (error) {
    if (!isFailure(error)) throw error;
    const message = `${formatArtifactAddress(reference)}: ${error.message}`;
    throw new Failure({ code: error.code, message, hint: error.hint, cause: error });
  }
}

/** Undefined for what is not there, and for what went bad on disk: that is fetched again. */
async function readStored(
  content: Descriptor,
  bytesMax: number,
  store: ArtifactStore | undefined,
  signal: AbortSignal,
): Promise<Uint8Array | undefined> {
  if (store === undefined || !(await store.has(content))) return undefined;
  try {
    return await readVerified(store, content, bytesMax, signal);
  } catch (error) {
    if (isFailure(error)) return undefined;
    throw error;
  }
}

/** Memory is bounded by what the descriptor may claim, and not by what the other side sends. */
async function readVerified(
  fetcher: Fetcher,
  content: Descriptor,
  bytesMax: number,
  signal: AbortSignal,
): Promise<Uint8Array> {
  if (content.size > bytesMax) {
    throw new Failure({
      code: "artifact-invalid",
      message: `Cannot use the site artifact: ${content.digest} claims ${content.size} bytes, expected at most ${bytesMax}`,
      hint: "Make it with `dray publish`, or as docs/steering.md says",
    });
  }
  const verifier = createVerifier(content);
  const bytes = new Uint8Array(content.size);
  let offset = 0;
  for await (const chunk of await fetcher.fetch(content, { signal })) {
    signal.throwIfAborted();
    verifier.update(chunk);
    bytes.set(chunk, offset);
    offset += chunk.byteLength;
    releaseChunk(chunk);
  }
  verifier.end();
  return bytes;
}

/**
 * Keeps an artifact in a store under its name, so that the next start needs no link. Blobs first, then
 * the manifest, then the name. A collection keeps it as long as its name is kept.
 *
 * @throws {Failure} `store-full` and others of the store
 */
export async function keepArtifact(
  store: Store,
  { name, manifest, config, files }: SiteArtifact,
): Promise<void> {
  const last = await store.lookup(name);
  for (const { descriptor, bytes } of [config, ...files, manifest]) {
    if (!(await store.lease(descriptor))) await writeContent(store, descriptor, bytes);
  }
  if (last?.digest !== manifest.descriptor.digest) await store.name(name, manifest.descriptor);
}

/**
 * The wait before the registry that steers is asked again, in milliseconds: the period and up to a tenth
 * more, so that many sites that were switched on together don't come in step.
 *
 * @param random a number in [0, 1)
 */
export function pollDelayMs(periodMs: number, random: number): number {
  return periodMs + Math.floor((periodMs / 10) * random);
}
