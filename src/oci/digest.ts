import { Failure, quoted } from "#base";

/** How many hex digits the hash has. */
export const DIGEST_HEX_LENGTH: Readonly<Record<DigestAlgorithm, number>> = {
  sha256: 64,
  sha512: 128,
};

/** The hash functions that the OCI image specification registers and registries use (C-87). */
export type DigestAlgorithm = "sha256" | "sha512";

/** `algorithm:hex`, checked: known algorithm, right length, lower case. Only the parser makes one. */
export type Digest = string & { readonly __brand: "Digest" };

/** Reads a digest, or gives undefined when the text is none. */
export function tryParseDigest(text: string): Digest | undefined {
  const [, algorithm, hex] = /^(sha256|sha512):([0-9a-f]+)$/.exec(text) ?? [];
  if (algorithm === undefined || hex === undefined) return undefined;
  return hex.length === DIGEST_HEX_LENGTH[algorithm as DigestAlgorithm]
    ? (text as Digest)
    : undefined;
}

/**
 * Reads a digest from text that we did not write: a manifest, a header, a person's file.
 *
 * Upper-case hex is refused rather than folded, because two spellings of one digest would become two
 * files in the store; everything else is refused before it can become part of a path or a URL.
 *
 * @throws {Failure} `digest-invalid`
 */
export function parseDigest(text: string): Digest {
  const digest = tryParseDigest(text);
  if (digest !== undefined) return digest;
  throw new Failure({
    code: "digest-invalid",
    message: `Cannot read digest ${quoted(text)}: expected sha256 or sha512 and its hash in lower-case hex`,
    hint: "Copy the digest from the registry, or ask the publisher of the image for it",
  });
}

/** Which hash function to compute to compare with this digest. */
export function digestAlgorithm(digest: Digest): DigestAlgorithm {
  return digest.slice(0, digest.indexOf(":")) as DigestAlgorithm;
}

/** The hash alone, as it stands in the name of the blob's file. */
export function digestHex(digest: Digest): string {
  return digest.slice(digest.indexOf(":") + 1);
}
