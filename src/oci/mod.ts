/**
 * The data model of the OCI image specification: digests, descriptors, manifests, indexes, platforms,
 * media types. Everything is read from bytes that others wrote, checked once, and immutable after.
 *
 * Pure: no hashing, no disk, no network; those meet the model in `content`.
 *
 * @module
 */
export { type Descriptor, isJsonObject, type JsonObject, readDescriptor } from "./descriptor.ts";
export {
  type Digest,
  type DigestAlgorithm,
  digestAlgorithm,
  digestHex,
  parseDigest,
  tryParseDigest,
} from "./digest.ts";
export {
  childrenOf,
  type Document,
  type IndexDocument,
  MANIFEST_BYTES_MAX,
  type ManifestDocument,
  parseDocument,
} from "./document.ts";
export { diffIdsOf } from "./image-config.ts";
export {
  bareMediaType,
  DOCKER_MANIFEST,
  DOCKER_MANIFEST_LIST,
  isForeignLayerType,
  isIndexType,
  isManifestType,
  OCI_ARTIFACT_MANIFEST,
  OCI_INDEX,
  OCI_MANIFEST,
} from "./media-type.ts";
export {
  formatPlatform,
  isRunnable,
  normalizePlatform,
  type Platform,
  parsePlatform,
  selectPlatform,
} from "./platform.ts";
export {
  cosignTags,
  formatReferrers,
  referrerEntry,
  referrersTag,
  subjectTagOf,
} from "./referrers.ts";
