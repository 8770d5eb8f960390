/**
 * Whether the site stands on its own: reference by reference, what the runtime would ask, and whether
 * the site's registries and the runtime itself have it. It asks nobody outside of the site.
 *
 * @module
 */
export type {
  RuntimeImage,
  ServedRepository,
  SiteRegistries,
  SiteRole,
  Way,
} from "./ports.ts";
export {
  canonicalJson,
  type Problem,
  type Proof,
  type ProofDepth,
  type ProvenPlace,
  type ProvenReference,
  type SiteState,
  sealProof,
} from "./proof.ts";
export { type ProveOptions, prove } from "./prove.ts";
