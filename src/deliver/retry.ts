import { backoffMs, Failure, isFailure } from "#base";
import type { Source } from "#content";
import type { Descriptor } from "#oci";
import type { DeliveryContext } from "./context.ts";
import { AWAITED } from "./fetcher.ts";
import { PROGRESS_BYTES } from "./fill.ts";

/** Attempts in a row that bring nothing before a piece of content counts as failed. */
const FRUITLESS_MAX = 8;

/** With the patience of the client in each attempt, a link that is gone for several minutes costs no image. */
const BACKOFF = { firstMs: 2_000, maxMs: 120_000 };

/**
 * A server that asks for a longer wait (Docker Hub's window is 6 hours; C-52) is not waited for in
 * in a delivery: the image fails, and the next delivery goes on from what there is.
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
  readonly source: Source;
  /** Is told, perhaps several times, that something of it has a place on the link. */
  readonly begin?: () => void;
  /** Whether a failure that may pass is waited out, where an errand does not say so itself. True by default. */
  readonly isPatient?: boolean;
}

/** What is wanted of an origin, and how far it is. */
export interface Errand {
  readonly origin: Origin;
  /** What is fetched; undefined while it is asked what a name stands for. */
  readonly content?: Descriptor;
  /** Without it a failure that may pass is left to the caller. As its origin says by default. */
  readonly isPatient?: boolean;
  /** Bytes of the content that are kept from one attempt to the next. 0 without it. */
  readonly bytesKept?: () => number;
  /** Whether what was wrong may be what an earlier delivery left, and not what just came. */
  readonly isStartedBefore?: () => boolean;
}

/**
 * Runs `attempt` until it succeeds. What counts is progress and not attempts: only
 * {@link FRUITLESS_MAX} attempts in a row that kept less than {@link PROGRESS_BYTES} are the end, with
 * growing waits between them. Wrong content is asked for once again.
 *
 * What another host of the cluster is fetching is waited for as long as it takes.
 *
 * A registry that has not answered in this delivery is given no patience: its client had its own.
 *
 * @throws {Failure} that of the last attempt; for wrong content, one that names image and registry
 */
export async function withRetries<T>(
  attempt: (source: Source) => Promise<T>,
  errand: Errand,
  { answering, clock, random, signal, emit }: DeliveryContext,
): Promise<T> {
  const { origin, content, isPatient = errand.origin.isPatient ?? true } = errand;
  const { bytesKept = () => 0, isStartedBefore = () => false } = errand;
  const source = noteAnswers(origin, answering);
  let wasWrong = false;
  let fruitless = 0;
  let keptBytes = bytesKept();
  for (;;) {
    try {
      return await attempt(source);
    } catch (error) {
      signal.throwIfAborted();
      if (!isFailure(error)) throw error;
      if (isPatient && error.code === AWAITED) {
        await waitFor(error, { clock, signal, emit });
        continue;
      }
      const isWrong = WRONG_CONTENT.has(error.code);
      if (isWrong && wasWrong) throw wrongContent(errand, error);
      const again = isWrong || (isPatient && answering.has(origin.registry) && mayPass(error));
      if (!again) throw error;
      wasWrong ||= isWrong && !isStartedBefore();
      const isProgress = bytesKept() - keptBytes >= PROGRESS_BYTES;
      if (isProgress) fruitless = 0;
      if (isProgress || bytesKept() < keptBytes) keptBytes = bytesKept();
      fruitless += 1;
      if (fruitless === FRUITLESS_MAX) throw error;
      const delayMs = Math.max(backoffMs(fruitless, random(), BACKOFF), error.retryAfterMs ?? 0);
      emit({
        type: "retry",
        image: origin.image,
        digest: content?.digest ?? null,
        code: error.code,
        message: error.message,
        attempt: fruitless + 1,
        attemptsMax: FRUITLESS_MAX,
        delayMs,
      });
      await clock.sleep(delayMs, signal);
    }
  }
}

/** What another host is fetching comes when it comes: that is no attempt that failed. */
async function waitFor(
  { message, retryAfterMs = 0 }: Failure,
  { clock, signal, emit }: Pick<DeliveryContext, "clock" | "signal" | "emit">,
): Promise<void> {
  emit({ type: "waiting", reason: message, untilMs: clock.now() + retryAfterMs });
  await clock.sleep(retryAfterMs, signal);
}

/** The source, whose registry counts as one that answers from the first answer on. */
function noteAnswers({ registry, source }: Origin, answering: Set<string>): Source {
  const noting = async <T>(asked: Promise<T>): Promise<T> => {
    const answer = await asked;
    answering.add(registry);
    return answer;
  };
  return {
    resolve: (tagOrDigest, options) => noting(source.resolve(tagOrDigest, options)),
    fetchManifest: (tagOrDigest, options) => noting(source.fetchManifest(tagOrDigest, options)),
    fetch: (descriptor, options) => noting(source.fetch(descriptor, options)),
  };
}

/** Whether it is worth to try again in this delivery. */
export function mayPass({ transient, retryAfterMs }: Failure): boolean {
  return transient && (retryAfterMs ?? 0) <= RETRY_AFTER_MS_MAX;
}

/** What the verifier found says nothing of where the bytes came from; this does. */
function wrongContent({ content, origin }: Errand, cause: Failure): Failure {
  const { image, registry } = origin;
  const what =
    content === undefined
      ? `its manifest twice, expected those of the digest that it names. ${cause.message}`
      : `${content.digest} twice, expected the ${content.size} bytes of that digest`;
  return new Failure({
    code: cause.code,
    message: `Cannot deliver ${image}: registry ${registry} gave other bytes for ${what}`,
    hint: `Look for a proxy or a broken cache in front of ${registry}; if there is none, have the image pushed again`,
    cause,
  });
}
