import type { Digest } from "#oci";
import type { StageName } from "#plan";

/**
 * What became of one image.
 *
 * - `delivered`: it is complete in the store now and was not when its turn came
 * - `present`: it was complete already, under this name and digest; nothing of it was moved, but
 *   perhaps a signature that was added since
 * - `stood`: its registry could not be reached, and what was last verified under its name stands
 * - `failed`: the {@link DeliveryFailure} says why; what it had brought in whole stays in the store
 * - `skipped`: it was not tried to the end, because the delivery stopped first
 */
export type ImageOutcome = "delivered" | "present" | "stood" | "failed" | "skipped";

/** With these an image is complete in the store under its name. */
export const COMPLETE: ReadonlySet<ImageOutcome> = new Set(["delivered", "present", "stood"]);

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

/**
 * What became of the upload of one image to the local registry.
 *
 * - `uploaded`: it is complete there now and was not when its turn came
 * - `present`: the local registry had it already, under this name and digest; nothing was moved
 * - `failed`: the {@link UploadFailure} says why; what was brought there whole stays for the next time
 * - `skipped`: it was not tried to the end: it was not delivered, the local registry never came or
 *   takes nothing more, or the delivery stopped first
 */
export type UploadOutcome = "uploaded" | "present" | "failed" | "skipped";

/** Why something was not uploaded. Fit to print, as a {@link DeliveryFailure} is. */
export interface UploadFailure {
  /** The image as declared; null when it was the registry as a whole that could not be used. */
  readonly image: string | null;
  /** The image's name in the local registry; null as `image` is. */
  readonly local: string | null;
  /** Host and port of the local registry. */
  readonly registry: string;
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

/** What was uploaded to the local registry; the outcomes add up to `images`. */
export interface UploadSummary extends Readonly<Record<UploadOutcome, number>> {
  /** Host and port of the local registry. */
  readonly registry: string;
  /** Those of the attempted stages that the plan uploads. */
  readonly images: number;
  /** Bytes of blobs that were handed to the network, each time they were. */
  readonly bytesSent: number;
  /** Bytes of blobs that the registry took from another of its repositories, for nothing. */
  readonly bytesMounted: number;
  /** Images, as declared, whose tag there stands for this platform's manifest and not for their index. */
  readonly onePlatform: readonly string[];
  /** In the order in which they happened. */
  readonly failures: readonly UploadFailure[];
}

/**
 * What became of giving the provider image to the operating system.
 *
 * - `done`: it was made ready now, and the command, if there is one, ended well
 * - `present`: this very image was handed over before; nothing was made or run
 * - `failed`: the {@link DeliveryFailure} says why; it is tried again with the next delivery
 * - `skipped`: it was not tried to the end
 */
export type HandOverOutcome = "done" | "present" | "failed" | "skipped";

/** What was done with the provider images once they were complete. */
export interface ProviderSummary {
  /** Archives of images that lie in them, and what those images are called; null when nobody looked. */
  readonly coreImages: { readonly archives: number; readonly names: readonly string[] } | null;
  /** Null when nothing is to be handed over. */
  readonly handOver: HandOverOutcome | null;
  /** All that was to be done is; else nothing of the later stages was begun. */
  readonly isDone: boolean;
}

/** What blobs weigh. What several images share is counted once. */
export interface ByteTotals {
  /** All blobs of the images that were sized so far. */
  readonly bytesTotal: number;
  /** What of them need not cross the link: it is in the store, in part or whole, or in a given folder. */
  readonly bytesHere: number;
}

/**
 * What became of one image in the runtime.
 *
 * - `loaded`: containers can be started from it now, and could not when its turn came
 * - `present`: they could already
 * - `not-runnable`: no container can: a chart, an artifact
 * - `failed`: the {@link LoadFailure} says why
 * - `skipped`: it was not tried to the end: it was not delivered, the runtime can't be loaded into, or
 *   the delivery stopped first
 */
export type LoadOutcome = "loaded" | "present" | "not-runnable" | "failed" | "skipped";

/** Why something was not loaded into the runtime. Fit to print, as a {@link DeliveryFailure} is. */
export interface LoadFailure {
  /** The image as declared; null when it was the runtime as a whole that could not be used. */
  readonly image: string | null;
  /** The runtime, as people call it. */
  readonly runtime: string;
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

/** What was loaded into the runtime; the outcomes add up to `images`. */
export interface LoadSummary extends Readonly<Record<LoadOutcome, number>> {
  /** The runtime, as people call it. */
  readonly runtime: string;
  /** Those of the attempted stages that are no provider images, and what came out of these. */
  readonly images: number;
  /** In the order in which they happened. */
  readonly failures: readonly LoadFailure[];
}

/** A delivery in numbers. */
export interface DeliverySummary extends ByteTotals {
  /** `done`: every image that was asked for is complete in the store, and uploaded if it is to be. */
  readonly outcome: "done" | "failed" | "interrupted";
  /** One for each stage of the plan, in its order; a stage that was not attempted is all `skipped`. */
  readonly stages: readonly StageSummary[];
  /** In the order in which they happened. */
  readonly failures: readonly DeliveryFailure[];
  readonly warnings: readonly DeliveryWarning[];
  /** Null when nothing more was to be done with provider images, or it did not come to that. */
  readonly provider: ProviderSummary | null;
  /** Null when nothing was to be uploaded. */
  readonly uploads: UploadSummary | null;
  /** Null when nothing was to be loaded into a runtime. */
  readonly runtime: LoadSummary | null;
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
      /** How many of their images go on to the local registry. */
      readonly uploads: number;
    }
  | { readonly type: "stage-started"; readonly stage: StageName; readonly images: number }
  | {
      readonly type: "image-started";
      readonly stage: StageName;
      readonly image: string;
      readonly source: string;
    }
  /**
   * As soon as an image's manifests are read: possibly long before its stage starts. Once for an image,
   * and once more when its other platforms are fetched for the local registry's sake, or when signatures
   * and the like turn out to belong to it.
   */
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
      /** They came from a host of the site that fetches for this one, and not over the uplink. */
      readonly isNear?: true;
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
  /** A provider image is looked through for the images inside of it. */
  | { readonly type: "core-images-started"; readonly image: string }
  | {
      readonly type: "core-images-done";
      readonly image: string;
      /** As of `CoreLoading`. */
      readonly outcome: "loaded" | "present" | "failed" | "skipped";
      readonly archives: number;
      /** What the store has from it now. */
      readonly names: readonly string[];
      readonly ms: number;
      /** Given when and only when the outcome is `failed`. */
      readonly failure?: DeliveryFailure;
    }
  /** The operating system is about to be given its image. Not told when it has it. */
  | {
      readonly type: "hand-over-started";
      readonly image: string;
      /** The manifest of the platform. */
      readonly digest: Digest;
      /** `rootfs`, `oci-archive`, … */
      readonly form: string;
      /** A path, or a reference in the embedded registry. */
      readonly target: string;
      /** The program that will be run, without its words; null when none will. */
      readonly program: string | null;
    }
  /** A line that the program wrote, fit to print and cut when it is long. */
  | { readonly type: "hand-over-output"; readonly image: string; readonly line: string }
  | {
      readonly type: "hand-over-done";
      readonly image: string;
      readonly outcome: HandOverOutcome;
      /** The manifest that was handed over; null when it failed or was skipped. */
      readonly digest: Digest | null;
      /** Of the program; null when none was run, or it did not end by itself. */
      readonly exitStatus: number | null;
      readonly ms: number;
      /** Given when and only when the outcome is `failed`. */
      readonly failure?: DeliveryFailure;
    }
  /** The local registry can't be pushed to yet; images go on being fetched. Told after each attempt. */
  | {
      readonly type: "local-registry-waiting";
      /** Host and port. */
      readonly registry: string;
      /** The failure of the attempt. */
      readonly code: string;
      readonly message: string;
      /** When the waiting began, in milliseconds since 1970. */
      readonly sinceMs: number;
      /** When it is asked again. */
      readonly nextMs: number;
      /** When it is given up; null while images are being fetched, for so long it costs nothing. */
      readonly untilMs: number | null;
    }
  /** It can be pushed to; told again when it was gone in between. */
  | { readonly type: "local-registry-ready"; readonly registry: string }
  /** It takes nothing more in this delivery: what is not uploaded yet is skipped. */
  | { readonly type: "local-registry-failed"; readonly failure: UploadFailure }
  | { readonly type: "upload-started"; readonly image: string; readonly local: string }
  /** The local registry has so many bytes of a blob more; fewer than none when it lost some. */
  | {
      readonly type: "upload-bytes";
      readonly image: string;
      readonly digest: Digest;
      readonly bytes: number;
    }
  /** The upload of an image broke off in a way that may pass. */
  | {
      readonly type: "upload-retry";
      readonly image: string;
      readonly code: string;
      readonly message: string;
      /** As of `retry`. */
      readonly attempt: number;
      readonly attemptsMax: number;
      readonly delayMs: number;
    }
  /** Once for every image that the plan uploads, if it was delivered. */
  | {
      readonly type: "upload-done";
      readonly image: string;
      readonly local: string;
      readonly outcome: UploadOutcome;
      /** What the name stands for in the local registry; null when it failed or was skipped. */
      readonly digest: Digest | null;
      readonly bytesSent: number;
      readonly bytesMounted: number;
      /** Bytes that came over the link for the upload's sake: of platforms that the site does not need. */
      readonly bytesMoved: number;
      readonly ms: number;
      /** Given when and only when the outcome is `failed`. */
      readonly failure?: UploadFailure;
    }
  /** What an operator should know of the runtime, and what stopped nothing. */
  | { readonly type: "runtime-warning"; readonly runtime: string; readonly message: string }
  /** It can't be loaded into: what is not loaded yet is skipped. */
  | { readonly type: "runtime-failed"; readonly failure: LoadFailure }
  /** Once for every image that a container may want, if it is complete in the store. */
  | {
      readonly type: "runtime-loaded";
      readonly image: string;
      readonly outcome: LoadOutcome;
      readonly ms: number;
      /** Given when and only when the outcome is `failed`. */
      readonly failure?: LoadFailure;
    }
  /** Nothing of it is begun, for the disk can't hold it; there is no summary, and `deliver` rejects. */
  | {
      readonly type: "delivery-refused";
      readonly code: string;
      readonly message: string;
      readonly hint: string;
    }
  | { readonly type: "delivery-done"; readonly summary: DeliverySummary }
);

type WithoutTime<T> = T extends unknown ? Omit<T, "at"> : never;

/** An event before it is given its time. */
export type UntimedEvent = WithoutTime<DeliveryEvent>;
