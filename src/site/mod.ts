/**
 * One site, put together from its files: its plan, its uplink, its registries, its runtime. What a
 * command does once and an agent for good is made of the same parts here.
 *
 * @module
 */

export { agentSocket } from "./agent-socket.ts";
export type { SiteContext } from "./context.ts";
export { openCoreImages } from "./core-images.ts";
export { checkCredentials } from "./credentials.ts";
export { deliverToSite, type SiteDelivered, type SiteDelivery } from "./delivery.ts";
export { createDeliveryJournal } from "./delivery-journal.ts";
export { dialled } from "./dialled.ts";
export { type EmbeddedOptions, serveEmbedded } from "./embedded-registry.ts";
export { explainImage } from "./explanation.ts";
export { openHandOver } from "./hand-over.ts";
export { openImageSources } from "./image-sources.ts";
export { readLastSpeed } from "./last-speed.ts";
export { openStoreToDeliver } from "./own-store.ts";
export { type Planned, type PlanSources, planInputs } from "./plan-inputs.ts";
export { openProvenSite, type ProvenSite, type ProvenSiteOptions } from "./proven-site.ts";
export {
  embeddedAsServed,
  planRedirection,
  type Redirection,
  type RedirectionOptions,
} from "./redirection.ts";
export { openRuntime } from "./runtime.ts";
export { defaultConfigDir, restoredFiles } from "./runtime-files.ts";
export { createSiteOperations, type SiteOperationsOptions } from "./site-operations.ts";
export {
  fetchArtifacts,
  haveArtifactsMoved,
  planSite,
  type SteeringOptions,
} from "./steering.ts";
export { chooseProxy, openUplink, remoteOptions } from "./uplink.ts";
