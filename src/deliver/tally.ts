import type { Descriptor, Digest } from "#oci";
import type { ByteTotals } from "./event.ts";

/** Counts blobs across all images of a delivery, each digest once. */
export interface Tally {
  /** Takes a blob in, with what of it need not cross the link, unless it is counted already. */
  add(blob: Descriptor, bytesHere: number): void;
  has(blob: Descriptor): boolean;
  /** What of the blob was counted as here. */
  hereOf(blob: Descriptor): number;
  /** Less of the blob is here than was counted, or more. */
  recount(blob: Descriptor, bytesHere: number): void;
  /** Notes that the bytes of one more image are in the totals. */
  countImage(): void;
  totals(): ByteTotals & { readonly images: number };
}

/** A tally of nothing yet. */
export function createTally(): Tally {
  const here = new Map<Digest, number>();
  let bytesTotal = 0;
  let bytesHere = 0;
  let images = 0;
  const hereOf = ({ digest }: Descriptor) => here.get(digest) ?? 0;
  return {
    has: ({ digest }) => here.has(digest),
    hereOf,
    add(blob, bytes) {
      if (here.has(blob.digest)) return;
      here.set(blob.digest, bytes);
      bytesTotal += blob.size;
      bytesHere += bytes;
    },
    recount(blob, bytes) {
      bytesHere += bytes - hereOf(blob);
      here.set(blob.digest, bytes);
    },
    countImage() {
      images += 1;
    },
    totals: () => ({ bytesTotal, bytesHere, images }),
  };
}
