/**
 * Content on the move: the ports that registries and stores are reached through, verification, and
 * copying the graph of an image from one to the other.
 *
 * Nothing here knows HTTP or a disk. What is right and what is not is decided in one place,
 * `verify.ts`, for every fetch and every store.
 *
 * @module
 */
export { releaseChunk } from "./chunk.ts";
export { type CopyOptions, type CopyResult, copyContent, writeContent } from "./copy.ts";
export {
  type ImageGraph,
  platformWarning,
  readImageGraph,
  readWholeGraph,
  type WholeGraph,
} from "./graph.ts";
export { createHasher, digestOf, type Hasher } from "./hash.ts";
export { createMemoryStore, type MemoryStore } from "./memory.ts";
export { createMemoryPushSessions } from "./memory-push-sessions.ts";
export { createMemoryRegistry, type MemoryRegistry } from "./memory-target.ts";
export type {
  ByteRange,
  CallOptions,
  Fetcher,
  FetchOptions,
  GraphDocument,
  Ingest,
  NamedContent,
  ResolveOptions,
  Resolver,
  Source,
  Store,
} from "./ports.ts";
export { SLOW_BYTES_PER_MS } from "./ports.ts";
export { bytesIn, gapsIn, withRange } from "./ranges.ts";
export type { HeldManifest, Page, PutOptions, Repositories } from "./repositories.ts";
export type {
  PushBlobOptions,
  PushedBlob,
  PushManifestOptions,
  PushSession,
  PushSessions,
  Target,
} from "./target.ts";
export type { AppendOptions, Upload, Uploads } from "./uploads.ts";
export {
  contentMissing,
  contentTooLong,
  contentTooShort,
  createVerifier,
  fetchVerified,
  resolveAndFetch,
  type Verifier,
  verifyContent,
} from "./verify.ts";
export { childrenIn, taggedIn } from "./walk.ts";
