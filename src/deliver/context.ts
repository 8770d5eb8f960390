import type { Clock } from "#base";
import type { Store } from "#content";
import type { Platform } from "#oci";
import type { UntimedEvent } from "./event.ts";
import type { Tally } from "./tally.ts";

/** What all parts of one delivery share. */
export interface DeliveryContext {
  readonly store: Store;
  readonly platform: Platform;
  readonly clock: Clock;
  readonly random: () => number;
  readonly tally: Tally;
  /** Aborted when the caller gives up, and when the delivery can't go on. */
  readonly signal: AbortSignal;
  /** Ends the delivery: what runs is aborted, and nothing new begins. */
  readonly stop: (because: unknown) => void;
  readonly emit: (event: UntimedEvent) => void;
}
