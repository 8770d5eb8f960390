import { backoffMs, Failure, isFailure } from "#base";
import type { Fetcher } from "#content";
import type { Descriptor } from "#oci";
import type { DeliveryContext } from "./context.ts";

/** Attempts at one piece of content before it counts as failed. */
const ATTEMPTS_MAX = 5;

/** A link that goes away for half a minute costs no image. */
const BACKOFF = { firstMs: 2_000, maxMs: 60_000 };

/**
 * A server that asks for a longer wait (Docker Hub's window is 6 hours; C-52) is not waited for in
 * here: the image fails, and the next delivery goes on from what there is.
 */
const RETRY_AFTER_MS_MAX = 5 * 60_000;

/**
 * What arrived and is not what the digest says. A cache in between may have gone bad for one answer,
 * so it is asked for once more; after that the source itself is wrong. Content that ends early is not
 * among these: a link that was cut looks just so (C-89).
 */
const WRONG_CONTENT: ReadonlySet<string> = new Set(["digest-mismatch", "content-too-long"]);

/** For which image content is fetched, and from where. */
export interface Origin {
  readonly image: string;
  /** Host of the registry behind `source`, for messages. */
  readonly registry: string;
  readonly source: Fetcher;
}

/** What is fetched, and what an attempt that fails throws away. */
interface Fetching {
  readonly content: Descriptor;
  readonly origin: Origin;
  /** How many bytes that were reported are lost with the attempt that just failed. */
  readonly loseBytes: () => number;
}

/**
 * Runs `attempt` until it succeeds: up to {@link ATTEMPTS_MAX} times, with growing waits, once the
 * content was on its way and broke off, and once again after wrong content. A source that could not
 * be opened at all has had its own patience with its registry, so that is not tried again here.
 *
 * @param attempt is given the source to fetch from
 * @throws {Failure} that of the last attempt; for wrong content, one that names image and registry
 */
export async function withRetries<T>(
  attempt: (source: Fetcher) => Promise<T>,
  { content, origin, loseBytes }: Fetching,
  { clock, random, signal, emit }: DeliveryContext,
): Promise<T> {
  let wasOpened = false;
  let wasWrong = false;
  const source: Fetcher = {
    async fetch(descriptor, options) {
      const stream = await origin.source.fetch(descriptor, options);
      wasOpened = true;
      return stream;
    },
  };
  for (let attempts = 1; ; attempts += 1) {
    try {
      return await attempt(source);
    } catch (error) {
      if (!isFailure(error)) throw error;
      const isWrong = WRONG_CONTENT.has(error.code);
      if (isWrong && wasWrong) throw wrongContent(content, origin, error);
      const again = isWrong || (wasOpened && mayPass(error));
      if (!again || attempts === ATTEMPTS_MAX) throw error;
      wasWrong ||= isWrong;
      const delayMs = Math.max(backoffMs(attempts, random(), BACKOFF), error.retryAfterMs ?? 0);
      emit({
        type: "retry",
        image: origin.image,
        digest: content.digest,
        code: error.code,
        message: error.message,
        attempt: attempts + 1,
        attemptsMax: ATTEMPTS_MAX,
        delayMs,
        bytesLost: loseBytes(),
      });
      await clock.sleep(delayMs, signal);
    }
  }
}

function mayPass({ transient, retryAfterMs }: Failure): boolean {
  return transient && (retryAfterMs ?? 0) <= RETRY_AFTER_MS_MAX;
}

/** What the verifier found says nothing of where the bytes came from; this does. */
function wrongContent(
  { digest, size }: Descriptor,
  { image, registry }: Origin,
  cause: Failure,
): Failure {
  return new Failure({
    code: cause.code,
    message: `Cannot deliver ${image}: registry ${registry} gave other bytes for ${digest} twice, expected the ${size} bytes of that digest`,
    hint: `Look for a proxy or a broken cache in front of ${registry}; if there is none, have the image pushed again`,
    cause,
  });
}
