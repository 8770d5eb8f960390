import { Failure } from "#base";
import { type Descriptor, digestAlgorithm, MANIFEST_BYTES_MAX } from "#oci";
import { createHasher } from "./hash.ts";
import type { CallOptions, Fetcher, GraphDocument, ResolveOptions, Resolver } from "./ports.ts";

/** Compares content with its descriptor while it passes by; the one place that decides what is right. */
export interface Verifier {
  /** @throws {Failure} `content-too-long`, before the bytes that are too many are hashed (C-82) */
  update(bytes: Uint8Array): void;
  /** @throws {Failure} `content-too-short` (C-89), `digest-mismatch` */
  end(): void;
}

/** Begins to compare content with what its descriptor says: size and digest, never a header (C-64). */
export function createVerifier(descriptor: Descriptor): Verifier {
  const hasher = createHasher(digestAlgorithm(descriptor.digest));
  let bytesSeen = 0;
  return {
    update(bytes) {
      bytesSeen += bytes.byteLength;
      if (bytesSeen > descriptor.size) throw contentTooLong(descriptor);
      hasher.update(bytes);
    },
    end() {
      if (bytesSeen < descriptor.size) throw contentTooShort(descriptor, bytesSeen);
      const actual = hasher.digest();
      if (actual !== descriptor.digest) throw mismatch(descriptor, actual);
    },
  };
}

/**
 * Fetches small content whole, verified: a manifest, an index, a config.
 *
 * Memory is bounded by what the descriptor may claim and not by what the other side sends (C-66, SEC-8).
 *
 * @throws {Failure} `manifest-too-large` before anything is asked for; `content-missing`,
 *   `content-too-long`, `content-too-short`, `digest-mismatch`
 */
export async function fetchVerified(
  fetcher: Fetcher,
  descriptor: Descriptor,
  { signal }: CallOptions,
): Promise<Uint8Array> {
  if (descriptor.size > MANIFEST_BYTES_MAX) throw tooLarge(descriptor);
  const verifier = createVerifier(descriptor);
  const bytes = new Uint8Array(descriptor.size);
  let offset = 0;
  for await (const chunk of await fetcher.fetch(descriptor, { signal })) {
    signal.throwIfAborted();
    verifier.update(chunk);
    bytes.set(chunk, offset);
    offset += chunk.byteLength;
  }
  verifier.end();
  return bytes;
}

/**
 * Compares content that is in memory whole with its descriptor.
 *
 * @throws {Failure} `content-too-long`, `content-too-short`, `digest-mismatch`
 */
export function verifyContent(descriptor: Descriptor, bytes: Uint8Array): void {
  const verifier = createVerifier(descriptor);
  verifier.update(bytes);
  verifier.end();
}

/**
 * What a name stands for, with its bytes, verified: `fetchManifest` of a source that is so near that
 * asking twice costs nothing.
 *
 * @throws {Failure} what `resolve` and {@link fetchVerified} throw
 */
export async function resolveAndFetch(
  source: Resolver & Fetcher,
  tagOrDigest: string,
  options: ResolveOptions,
): Promise<GraphDocument> {
  const descriptor = await source.resolve(tagOrDigest, options);
  return { descriptor, bytes: await fetchVerified(source, descriptor, options) };
}

/** The failure of whoever looked for content that is required and is not there. */
export function contentMissing(descriptor: Descriptor): Failure {
  return new Failure({
    code: "content-missing",
    message: `Cannot find content ${descriptor.digest}: it is not in the store, expected ${descriptor.size} bytes`,
    hint: "Run `dray deliver` again, which fetches what is missing",
  });
}

function tooLarge({ digest, size }: Descriptor): Failure {
  return new Failure({
    code: "manifest-too-large",
    message: `Cannot read manifest or config ${digest}: it claims ${size} bytes, expected at most ${MANIFEST_BYTES_MAX}`,
    hint: "Ask the publisher of the image for one with a smaller manifest",
  });
}

const CHECK_THE_PATH =
  "Check for a proxy or login page between this machine and the registry, then run `dray deliver` again";

/** The failure of whoever was given bytes beyond the size of the content. */
export function contentTooLong({ digest, size }: Descriptor): Failure {
  return new Failure({
    code: "content-too-long",
    message: `Cannot accept content ${digest}: more bytes came, expected ${size}`,
    hint: CHECK_THE_PATH,
  });
}

/** The failure of whoever was given fewer bytes than the content has. */
export function contentTooShort({ digest, size }: Descriptor, bytesSeen: number): Failure {
  return new Failure({
    code: "content-too-short",
    message: `Cannot accept content ${digest}: it ended after ${bytesSeen} bytes, expected ${size}`,
    hint: "Run `dray deliver` again; if it stays so, ask the publisher to push the image again",
    transient: true,
  });
}

function mismatch({ digest }: Descriptor, actual: string): Failure {
  return new Failure({
    code: "digest-mismatch",
    message: `Cannot accept content ${digest}: its bytes have digest ${actual}, expected the one it is named by`,
    hint: CHECK_THE_PATH,
  });
}
