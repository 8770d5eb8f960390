/**
 * The rules: wanted images, user data and site file → where each image comes from, with which
 * credential, where it goes, and why.
 *
 * Pure and deterministic: the same inputs give the same plan, in whatever order files name things.
 *
 * @module
 */
export { type DockerCredentials, decideAccess, decideSiteAccess } from "./access.ts";
export { type CredentialUse, credentialUses } from "./credential-uses.ts";
export { planDocument } from "./document.ts";
export { decideFetcherAccess, nameAtFetcher } from "./fetcher.ts";
export { makePlan } from "./make-plan.ts";
export {
  type Plan,
  type PlannedImage,
  type PlanRegistries,
  type Reason,
  type RuleName,
  STAGE_NAMES,
  type Stage,
  type StageName,
} from "./plan.ts";
