import type { Clock } from "#base";
import type { Fetcher, Store } from "#content";
import type { Descriptor, Digest, Platform } from "#oci";
import type { UntimedEvent } from "./event.ts";
import type { Tally } from "./tally.ts";

/**
 * A folder or disk beside the store that may hold some of the content already, brought by a person.
 * It is trusted no more than a registry.
 */
export interface Folder extends Fetcher {
  /** What a person calls it, for messages. */
  readonly path: string;
  /** Whether content of this digest and size is there; its bytes may still be wrong. */
  has(descriptor: Descriptor): Promise<boolean>;
  /** What a name stands for according to the folder, or undefined. */
  lookup(name: string): Promise<Descriptor | undefined>;
  /** The manifest or index of this digest, or undefined. */
  describe(digest: Digest): Promise<Descriptor | undefined>;
}

/**
 * When what belongs to images beside their own graphs is asked for: signatures, bills of materials.
 *
 * - `always`: in every delivery, so that a signature that was added later comes with the next
 * - `daily`: for an image that this delivery brought or moved; for one that stayed when the last time is a day ago,
 *   by {@link AttachmentChecks}
 * - `never`: it is left where it is
 */
export type AttachmentPolicy = "always" | "daily" | "never";

/** Remembers when the source of an image was asked what belongs to it. Times are milliseconds since 1970. */
export interface AttachmentChecks {
  /** When, since the name stands for this root; undefined when it was not. */
  last(name: string, root: Digest): Promise<number | undefined>;
  /** It was asked, and all that there was came. */
  note(name: string, root: Digest, atMs: number): Promise<void>;
}

/** What all parts of one delivery share. */
export interface DeliveryContext {
  readonly store: Store;
  /** Asked before any registry, in this order. */
  readonly folders: readonly Folder[];
  readonly platform: Platform;
  /** `always` without it. */
  readonly attachments?: AttachmentPolicy;
  /** Without it no time is known. */
  readonly attachmentChecks?: AttachmentChecks;
  readonly clock: Clock;
  readonly random: () => number;
  readonly tally: Tally;
  /** Hosts of the registries that have answered in this delivery. */
  readonly answering: Set<string>;
  /** Aborted when the caller gives up, and when the delivery can't go on. */
  readonly signal: AbortSignal;
  /** Ends the delivery: what runs is aborted, and nothing new begins. */
  readonly stop: (because: unknown) => void;
  readonly emit: (event: UntimedEvent) => void;
}
