import { Limiter, SingleFlight } from "#base";
import { copyContent, type Fetcher } from "#content";
import type { Descriptor } from "#oci";
import type { DeliveryContext } from "./context.ts";
import { type Origin, withRetries } from "./retry.ts";

/** Brings blobs into the store: each once, a few at a time, with patience. */
export interface Transfers {
  /**
   * Resolves when the blob is in the store, with the bytes that came for this image: 0 when it was
   * there, or when another image brought it at the same time.
   *
   * @throws {Failure} when every attempt failed
   */
  bring(blob: Descriptor, origin: Origin): Promise<number>;
}

/** @param blobsMax how many blobs are on the link at once, over all images */
export function createTransfers(context: DeliveryContext, blobsMax: number): Transfers {
  const limiter = new Limiter(blobsMax);
  const flights = new SingleFlight<number>();

  async function bringOnce(blob: Descriptor, origin: Origin): Promise<number> {
    for (;;) {
      let isOurs = false;
      try {
        const bytesMoved = await flights.run(blob.digest, () => {
          isOurs = true;
          return transfer(blob, origin, limiter, context);
        });
        return isOurs ? bytesMoved : 0;
      } catch (error) {
        // Another image's registry may lack what this image's own has, so its failure is not ours.
        if (isOurs) throw error;
        context.signal.throwIfAborted();
      }
    }
  }

  return {
    async bring(blob, origin) {
      const bytesMoved = await bringOnce(blob, origin);
      const { digest, size } = blob;
      context.emit({ type: "blob-done", image: origin.image, digest, size, bytesMoved });
      return bytesMoved;
    },
  };
}

/** One blob, until it is in the store. Each attempt begins at its first byte. */
async function transfer(
  blob: Descriptor,
  origin: Origin,
  limiter: Limiter,
  context: DeliveryContext,
): Promise<number> {
  const { store, signal, emit } = context;
  const { digest } = blob;
  const { image } = origin;
  let bytesArrived = 0;
  const loseBytes = () => {
    const bytesLost = bytesArrived;
    bytesArrived = 0;
    return bytesLost;
  };
  const onBytes = (bytes: number) => {
    bytesArrived += bytes;
    emit({ type: "bytes", image, digest, bytes });
  };
  // The place on the link is given up between attempts: a wait is not a transfer.
  const attempt = (source: Fetcher) =>
    limiter.run(signal, () => copyContent(source, store, blob, { signal, onBytes }));
  try {
    const { bytesMoved } = await withRetries(
      attempt,
      { content: blob, origin, loseBytes },
      context,
    );
    return bytesMoved;
  } catch (error) {
    emit({ type: "blob-failed", image, digest, bytesLost: loseBytes() });
    throw error;
  }
}
