import type { Clock } from "#base";
import type { Access } from "./access.ts";
import { isLoopback } from "./client.ts";
import { TokenBuckets } from "./token-buckets.ts";
import { tooManyRequests } from "./too-many-requests.ts";

/** How often a client may ask. */
export interface RequestLimits {
  readonly clock: Clock;
  /** Requests a second, in the long run. */
  readonly perSecond?: number;
}

/** A node that pulls a hundred images at once asks a thousand times within seconds. */
const PER_SECOND = 500;

/** How many seconds' worth of requests may come at once. */
const BURST_SECONDS = 4;

/**
 * The same access, which refuses clients that ask too often before it looks at anything (S-57).
 *
 * Loopback is exempt: behind it are all the containers of a node, and who is on this machine already
 * needs no registry to keep it busy.
 */
export function limitRequests(access: Access, { clock, perSecond }: RequestLimits): Access {
  const rate = perSecond ?? PER_SECOND;
  const requests = new TokenBuckets({ clock, burst: rate * BURST_SECONDS, perSecond: rate });
  return {
    ...access,
    async authenticate(request, client = "") {
      const waitMs = isLoopback(client) ? 0 : requests.take(client);
      if (waitMs > 0) throw tooManyRequests("too many requests", waitMs);
      return access.authenticate(request, client);
    },
  };
}
