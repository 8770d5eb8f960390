import type { Digest } from "#oci";
import type { StageName } from "#plan";

/**
 * What became of one image.
 *
 * - `delivered`: it is complete in the store now and was not when its turn came
 * - `present`: it was complete already, under this name and digest; nothing was moved
 * - `stood`: its registry could not be reached, and what was last verified under its name stands
 * - `failed`: the {@link DeliveryFailure} says why; what it had brought in whole stays in the store
 * - `skipped`: it was not tried to the end, because the delivery stopped first
 */
export type ImageOutcome = "delivered" | "present" | "stood" | "failed" | "skipped";

/** Why one image was not delivered. Fit to print: it holds no secret and no unescaped server text. */
export interface DeliveryFailure {
  /** The reference as declared, normalised: the image's name everywhere in a delivery. */
  readonly image: string;
  /** The reference that it was fetched from. */
  readonly source: string;
  /** The host of that reference. */
  readonly registry: string;
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

/** Something that an operator should know and that stopped nothing. */
export interface DeliveryWarning {
  readonly image: string;
  readonly message: string;
}

/** How many images of a stage there are, and what became of them; the outcomes add up to `images`. */
export interface StageSummary extends Readonly<Record<ImageOutcome, number>> {
  readonly name: StageName;
  readonly images: number;
}

/** What blobs weigh. What several images share is counted once. */
export interface ByteTotals {
  /** All blobs of the images that were sized so far. */
  readonly bytesTotal: number;
  /** What of them need not cross the link: it is in the store, in part or whole, or in a given folder. */
  readonly bytesHere: number;
}

/** A delivery in numbers. */
export interface DeliverySummary extends ByteTotals {
  /** `done`: every image that was asked for is complete in the store. */
  readonly outcome: "done" | "failed" | "interrupted";
  /** One for each stage of the plan, in its order; a stage that was not attempted is all `skipped`. */
  readonly stages: readonly StageSummary[];
  /** In the order in which they happened. */
  readonly failures: readonly DeliveryFailure[];
  readonly warnings: readonly DeliveryWarning[];
  /** Bytes of blobs that were brought in and verified; what had to be fetched again counts once. */
  readonly bytesMoved: number;
  /** Bytes of blobs that arrived, each time they did: also those that were wrong, or of no use in the end. */
  readonly bytesFetched: number;
  readonly elapsedMs: number;
}

/**
 * Something that happened in a delivery. The progress display, the JSON output, the journal and the
 * metrics all read these, and nothing else, so everything they show is in here.
 *
 * Sizes are of blobs, that is configs and layers, in bytes; manifests are a few kilobytes and are not
 * counted. `image` is the reference as declared, normalised.
 */
export type DeliveryEvent = { /** Milliseconds since 1970. */ readonly at: number } & (
  | {
      readonly type: "plan-started";
      /** Only the stages that will be attempted. */
      readonly stages: readonly { readonly name: StageName; readonly images: number }[];
    }
  | { readonly type: "stage-started"; readonly stage: StageName; readonly images: number }
  | {
      readonly type: "image-started";
      readonly stage: StageName;
      readonly image: string;
      readonly source: string;
    }
  /** Once for an image, as soon as its manifests are read: possibly long before its stage starts. */
  | ({
      readonly type: "image-sized";
      readonly image: string;
      readonly digest: Digest;
      /** Of the whole delivery as far as it is known, and of how many images that is. */
      readonly overall: ByteTotals & { readonly images: number };
    } & ByteTotals)
  /** Bytes of a blob arrived. A blob that two images share arrives for one of them. */
  | {
      readonly type: "bytes";
      readonly image: string;
      readonly digest: Digest;
      readonly bytes: number;
    }
  /**
   * What was told of a blob before is not so: bytes that had arrived, or were thought to be here, must
   * come again, or more is here than was known. Both are to be added, and may be negative.
   */
  | {
      readonly type: "recount";
      readonly image: string;
      readonly digest: Digest;
      readonly bytesMoved: number;
      readonly bytesHere: number;
    }
  /**
   * A blob that this image lacked is in the store. It adds up to its `size`: what was told as here
   * before, what came for this image, and the rest, which another image of this delivery brought.
   */
  | {
      readonly type: "blob-done";
      readonly image: string;
      readonly digest: Digest;
      readonly size: number;
      readonly bytesHere: number;
      readonly bytesMoved: number;
    }
  /** A connection broke and had brought something: the blob goes on at once where it stopped. */
  | {
      readonly type: "resume";
      readonly image: string;
      readonly digest: Digest;
      readonly code: string;
      readonly message: string;
      /** First byte that is asked for again. */
      readonly offsetBytes: number;
    }
  | {
      readonly type: "retry";
      readonly image: string;
      /** Null while it is asked what the image's name stands for. */
      readonly digest: Digest | null;
      /** The failure of the attempt before. */
      readonly code: string;
      readonly message: string;
      /** Number of the attempt that comes next, from 2, of those in a row that made no progress. */
      readonly attempt: number;
      /** So many without progress are the end. */
      readonly attemptsMax: number;
      readonly delayMs: number;
    }
  /** The last attempt failed too; the image's own outcome follows. What was kept is for the next delivery. */
  | { readonly type: "blob-failed"; readonly image: string; readonly digest: Digest }
  /** Nothing moves, on purpose: a window of the link is shut, a registry asked for a pause. */
  | {
      readonly type: "waiting";
      /** Fit to print: `the window of link.windows`. */
      readonly reason: string;
      /** Milliseconds since 1970; null when it is not known. */
      readonly untilMs: number | null;
    }
  | ({ readonly type: "warning" } & DeliveryWarning)
  | {
      readonly type: "image-done";
      readonly stage: StageName;
      readonly image: string;
      readonly outcome: ImageOutcome;
      /** What the name stands for in the store now; null when the image failed or was skipped. */
      readonly digest: Digest | null;
      readonly bytesMoved: number;
      readonly ms: number;
      /** Given when and only when the outcome is `failed`. */
      readonly failure?: DeliveryFailure;
    }
  | ({ readonly type: "stage-done" } & StageSummary)
  | { readonly type: "delivery-done"; readonly summary: DeliverySummary }
);

type WithoutTime<T> = T extends unknown ? Omit<T, "at"> : never;

/** An event before it is given its time. */
export type UntimedEvent = WithoutTime<DeliveryEvent>;
