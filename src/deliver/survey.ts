import { Failure, formatBytes } from "#base";
import type { ImageGraph } from "#content";
import type { Descriptor, Digest } from "#oci";
import type { StageName } from "#plan";
import type { DeliveryContext } from "./context.ts";
import { isInFolders } from "./folders.ts";

/** What images weigh and what of it is still to come, in bytes. What several share is counted once. */
export interface Need {
  /** Blobs of the images whose manifests could be read. */
  readonly bytesTotal: number;
  /** Of those, in the store, also in parts. */
  readonly bytesHere: number;
  /** Of those, not in the store and whole in a folder. */
  readonly bytesInFolders: number;
  /** The rest, which crosses the link. */
  readonly bytesToMove: number;
}

/** The {@link Need} of one stage: what a stage before it brings is not counted again. */
export interface StageNeed extends Need {
  readonly name: StageName;
  readonly images: number;
  /** How many of the images are in the figures. */
  readonly imagesSized: number;
}

/** What a delivery needs, as far as manifests tell. */
export interface Survey {
  readonly stages: readonly StageNeed[];
  readonly total: Need;
  /** Room that the store needs on its disk for what it lacks, while and after it comes. */
  readonly bytesOnDisk: number;
  /** The image that needs the most of that room, what images share being counted for the first; undefined when none does. */
  readonly largest: { readonly image: string; readonly bytesOnDisk: number } | undefined;
}

/** An image, and what its manifests say; undefined when they could not be read. */
export interface SurveyedImage {
  /** As declared, normalised. */
  readonly image: string;
  readonly graph: ImageGraph | undefined;
}

/** The images of a stage. */
export interface SurveyedStage {
  readonly name: StageName;
  readonly images: readonly SurveyedImage[];
}

/** File systems give room in blocks; few have larger ones. */
const BLOCK_BYTES = 4096;

/** For the database, its log and `index.json`, which grow with the names. */
const BOOKKEEPING_BYTES = 4 * 1024 * 1024;

type Surroundings = Pick<DeliveryContext, "store" | "folders">;

/**
 * Adds up what is needed. Content is written once, to the place where it stays in the end, so that
 * nothing needs room twice.
 */
export async function survey(
  stages: readonly SurveyedStage[],
  surroundings: Surroundings,
): Promise<Survey> {
  const seen = new Set<Digest>();
  const needs: StageNeed[] = [];
  let bytesOnDisk = 0;
  let largest: Survey["largest"];
  const unseen = (contents: readonly Descriptor[]) =>
    contents.filter(({ digest }) => !seen.has(digest) && seen.add(digest));

  for (const { name, images } of stages) {
    const need = { bytesTotal: 0, bytesHere: 0, bytesInFolders: 0, bytesToMove: 0 };
    let imagesSized = 0;
    for (const { image, graph } of images) {
      if (graph === undefined) continue;
      imagesSized += 1;
      let ofImage = 0;
      for (const blob of unseen(graph.blobs)) {
        const { bytesHere, bytesInFolders } = await whereabouts(blob, surroundings);
        need.bytesTotal += blob.size;
        need.bytesHere += bytesHere;
        need.bytesInFolders += bytesInFolders;
        need.bytesToMove += blob.size - bytesHere - bytesInFolders;
        ofImage += roomFor(blob.size - bytesHere);
      }
      for (const manifest of unseen(graph.documents.map(({ descriptor }) => descriptor))) {
        if (!(await surroundings.store.has(manifest))) ofImage += roomFor(manifest.size);
      }
      bytesOnDisk += ofImage;
      if (ofImage > (largest?.bytesOnDisk ?? 0)) largest = { image, bytesOnDisk: ofImage };
    }
    needs.push({ name, images: images.length, imagesSized, ...need });
  }
  if (bytesOnDisk > 0) bytesOnDisk += BOOKKEEPING_BYTES;
  return { stages: needs, total: addUp(needs), bytesOnDisk, largest };
}

async function whereabouts(blob: Descriptor, { store, folders }: Surroundings) {
  const bytesHere = await store.bytesHere(blob);
  const isCarried = bytesHere < blob.size && (await isInFolders(blob, { folders }));
  return { bytesHere, bytesInFolders: isCarried ? blob.size - bytesHere : 0 };
}

function roomFor(bytes: number): number {
  return Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES;
}

function addUp(needs: readonly Need[]): Need {
  const sum = (key: keyof Need) => needs.reduce((bytes, need) => bytes + need[key], 0);
  return {
    bytesTotal: sum("bytesTotal"),
    bytesHere: sum("bytesHere"),
    bytesInFolders: sum("bytesInFolders"),
    bytesToMove: sum("bytesToMove"),
  };
}

/**
 * What an image says of its size is its publisher's word, so who needs the most is named.
 *
 * @throws {Failure} `store-full` when the disk can't take in what is needed, before anything moves
 */
export function refuseWithoutRoom(
  { bytesOnDisk, largest }: Survey,
  bytesFree: number | undefined,
): void {
  if (bytesFree === undefined || bytesFree >= bytesOnDisk) return;
  const most =
    largest === undefined
      ? ""
      : `. The most of it, ${formatBytes(largest.bytesOnDisk)}, is for ${largest.image}`;
  throw new Failure({
    code: "store-full",
    message: `Cannot begin the delivery: the disk of the store has ${formatBytes(bytesFree)} free, expected ${formatBytes(bytesOnDisk)} for what is missing; it needs ${formatBytes(bytesOnDisk - bytesFree)} more${most}`,
    hint: "Make room on that disk or name a folder on another one with --data-dir, then run `dray deliver` again; an image whose size can't be right must be pushed again by its publisher, or taken out of the profile",
  });
}
