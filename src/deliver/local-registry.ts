import type { Target } from "#content";
import type { Descriptor } from "#oci";
import type { Reference } from "#reference";

/** What a delivery is going to put into the local registry. */
export interface UploadNeed {
  /** The images' names there, of the plan's `local`. */
  readonly names: readonly Reference[];
  /** All blobs of these images, each digest once with an image that needs it, whether they are there or not. */
  readonly blobs: readonly { readonly blob: Descriptor; readonly name: Reference }[];
}

/**
 * The registry on the site that application images are uploaded to, as a delivery sees it. It may
 * itself run on the cluster that is being installed, and so come up only long after the delivery began.
 */
export interface LocalRegistry {
  /** What people call it: host:port. */
  readonly address: string;
  /**
   * It serves the very store that the delivery fills: to have an image in the store is to have uploaded
   * it, and no byte is pushed. False without it.
   */
  readonly servesTheStore?: boolean;
  /**
   * Asks whether it can be pushed to, and makes it so: that somebody answers, that the project is there,
   * that what is needed fits. It may be called again, after a failure and for the next delivery.
   *
   * @throws {Failure} `transient` as long as it makes sense to wait; else what a person must do first
   */
  prepare(need: UploadNeed, options: { readonly signal: AbortSignal }): Promise<void>;
  /** The repository that an image's name lies in; its tag and digest take no part. After `prepare`. */
  target(name: Reference): Target;
}
