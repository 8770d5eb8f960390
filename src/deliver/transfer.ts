import { type Failure, SingleFlight } from "#base";
import { bytesIn } from "#content";
import type { Descriptor } from "#oci";
import type { DeliveryContext } from "./context.ts";
import { fill } from "./fill.ts";
import { copyFromFolders } from "./folders.ts";
import { type BlobLanes, createLanes, type RegistryPace } from "./lanes.ts";
import { createPlaces, type Places } from "./places.ts";
import { type Origin, withRetries } from "./retry.ts";

/** How blobs share the link. Sizes are bytes. */
export interface LinkShares {
  /** Blobs, or ranges of them, on the link at once, over all images. */
  readonly places: number;
  /** So many of the places are left to blobs of at most `smallBytesMax`. */
  readonly placesForSmall: number;
  readonly smallBytesMax: number;
}

const MIB = 1024 * 1024;

/**
 * Enough connections for a line with a long way and losses: with 100 ms and 1 % each brings 160 bytes
 * per ms of 2500 (measured). How many of them one registry bears is found out where its answers are
 * read. A registry's own limits are never near this.
 */
export const DEFAULT_SHARES: LinkShares = {
  places: 20,
  placesForSmall: 2,
  smallBytesMax: MIB,
};

/** Brings blobs into the store: each once, a few at a time, with patience. */
export interface Transfers {
  /**
   * Resolves when the blob is in the store, with the bytes that came over the link for this image: 0
   * when it was there, or in a folder, or when another image brought it at the same time.
   *
   * @throws {Failure} when patience ended
   */
  bring(blob: Descriptor, origin: Origin): Promise<number>;
}

/** What the transfers of one delivery know of each other. */
interface Link {
  readonly shares: LinkShares;
  readonly places: Places;
  /** By the registry's host. */
  readonly paces: Map<string, RegistryPace>;
}

/** Transfers of a delivery that has moved nothing yet. */
export function createTransfers(context: DeliveryContext, shares: LinkShares): Transfers {
  const link: Link = {
    shares,
    places: createPlaces(shares.places, shares.placesForSmall),
    paces: new Map(),
  };
  const flights = new SingleFlight<number>();

  async function bringOnce(blob: Descriptor, origin: Origin): Promise<number> {
    for (;;) {
      let isOurs = false;
      try {
        const bytesMoved = await flights.run(blob.digest, () => {
          isOurs = true;
          return transfer(blob, origin, link, context);
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
      const bytesHere = context.tally.hereOf(blob);
      const { image } = origin;
      context.emit({ type: "blob-done", image, digest, size, bytesHere, bytesMoved });
      return bytesMoved;
    },
  };
}

/** One blob, until it is in the store: out of a folder if one has it, else over the link. */
async function transfer(
  blob: Descriptor,
  origin: Origin,
  link: Link,
  context: DeliveryContext,
): Promise<number> {
  const { store, signal, emit } = context;
  const { places, shares } = link;
  const { image } = origin;
  const { digest } = blob;
  const account = createAccount(blob, origin, context);
  const size = blob.size > shares.smallBytesMax ? "large" : "small";
  const lanes = lanesFor(origin, link, context);
  const onBytes = (bytes: number) => {
    lanes.arrived(bytes);
    account.arrived(bytes);
  };
  const onResume = ({ code, message }: Failure, offsetBytes: number) =>
    emit({ type: "resume", image, digest, code, message, offsetBytes });
  try {
    if (await places.run(size, signal, () => copyFromFolders(blob, image, context))) return 0;
    await withRetries(
      // The place on the link is given up between attempts: a wait is not a transfer.
      (fetcher) =>
        places.run(size, signal, async () => {
          origin.begin?.();
          if (await store.lease(blob)) return;
          await using ingest = await store.ingest(blob);
          account.begin(blob.size - bytesIn(ingest.missing));
          await fill({ blob, ingest, fetcher, signal, onBytes, onResume, lanes });
          await ingest.commit();
        }),
      {
        origin,
        content: blob,
        bytesKept: account.bytesKept,
        isStartedBefore: account.isStartedBefore,
      },
      context,
    );
    return account.bytesMoved();
  } catch (error) {
    account.giveUp();
    emit({ type: "blob-failed", image, digest });
    throw error;
  }
}

function lanesFor(
  { registry, source }: Origin,
  { places, paces }: Link,
  { clock }: DeliveryContext,
): BlobLanes {
  const pace = paces.get(registry) ?? {};
  paces.set(registry, pace);
  return createLanes({
    clock,
    spareTransfers: () => source.spareTransfers ?? 0,
    runSpare: (task) => places.runSpare(task),
    pace,
  });
}

/** What was told of one blob so far, kept true. */
interface Account {
  /** An attempt begins, and finds so many bytes here. */
  begin(bytesHere: number): void;
  arrived(bytes: number): void;
  /** No attempt is left: what arrived is in no blob. */
  giveUp(): void;
  bytesKept(): number;
  bytesMoved(): number;
  isStartedBefore(): boolean;
}

function createAccount(
  blob: Descriptor,
  { image, source }: Origin,
  { tally, emit }: DeliveryContext,
): Account {
  const { digest } = blob;
  let moved = 0;
  let isStartedBefore = false;
  const recount = (movedNow: number, hereNow: number) => {
    const bytesMoved = movedNow - moved;
    const bytesHere = hereNow - tally.hereOf(blob);
    moved = movedNow;
    tally.recount(blob, hereNow);
    if (bytesMoved !== 0 || bytesHere !== 0) {
      emit({ type: "recount", image, digest, bytesMoved, bytesHere });
    }
  };
  return {
    begin(kept) {
      const stillMoved = Math.min(moved, kept);
      recount(stillMoved, kept - stillMoved);
      isStartedBefore = kept > stillMoved;
    },
    arrived(bytes) {
      moved += bytes;
      const near = source.host === undefined ? {} : { isNear: true as const };
      emit({ type: "bytes", image, digest, bytes, ...near });
    },
    giveUp: () => recount(0, tally.hereOf(blob)),
    bytesKept: () => moved + tally.hereOf(blob),
    bytesMoved: () => moved,
    isStartedBefore: () => isStartedBefore,
  };
}
