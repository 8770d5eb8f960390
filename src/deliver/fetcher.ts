import { type Clock, Failure, isFailure } from "#base";
import type { Source } from "#content";

/** The code of a failure that is no attempt that failed: what is wanted is on its way to who fetches it. */
export const AWAITED = "fetcher-waiting";

/** The host that fetches is near, and asking it costs a small request. In milliseconds. */
const POLL_MS = 5_000;

/** The host of the cluster that fetches in this one's place. */
export interface FetchingHost {
  /**
   * A source that asks that host, and the uplink only when it may.
   *
   * @param wanted what the image is resolved by: its tag or digest
   */
  source(image: string, wanted: string, near: Source, uplink: Source): Source;
}

/** What is known of the host that fetches. */
export interface FetchingHostOptions {
  /** `host:port`. */
  readonly host: string;
  readonly clock: Clock;
  /** A number in [0, 1), to spread requests. */
  readonly random: () => number;
  /** How long nothing new may come from it before the uplink is used, in milliseconds; undefined: for ever. */
  readonly fallbackMs: number | undefined;
  /** Told once for each image of which something comes over the uplink after all. */
  readonly onFallback: (image: string) => void;
}

/**
 * Lets another host fetch: what it lacks is waited for, because it fetches it in its own order and over
 * the one uplink of the site. Everything that comes from it is verified as if it came from anywhere.
 *
 * What is lacking is told as a {@link Failure} `fetcher-waiting` that says when to ask again; how long
 * nothing may come is counted for all images together, from the first that was lacking, and anew whenever
 * one of these has come.
 */
export function createFetchingHost(options: FetchingHostOptions): FetchingHost {
  const { host, clock, random, fallbackMs, onFallback } = options;
  const lacking = new Set<string>();
  const fallen = new Set<string>();
  let stuckSinceMs = 0;

  const isStuck = (content: string): boolean => {
    if (lacking.size === 0) stuckSinceMs = clock.monotonic();
    lacking.add(content);
    return fallbackMs !== undefined && clock.monotonic() - stuckSinceMs >= fallbackMs;
  };
  const came = (content: string) => {
    if (lacking.delete(content)) stuckSinceMs = clock.monotonic();
  };

  /** Asks the host, and the uplink when the host has lacked it for long enough. */
  async function ask<T>(
    { image, content }: { readonly image: string; readonly content: string },
    nearby: () => Promise<T>,
    overUplink: () => Promise<T>,
  ): Promise<T> {
    const key = `${image} ${content}`;
    try {
      const answer = await nearby();
      came(key);
      return answer;
    } catch (error) {
      if (!isFailure(error) || !isLack(error)) throw error;
      if (!isStuck(key)) throw awaited(image, content, error);
      if (!fallen.has(image)) onFallback(image);
      fallen.add(image);
      return overUplink();
    }
  }

  function awaited(image: string, content: string, cause: Failure): Failure {
    const what = image.includes(content) ? image : `${content} of ${image}`;
    const why = cause.transient ? `it does not answer (${cause.message})` : "it is not there yet";
    return new Failure({
      code: AWAITED,
      message: `Cannot fetch ${what} from ${host}: ${why}`,
      hint: `Look what ${host} is at (dray status there), and whether it serves this host's platform; link.fetcher.fallback of the site file allows the uplink`,
      transient: true,
      retryAfterMs: POLL_MS + Math.floor((POLL_MS / 10) * random()),
      cause,
    });
  }

  return {
    source(image, wanted, near, uplink) {
      return {
        get host() {
          return fallen.has(image) ? undefined : host;
        },
        get spareTransfers() {
          return near.spareTransfers;
        },
        resolve(tagOrDigest, options) {
          // Of what belongs to an image beside it, there may well be none.
          if (tagOrDigest !== wanted) return near.resolve(tagOrDigest, options);
          return ask(
            { image, content: tagOrDigest },
            () => near.resolve(tagOrDigest, options),
            () => uplink.resolve(tagOrDigest, options),
          );
        },
        fetchManifest(tagOrDigest, options) {
          if (tagOrDigest !== wanted) return near.fetchManifest(tagOrDigest, options);
          return ask(
            { image, content: tagOrDigest },
            () => near.fetchManifest(tagOrDigest, options),
            () => uplink.fetchManifest(tagOrDigest, options),
          );
        },
        fetch(descriptor, options) {
          return ask(
            { image, content: descriptor.digest },
            () => near.fetch(descriptor, options),
            () => uplink.fetch(descriptor, options),
          );
        },
        ...(near.referrers === undefined
          ? {}
          : { referrers: near.referrers.bind(near) as NonNullable<Source["referrers"]> }),
      };
    },
  };
}

/** Whether it may have it later: it is not there, or nobody answers. A refused password stays refused. */
function isLack({ code, transient }: Failure): boolean {
  return transient || code === "content-missing";
}
