import type { Finding, Place } from "#base";
import type { Access } from "#credential";
import type { AbsentPlatforms, Layer } from "#profile";
import type { Reference } from "#reference";

/** Stages in the order in which they are delivered (rule `provider-first`). */
export const STAGE_NAMES = ["provider", "infrastructure", "application"] as const;

/** Name of a stage, which is also the category of the images in it. */
export type StageName = (typeof STAGE_NAMES)[number];

/** The rules of the design; every decision names the ones that made it. */
export type RuleName =
  | "provider-first"
  | "provider-location"
  | "provider-registry"
  | "provider-credentials"
  | "pack-registry"
  | "pack-credentials"
  | "external-registry"
  | "rewrite-replace"
  | "rewrite-prepend"
  | "mapping-rule"
  | "already-there"
  | "external-credentials"
  | "local-upload"
  | "local-serve"
  | "bootstrap"
  | "combination"
  | "link-fetcher";

/** Why something was decided: the rule and, in a sentence, how it applied. */
export interface Reason {
  readonly rule: RuleName;
  readonly text: string;
}

/** One image of the cluster, with every decision about it. */
export interface PlannedImage {
  /** The reference as declared, normalised. It is also the image's name in the store. */
  readonly declared: Reference;
  /** Names of the packs that declare it, in code-unit order. */
  readonly packs: readonly string[];
  readonly layer: Layer;
  /** The category is that of the stage. */
  readonly category: StageName;
  /** Where it is fetched from. */
  readonly source: Reference;
  /**
   * Its name at the host that fetches in this one's place (`link.fetcher`), which is asked before the
   * source; absent where this host fetches itself.
   */
  readonly via?: string;
  /** How the source's registry is talked to; its `origin` is the plan's `credential`. */
  readonly access: Access;
  /** Its name in the cluster's local registry, or null when it is not uploaded. */
  readonly local: string | null;
  readonly because: readonly Reason[];
  readonly at: readonly Place[];
}

/** Images that are delivered together; a stage begins when the one before it is complete. */
export interface Stage {
  readonly name: StageName;
  readonly images: readonly PlannedImage[];
}

/** The registries that play a part, and the part. Addresses are hosts, or host and path. */
export interface PlanRegistries {
  readonly provider: { readonly address: string; readonly authenticated: boolean } | null;
  readonly external: readonly {
    readonly address: string;
    readonly authenticated: boolean;
    readonly insecure: boolean;
  }[];
  readonly local: {
    readonly kind: "embedded" | "harbor" | "oci";
    readonly address: string | null;
    readonly project: string;
    /** What is done where it refuses an index of which only some platforms are here. */
    readonly indexes: AbsentPlatforms;
    readonly authenticated: boolean;
    /** How it is talked to when images are uploaded; its `origin` is the plan's `credential`. */
    readonly access: Access;
  } | null;
}

/** Everything that was decided before a byte moves. With faults it is as far as it could be planned. */
export interface Plan {
  readonly profiles: readonly string[];
  readonly registries: PlanRegistries;
  readonly combination: { readonly supported: boolean; readonly needsExtended: boolean };
  /** Always the three of {@link STAGE_NAMES}, in this order. */
  readonly stages: readonly Stage[];
  readonly warnings: readonly Finding[];
  readonly faults: readonly Finding[];
}
