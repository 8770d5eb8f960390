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
}

/** Images whose manifests were read, stage by stage; undefined for one that could not be. */
export interface StageGraphs {
  readonly name: StageName;
  readonly graphs: readonly (ImageGraph | undefined)[];
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
  stages: readonly StageGraphs[],
  surroundings: Surroundings,
): Promise<Survey> {
  const seen = new Set<Digest>();
  const needs: StageNeed[] = [];
  let bytesOnDisk = 0;
  const unseen = (contents: readonly Descriptor[]) =>
    contents.filter(({ digest }) => !seen.has(digest) && seen.add(digest));

  for (const { name, graphs } of stages) {
    const sized = graphs.filter((graph) => graph !== undefined);
    const need = { bytesTotal: 0, bytesHere: 0, bytesInFolders: 0, bytesToMove: 0 };
    for (const blob of unseen(sized.flatMap(({ blobs }) => blobs))) {
      const { bytesHere, bytesInFolders } = await whereabouts(blob, surroundings);
      need.bytesTotal += blob.size;
      need.bytesHere += bytesHere;
      need.bytesInFolders += bytesInFolders;
      need.bytesToMove += blob.size - bytesHere - bytesInFolders;
      bytesOnDisk += roomFor(blob.size - bytesHere);
    }
    const manifests = sized.flatMap(({ documents }) => documents.map((each) => each.descriptor));
    for (const manifest of unseen(manifests)) {
      if (!(await surroundings.store.has(manifest))) bytesOnDisk += roomFor(manifest.size);
    }
    needs.push({ name, images: graphs.length, imagesSized: sized.length, ...need });
  }
  if (bytesOnDisk > 0) bytesOnDisk += BOOKKEEPING_BYTES;
  return { stages: needs, total: addUp(needs), bytesOnDisk };
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

/** @throws {Failure} `store-full` when the disk can't take in what is needed, before anything moves */
export function refuseWithoutRoom({ bytesOnDisk }: Survey, bytesFree: number | undefined): void {
  if (bytesFree === undefined || bytesFree >= bytesOnDisk) return;
  throw new Failure({
    code: "store-full",
    message: `Cannot begin the delivery: the disk of the store has ${formatBytes(bytesFree)} free, expected ${formatBytes(bytesOnDisk)} for what is missing; it needs ${formatBytes(bytesOnDisk - bytesFree)} more`,
    hint: "Make room on that disk or name a folder on another one with --data-dir, then run `dray deliver` again",
  });
}
