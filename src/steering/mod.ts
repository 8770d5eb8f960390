/**
 * Steering many sites by a registry: the inputs of a site (profiles, their packs, user data) as one OCI
 * artifact, which `dray publish` makes and sites follow by its tag.
 *
 * What comes is trusted no more than anything else that crosses the link: bounded, verified by digest,
 * and confined to itself. docs/steering.md describes the artifact for those who make it otherwise.
 *
 * @module
 */
export {
  artifactLocation,
  artifactName,
  formatArtifactAddress,
  parseArtifactAddress,
} from "./address.ts";
export {
  ARTIFACT_BYTES_MAX,
  type ArtifactLabels,
  type Blob,
  FILE_BYTES_MAX,
  FILES_MAX,
  type FileRole,
  type InputFile,
  type ListedArtifact,
  type ListedFile,
  PLAIN_FILE,
  PROFILE_JSON,
  PROFILE_YAML,
  readManifest,
  SITE_ARTIFACT,
  USER_DATA,
  type WrittenArtifact,
  writeArtifact,
} from "./artifact.ts";
export { artifactFiles } from "./artifact-files.ts";
export { type CollectedInputs, collectInputs, type PublishedInputs } from "./collect-inputs.ts";
export {
  type ArtifactStore,
  type FetchArtifactOptions,
  fetchArtifact,
  keepArtifact,
  pollDelayMs,
  resolveArtifact,
  type SiteArtifact,
} from "./fetch-artifact.ts";
