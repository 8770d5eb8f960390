/**
 * What people wrote about a cluster: profiles, packs, user data, site file → the images that are
 * wanted, each with its place in the file, and the settings that decide about them.
 *
 * Pure: files come through {@link InputFiles}. Nothing here throws for what a person wrote; all of it
 * is collected as findings with file, line and column, also for YAML in a string in JSON.
 *
 * @module
 */
export {
  type ClusterInputs,
  compareCodeUnits,
  type InputNames,
  type ManifestImage,
  readClusterInputs,
  readSiteFile,
} from "./cluster-inputs.ts";
export { type DeclaredRegistry, isAuthenticated } from "./declared-credential.ts";
export {
  type ExpandedInputs,
  type InputFiles,
  type InputProblem,
  isAddress,
  isProblem,
} from "./input-files.ts";
export { isInfrastructure, LAYERS, type Layer } from "./layer.ts";
export type { MappingRule } from "./mapping-rule.ts";
export { type PublishedFile, reportSecrets } from "./published-secrets.ts";
export type { PackedCredential } from "./registry-credential.ts";
export { isBootstrapPack, type PackedRegistry } from "./registry-packs.ts";
export { DEFAULT_PROJECT, DEFAULT_SITE, type Site } from "./site.ts";
export type { SiteActivation, SiteAgent } from "./site-agent.ts";
export type { SiteFetcher } from "./site-fetcher.ts";
export {
  type AbsentPlatforms,
  DEFAULT_LOCAL_SETTINGS,
  type LocalRegistrySettings,
  type SiteLocalRegistry,
} from "./site-local-registry.ts";
export {
  fillPlaceholders,
  type HandOverForm,
  type HandOverSettings,
  type SiteProvider,
} from "./site-provider.ts";
export type { SiteRegistry, TlsFiles } from "./site-registry.ts";
export { NO_USER_DATA, type ProxyAddresses, type UserData } from "./user-data.ts";
export type { WantedImage } from "./wanted.ts";
