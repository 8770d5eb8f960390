import type { Descriptor, Digest } from "#oci";
import type { ByteTotals } from "./event.ts";

/** Counts blobs across all images of a delivery, each digest once. */
export interface Tally {
  /** Takes a blob in, unless it was already: as here, or as one that must be moved. */
  add(blob: Descriptor, isHere: boolean): void;
  /** Whether the blob was counted as in the store before this delivery. */
  wasHere(blob: Descriptor): boolean;
  /** Notes that the bytes of one more image are in the totals. */
  countImage(): void;
  totals(): ByteTotals & { readonly images: number };
}

/** A tally of nothing yet. */
export function createTally(): Tally {
  const isHere = new Map<Digest, boolean>();
  let bytesTotal = 0;
  let bytesHere = 0;
  let images = 0;
  return {
    add(blob, here) {
      if (isHere.has(blob.digest)) return;
      isHere.set(blob.digest, here);
      bytesTotal += blob.size;
      if (here) bytesHere += blob.size;
    },
    wasHere: (blob) => isHere.get(blob.digest) === true,
    countImage() {
      images += 1;
    },
    totals: () => ({ bytesTotal, bytesHere, images }),
  };
}
