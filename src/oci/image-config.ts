import { isJsonObject } from "./descriptor.ts";
import { type Digest, tryParseDigest } from "./digest.ts";

/**
 * The digests of an image's layers, unpacked, from the bottom one up: `rootfs.diff_ids` of its config (OCI
 * image spec, "Image Configuration").
 *
 * @returns undefined when the config has none that could be
 */
export function diffIdsOf(config: Uint8Array): readonly Digest[] | undefined {
  const json = tryParseJson(config);
  const rootfs = isJsonObject(json) ? json["rootfs"] : undefined;
  const listed = isJsonObject(rootfs) ? rootfs["diff_ids"] : undefined;
  if (!Array.isArray(listed)) return undefined;
  const digests = listed.map((text) =>
    typeof text === "string" ? tryParseDigest(text) : undefined,
  );
  return digests.every((digest) => digest !== undefined) ? digests : undefined;
}

function tryParseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
}
