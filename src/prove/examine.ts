import { Failure, isFailure } from "#base";
import {
  createVerifier,
  type Fetcher,
  fetchVerified,
  type ImageGraph,
  releaseChunk,
  type Store,
} from "#content";
import { type Descriptor, type Digest, digestHex } from "#oci";
import type { PlannedImage } from "#plan";
import { tagOrDigest } from "#reference";
import type { SiteRole, Way } from "./ports.ts";
import type { Problem, ProofDepth, ProvenPlace } from "./proof.ts";

/** How much is read of a blob that is not read whole. */
const END_BYTES = 64 * 1024;

/** What a registry of the site is examined for. */
export interface PlaceQuestion {
  readonly role: SiteRole;
  /** What people call it. */
  readonly name: string;
  readonly way: Way;
  readonly image: PlannedImage;
  /** What was verified. */
  readonly graph: ImageGraph;
  /** It may stand for the platform's manifest in place of the index. */
  readonly mayBeOnePlatform: boolean;
}

/** Reads what registries have, each blob once however many images share it. */
export interface BlobReader {
  /**
   * Reads a blob, or the end of it.
   *
   * @returns how many of its bytes were read, now or for another image
   * @throws {Failure} when it is not what it was
   */
  read(question: PlaceQuestion, blob: Descriptor, isWhole: boolean): Promise<number>;
}

/** A reader that remembers what it has read. */
export function createBlobReader(
  store: Store,
  { signal }: { readonly signal: AbortSignal },
): BlobReader {
  const whole = new Map<string, Promise<void>>();
  return {
    async read({ role, way: { repository } }, blob, isWhole) {
      if (!isWhole && blob.size > END_BYTES) {
        await compareEnd(repository, store, blob, signal);
        return END_BYTES;
      }
      const key = `${role} ${blob.digest}`;
      const reading = whole.get(key) ?? readWhole(repository, blob, signal);
      whole.set(key, reading);
      await reading;
      return blob.size;
    },
  };
}

/** A place as it was found, and what is wrong with it. */
export interface Examined {
  readonly place: ProvenPlace;
  readonly problems: readonly Problem[];
}

/**
 * Asks a registry of the site for all of an image: what its name stands for, every manifest whole, every
 * blob by HEAD, and some of the blobs really.
 */
export async function examinePlace(
  question: PlaceQuestion,
  depth: ProofDepth,
  reader: BlobReader,
  signal: AbortSignal,
): Promise<Examined> {
  const { role, way, graph } = question;
  const problems: Problem[] = [];
  const place = { role, url: way.url, digest: null, manifests: 0, blobs: 0, bytesRead: 0 };
  const digest = await attempt(question, problems, () => standsFor(question, signal));
  if (digest === undefined) return { place, problems };
  const isOnePlatform = digest !== graph.root.digest && digest === graph.manifest.digest;
  if (digest !== graph.root.digest && !(isOnePlatform && question.mayBeOnePlatform)) {
    problems.push(otherDigest(question, digest));
    return { place: { ...place, digest }, problems };
  }
  const documents = isOnePlatform ? graph.documents.slice(-1) : graph.documents;
  let [manifests, blobs, bytesRead] = [0, 0, 0];
  for (const { descriptor } of documents) {
    const isRight = await attempt(question, problems, async () => {
      await fetchVerified(way.repository, descriptor, { signal });
      return true;
    });
    if (isRight) manifests += 1;
  }
  for (const blob of graph.blobs) {
    const isThere = await attempt(question, problems, () => way.repository.holds(blob, { signal }));
    if (isThere === undefined) break;
    if (isThere) blobs += 1;
    else problems.push(missingBlob(question, blob));
  }
  // What is not there need not be read to know that.
  if (problems.length > 0) return { place: { ...place, digest, manifests, blobs }, problems };
  for (const { blob, isWhole } of chooseReads(graph.blobs, depth)) {
    const read = await attempt(
      question,
      problems,
      () => reader.read(question, blob, isWhole),
      blob,
    );
    bytesRead += read ?? 0;
  }
  return { place: { ...place, digest, manifests, blobs, bytesRead }, problems };
}

interface Read {
  readonly blob: Descriptor;
  readonly isWhole: boolean;
}

/**
 * Which blobs are read. A sample is decided by the digests alone, so that two proofs of one site read
 * the same; digests are as good as chance.
 */
export function chooseReads(blobs: readonly Descriptor[], depth: ProofDepth): readonly Read[] {
  const percent = depth.kind === "full" ? 100 : depth.kind === "sample" ? depth.percent : 0;
  const whole = blobs.filter(({ digest }) => rankOf(digest) < percent);
  const [largest] = blobs.toSorted((a, b) => b.size - a.size || (a.digest < b.digest ? -1 : 1));
  const isEndWanted = largest !== undefined && !whole.includes(largest);
  return [
    ...(isEndWanted ? [{ blob: largest, isWhole: false }] : []),
    ...whole.map((blob) => ({ blob, isWhole: true })),
  ];
}

/** From 0 on and below 100. */
function rankOf(digest: Digest): number {
  return (Number.parseInt(digestHex(digest).slice(0, 8), 16) / 2 ** 32) * 100;
}

/** What the image's name stands for, as the runtime would find out. */
async function standsFor(
  { way: { repository }, image, graph, mayBeOnePlatform }: PlaceQuestion,
  signal: AbortSignal,
): Promise<Digest> {
  const { declared } = image;
  try {
    return (await repository.resolve(tagOrDigest(declared), { signal })).digest;
  } catch (error) {
    // A name without a tag can only be asked for by what it may stand for.
    const isPinned = declared.digest !== undefined && declared.tag === undefined;
    if (!mayBeOnePlatform || !isPinned || !isFailure(error, "content-missing")) throw error;
    return (await repository.resolve(graph.manifest.digest, { signal })).digest;
  }
}

async function readWhole(source: Fetcher, blob: Descriptor, signal: AbortSignal): Promise<void> {
  const verifier = createVerifier(blob);
  for await (const chunk of await source.fetch(blob, { signal })) {
    verifier.update(chunk);
    releaseChunk(chunk);
  }
  verifier.end();
}

/** The end of a blob against the same bytes of the store, whose digest was verified once. */
async function compareEnd(
  source: Fetcher,
  store: Store,
  blob: Descriptor,
  signal: AbortSignal,
): Promise<void> {
  const range = { start: blob.size - END_BYTES, end: blob.size };
  const served = await new Response(await source.fetch(blob, { signal, range })).bytes();
  if (!(await store.has(blob))) return;
  const stored = await new Response(await store.fetch(blob, { signal, range })).bytes();
  if (Buffer.compare(served, stored) === 0) return;
  throw new Failure({
    code: "digest-mismatch",
    message: `Cannot accept content ${blob.digest}: its last ${END_BYTES} bytes differ from those in the store`,
    hint: "",
  });
}

/** What an act gives, or undefined with a problem more. */
async function attempt<T>(
  question: PlaceQuestion,
  problems: Problem[],
  act: () => Promise<T>,
  blob?: Descriptor,
): Promise<T | undefined> {
  try {
    return await act();
  } catch (error) {
    if (!isFailure(error)) throw error;
    problems.push(problemOf(question, error, blob));
    return undefined;
  }
}

const DAMAGE: ReadonlySet<string> = new Set([
  "digest-mismatch",
  "content-too-short",
  "content-too-long",
]);

function problemOf(question: PlaceQuestion, error: Failure, blob?: Descriptor): Problem {
  const { role, name } = question;
  if (DAMAGE.has(error.code)) {
    const what = blob === undefined ? "A manifest" : `Blob ${blob.digest} (${blob.size} bytes)`;
    return {
      code: "content-damaged",
      message: `${what} is damaged at ${name}: ${error.message}`,
      remedy: REMEDIES[role].damaged,
    };
  }
  if (error.code === "content-missing") {
    return {
      code: "content-missing",
      message: `${name} does not have it: ${error.message}`,
      remedy: REMEDIES[role].missing,
    };
  }
  const remedy = REMEDIES[role].refused[error.code] ?? error.hint;
  return { code: error.code, message: error.message, remedy };
}

function missingBlob({ role, name }: PlaceQuestion, { digest, size }: Descriptor): Problem {
  return {
    code: "blob-missing",
    message: `${name} does not have blob ${digest} of ${size} bytes`,
    remedy: REMEDIES[role].missing,
  };
}

function otherDigest({ role, name, graph }: PlaceQuestion, found: Digest): Problem {
  return {
    code: "digest-differs",
    message: `At ${name} the name stands for ${found}, expected ${graph.root.digest}, which was verified when it was delivered`,
    remedy: REMEDIES[role].missing,
  };
}

interface Remedies {
  readonly missing: string;
  readonly damaged: string;
  /** By code of the failure. */
  readonly refused: Readonly<Record<string, string>>;
}

const REDIRECT_AGAIN =
  "Run `dray redirect` again with the certificate and login that the registry has now";

const REMEDIES: Readonly<Record<SiteRole, Remedies>> = {
  embedded: {
    missing: "Run `dray deliver`, which fetches what is missing",
    damaged: "Run `dray verify`, which moves it away, then `dray deliver`, which fetches it again",
    refused: {
      "registry-unreachable": "Start `dray registry serve`, and look why it does not answer",
      "registry-certificate": REDIRECT_AGAIN,
      "registry-unauthorized": REDIRECT_AGAIN,
    },
  },
  local: {
    missing: "Run `dray deliver`, which uploads it again",
    damaged:
      "Delete the repository at the local registry and collect its garbage, then run `dray deliver`, which uploads it again",
    refused: {
      "registry-unreachable": "Start the local registry, or correct localRegistry.address",
      "registry-certificate": REDIRECT_AGAIN,
      "registry-unauthorized":
        "Run `dray deliver`, which makes the nodes' account at a Harbor, or set localRegistry.nodes; then run `dray redirect` again",
      "registry-denied":
        "Give the nodes' account the right to pull at the local registry, then run `dray redirect` again",
    },
  },
};
