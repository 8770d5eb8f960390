import type { Backoff } from "#base";
import type { LinkWindow } from "#link";

/**
 * When a revision that is staged becomes the active one.
 *
 * - `immediate`: as soon as it is staged
 * - `manual`: when an operator says so
 * - windows: as soon as one of them is open
 */
export type ActivationPolicy =
  | "immediate"
  | "manual"
  | {
      readonly windows: readonly LinkWindow[];
      /** IANA name of the zone in which they are meant; undefined: the machine's. */
      readonly timeZone: string | undefined;
    };

/** How an agent goes about its work: `agent:` of the site file. Times are in milliseconds. */
export interface AgentSettings {
  readonly activation: ActivationPolicy;
  /** How often tags are resolved anew; up to a tenth more, so that many sites don't come in step. */
  readonly resyncMs: number;
  /** How often credentials are tried; up to a tenth more. */
  readonly credentialsMs: number;
  /** How often it is proven that the site is ready offline, beside after each activation. */
  readonly proveMs: number;
  /** How often a sample of the store is hashed again. */
  readonly verifyMs: number;
  /** How often what nobody needs is removed, once a proof has held. */
  readonly collectMs: number;
  /** Between attempts of what failed: deliveries, activations, reading the inputs. */
  readonly retry: Backoff;
}

const HOUR_MS = 3_600_000;

/** What holds where the site file says nothing. */
export const DEFAULT_AGENT_SETTINGS: AgentSettings = {
  activation: "immediate",
  resyncMs: 6 * HOUR_MS,
  credentialsMs: HOUR_MS,
  proveMs: 6 * HOUR_MS,
  verifyMs: 7 * 24 * HOUR_MS,
  collectMs: 24 * HOUR_MS,
  retry: { firstMs: 15_000, maxMs: HOUR_MS / 2 },
};
