import { createCipheriv, createHash } from "node:crypto";
import type { Fetcher, Store } from "#content";
import { type Descriptor, type DigestAlgorithm, parseDigest } from "#oci";

/** Content of a test and the descriptor that tells the truth about it. */
export interface Sample {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/** A signal that is never aborted. */
export const patient: AbortSignal = new AbortController().signal;

/** Bytes that are the same on every run and different for every seed, and compress badly. */
export function sampleBytes(seed: string, length: number): Uint8Array {
  const key = createHash("sha256").update(seed).digest();
  const cipher = createCipheriv("aes-256-ctr", key, new Uint8Array(16));
  return new Uint8Array(cipher.update(new Uint8Array(length)));
}

/** A sample of that many bytes, hashed apart from the code that is under test. */
export function sample(
  seed: string,
  length: number,
  algorithm: DigestAlgorithm = "sha256",
): Sample {
  return sampleOf(sampleBytes(seed, length), "application/octet-stream", algorithm);
}

/** The sample that these bytes are. */
export function sampleOf(
  bytes: Uint8Array,
  mediaType: string,
  algorithm: DigestAlgorithm = "sha256",
): Sample {
  const hex = createHash(algorithm).update(bytes).digest("hex");
  const digest = parseDigest(`${algorithm}:${hex}`);
  return { bytes, descriptor: { mediaType, digest, size: bytes.byteLength } };
}

/** Takes a sample in the way that every writer does, in pieces of the given size. */
export async function put(
  store: Store,
  { descriptor, bytes }: Sample,
  pieceBytes: number = 100_000,
): Promise<void> {
  await using ingest = await store.ingest(descriptor);
  for (let offset = 0; offset < bytes.byteLength; offset += pieceBytes) {
    await ingest.write(bytes.subarray(offset, offset + pieceBytes), offset);
  }
  await ingest.commit();
}

/** Everything that a fetch gives. */
export async function get(
  fetcher: Fetcher,
  descriptor: Descriptor,
  signal: AbortSignal = patient,
): Promise<Uint8Array> {
  return new Uint8Array(
    await new Response(await fetcher.fetch(descriptor, { signal })).arrayBuffer(),
  );
}

/** The code of the failure that a promise ends with; `none` when it succeeds, the error itself when it is no Failure. */
export async function codeOf(act: Promise<unknown>): Promise<unknown> {
  try {
    await act;
    return "none";
  } catch (error) {
    return error instanceof Error && "hint" in error && "code" in error ? error.code : error;
  }
}
