/**
 * One site, put together from its files: its plan, its uplink, its registries, its runtime. What a
 * command does once and an agent for good is made of the same parts here.
 *
 * @module
 */

export { agentSocket } from "./agent-socket.ts";
export { clusterPlatform, isThisMachine } from "./cluster-platform.ts";
export type { SiteContext } from "./context.ts";
export { checkCredentials } from "./credentials.ts";
export { deliverToSite, type SiteDelivered } from "./delivery.ts";
export { type Cost, estimateCost, type Sufficiency } from "./delivery-cost.ts";
export { createDeliveryJournal } from "./delivery-journal.ts";
export { dialled } from "./dialled.ts";
export { embeddedAsServed } from "./embedded-address.ts";
export { serveEmbedded } from "./embedded-registry.ts";
export { explainImage } from "./explanation.ts";
export { openHandOver } from "./hand-over.ts";
export { openStoreIfThere, openStoreToDeliver, reserveSite } from "./own-store.ts";
export type { Planned, PlanSources } from "./plan-inputs.ts";
export { openProvenSite, type ProvenSiteOptions } from "./proven-site.ts";
export { planRedirection, type Redirection } from "./redirection.ts";
export { openRuntime } from "./runtime.ts";
export { defaultConfigDir, restoredFiles } from "./runtime-files.ts";
export { createSiteOperations } from "./site-operations.ts";
export { planSite } from "./steering.ts";
export { machineTimeZone } from "./time-zone.ts";
export { chooseProxy, remoteOptions } from "./uplink.ts";
export { serveWork, type WorkerWorld } from "./worker.ts";
export type { WorkerProcess } from "./worker-process.ts";
