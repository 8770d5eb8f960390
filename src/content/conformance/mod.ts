/**
 * What every store and every source must do, as tests that run against any of them. The disk, the
 * memory, the registry client and the embedded registry are held to the same words.
 *
 * For tests only: it declares `bun:test` suites when it is called.
 *
 * @module
 */
export { type OpenPushSessions, pushSessionsConformance } from "./push-sessions.ts";
export { type OpenRepositories, repositoriesConformance } from "./repositories.ts";
export { type OpenSource, type SourceContent, sourceConformance } from "./source.ts";
export { type OpenStore, storeConformance } from "./store.ts";
export { type OpenTarget, targetConformance } from "./target.ts";
export { type OpenUploads, uploadsConformance } from "./uploads.ts";
