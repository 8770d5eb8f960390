import { Failure, printable } from "#base";
import { type Digest, tryParseDigest } from "./digest.ts";
import { type Platform, readPlatform } from "./platform.ts";

/** What content is, how it is called, how large it is (OCI image spec, "Descriptor"). Sizes are bytes. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly platform?: Platform;
  /** Where a foreign layer can be had; never followed with credentials. */
  readonly urls?: readonly string[];
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** A JSON object of which nothing is known yet. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** Tells an object from everything else that JSON can hold. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Reads one descriptor of a manifest that somebody else wrote.
 *
 * @param where its place in the document (`layers[3]`), for the message
 * @throws {Failure} `manifest-invalid` when digest, size or media type cannot be used
 */
export function readDescriptor(value: unknown, where: string): Descriptor {
  if (!isJsonObject(value)) throw malformed(where, "expected an object");
  const { mediaType, digest, size, platform, urls, artifactType, annotations } = value;
  if (typeof mediaType !== "string") throw malformed(`${where}.mediaType`, "expected a string");
  const parsedDigest = typeof digest === "string" ? tryParseDigest(digest) : undefined;
  if (parsedDigest === undefined) {
    throw malformed(`${where}.digest`, "expected sha256 or sha512 and its hash in lower-case hex");
  }
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) {
    throw malformed(`${where}.size`, "expected a whole number of bytes");
  }
  return {
    mediaType,
    digest: parsedDigest,
    size,
    ...(isJsonObject(platform) ? { platform: readPlatform(platform) } : {}),
    ...(Array.isArray(urls) ? { urls: urls.filter((url) => typeof url === "string") } : {}),
    ...(typeof artifactType === "string" ? { artifactType } : {}),
    ...(isJsonObject(annotations) ? { annotations: stringsOf(annotations) } : {}),
  };
}

/** Those entries of an object that are texts, as annotations must be. */
export function stringsOf(value: JsonObject): Record<string, string> {
  const strings = Object.entries(value).filter((entry): entry is [string, string] => {
    return typeof entry[1] === "string";
  });
  return Object.fromEntries(strings);
}

/** The failure for a manifest that breaks the specification. */
export function malformed(where: string, expected: string): Failure {
  return new Failure({
    code: "manifest-invalid",
    message: `Cannot use the manifest: ${printable(where)} is not valid, ${expected}`,
    hint: "Ask the publisher of the image to push it again with a current tool",
  });
}
