import { digestOf } from "#content";
import type { Digest } from "#oci";
import type { StageName } from "#plan";
import type { SiteRole } from "./ports.ts";

/**
 * How much of the blobs was read, beside asking for each of them and its size: of each image the last
 * 64 KiB of its largest blob; and, whole and hashed, none, so many of a hundred, or all.
 */
export type ProofDepth =
  | { readonly kind: "ends" }
  | { readonly kind: "sample"; readonly percent: number }
  | { readonly kind: "full" };

/** Something that keeps the site, or an image, from being ready offline. */
export interface Problem {
  readonly code: string;
  readonly message: string;
  /** What to do next. */
  readonly remedy: string;
}

/** One registry of the site, and what of an image it gave. */
export interface ProvenPlace {
  readonly role: SiteRole;
  /** As the runtime asks for it; null when nobody knows its address. */
  readonly url: string | null;
  /** What the name stands for there; null when it was not answered. */
  readonly digest: Digest | null;
  /** Manifests and indexes that were read and hashed. */
  readonly manifests: number;
  /** Blobs that it has, with their size. */
  readonly blobs: number;
  /** How many bytes of its blobs were really read. What images share is read once, and counts for each. */
  readonly bytesRead: number;
}

/** What was found of one reference. */
export interface ProvenReference {
  /** Normalised, as the plan has it. */
  readonly declared: string;
  readonly stage: StageName;
  /** What was verified when it was delivered; null when it was not. */
  readonly digest: Digest | null;
  /** The manifest of the site's platform. */
  readonly manifest: Digest | null;
  /** Bytes of its manifests and blobs. */
  readonly bytes: number;
  /** Null: no runtime is redirected. */
  readonly redirection: {
    /** File or entry that decides; null when none does. */
    readonly decidedBy: string | null;
    /** In the order in which the runtime asks. */
    readonly asks: readonly { readonly url: string; readonly role: SiteRole | "elsewhere" }[];
  } | null;
  readonly places: readonly ProvenPlace[];
  /** Null: the runtime was not looked at. */
  readonly runtime: {
    /** Digest of the config of what it has under the name; null when it has nothing. */
    readonly config: string | null;
    /** Null where it knows no pinning. */
    readonly pinned: boolean | null;
  } | null;
  readonly ok: boolean;
  readonly problems: readonly Problem[];
}

/** What was proved, and of which site. */
export interface SiteState {
  readonly profiles: readonly string[];
  readonly platform: string;
  readonly depth: ProofDepth;
  readonly runtime: { readonly kind: string; readonly configDir: string } | null;
  readonly registries: {
    readonly embedded: {
      readonly address: string;
      /** False: nobody listens there, or nobody lets us in, and the store was served for the proof alone. */
      readonly isRunning: boolean;
    };
    readonly local: { readonly kind: string; readonly address: string | null } | null;
  };
  /** Problems of the site as a whole. */
  readonly problems: readonly Problem[];
  /** What is odd and keeps nothing from being ready. */
  readonly notes: readonly string[];
}

/** The answer of `dray prove`, as the JSON document has it. */
export interface Proof {
  readonly apiVersion: "drayage/v1";
  readonly kind: "Proof";
  /** When, in ISO 8601. It takes no part in the digest. */
  readonly at: string;
  readonly site: SiteState;
  readonly references: readonly ProvenReference[];
  readonly ok: boolean;
  /** Of the canonical JSON of all fields but `at` and this one. */
  readonly digest: Digest;
}

/** Puts a proof together. The same findings always give the same digest. */
export function sealProof(
  site: SiteState,
  references: readonly ProvenReference[],
  atMs: number,
): Proof {
  const ok = site.problems.length === 0 && references.every((reference) => reference.ok);
  const content = { apiVersion: "drayage/v1", kind: "Proof", site, references, ok } as const;
  const digest = digestOf(new TextEncoder().encode(canonicalJson(content)));
  return { ...content, at: new Date(atMs).toISOString(), digest };
}

/**
 * JSON in one form: no spaces, keys in the order of their UTF-16 code units, everything else as
 * `JSON.stringify` writes it (RFC 8785, for what a proof has in it). Fields that are undefined are left out.
 */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item)).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const fields = Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, field]) => `${JSON.stringify(key)}:${canonicalJson(field)}`);
  return `{${fields.join(",")}}`;
}
