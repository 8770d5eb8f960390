import type { Limiter } from "#base";
import type { Descriptor, Digest } from "#oci";
import type { Reference } from "#reference";
import type { BlobPushes } from "./blob-pushes.ts";
import type { DeliveryContext } from "./context.ts";
import type { ImageWork } from "./image.ts";
import type { LocalRegistry } from "./local-registry.ts";
import type { Transfers } from "./transfer.ts";

/**
 * What is done where the local registry takes no index of which only this site's platform is there.
 *
 * - `one-platform`: the tag stands for the platform's manifest, whose digest is not the index's
 * - `complete`: the other platforms are fetched too, and the index is pushed whole
 */
export type AbsentPlatforms = "one-platform" | "complete";

/** What the uploads of one delivery share. */
export interface UploadSession {
  readonly registry: LocalRegistry;
  readonly pushes: BlobPushes;
  /** Limits how many manifests and names are asked for and pushed at once. */
  readonly requests: Limiter;
  /** Bring what only the local registry wants. */
  readonly transfers: Transfers;
  readonly absentPlatforms: AbsentPlatforms;
  /** Whether it refused an index with absent platforms: it would refuse the next one. */
  refusesPartIndexes: boolean;
  /** The delivery, but that its signal ends with the uploads. */
  readonly context: DeliveryContext;
}

/** One image on its way to the local registry. */
export interface Upload {
  readonly work: ImageWork;
  /** Its name there. */
  readonly local: string;
  readonly reference: Reference;
  /** Whether this delivery brought it into the store, or changed what its name stands for. */
  readonly isNew: boolean;
  bytesSent: number;
  bytesMounted: number;
  bytesMoved: number;
  /** Bytes that the registry took in, for telling progress from its absence. */
  bytesTaken: number;
  /** Blobs that were sent or mounted, and not asked for since. */
  readonly unconfirmed: Map<Digest, Descriptor>;
}

/** With these the registry takes no other image either, until a person does something. */
export const REGISTRY_REFUSES: ReadonlySet<string> = new Set([
  "registry-certificate",
  "registry-read-only",
]);

/**
 * These are no matter of what is pushed, but may be of its repository or its size alone: another image
 * may have rights that this one lacks, be small enough, or be there already. A credential that is good
 * for nothing any more is found out when the registry is prepared anew.
 */
export const REPOSITORY_REFUSES: ReadonlySet<string> = new Set([
  "registry-unauthorized",
  "registry-full",
  "project-missing",
]);
