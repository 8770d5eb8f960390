import { randomBytes } from "node:crypto";
import type { Clock } from "#base";
import type { Upload, Uploads } from "#content";
import type { Descriptor } from "#oci";
import type { Disk } from "./disk.ts";
import { storeFailure, storeFull } from "./failure.ts";
import { isUploadId, type Layout, uploadPath } from "./layout.ts";
import { sharedRun } from "./shared-run.ts";
import { DiskUpload } from "./upload.ts";
import type { UploadRecord, UploadTable } from "./upload-table.ts";

/**
 * With less room than this no upload begins (S-66). What is left is for what gets a full disk out of
 * its plight: the database and its log, the manifests of pushes under way, the site's other programs.
 */
export const FREE_BYTES_MIN: number = 64 * 1024 * 1024;

/** So many uploads at a time gather 1 MiB each, and any beyond them an eighth: 200 fit in 40 MB. */
const LARGE_GATHERERS_MAX = 16;
const GATHERED_BYTES_MIN = 512 * 1024;
const GATHERED_BESIDE_BYTES_MIN = 64 * 1024;

/** What uploads need from their store. */
export interface UploadsPlace {
  readonly layout: Layout;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly table: UploadTable;
  /** Makes a durable file visible under its digest, unless the content is there already. */
  publish(path: string, descriptor: Descriptor): Promise<void>;
}

/** The uploads of a store: a file each in the folder of uploads, and a record in the database. */
export class DiskUploads implements Uploads {
  readonly #place: UploadsPlace;
  readonly #uploads = new Map<string, DiskUpload>();
  readonly #syncFolder: () => Promise<void>;

  private constructor(place: UploadsPlace) {
    this.#place = place;
    this.#syncFolder = sharedRun(() => place.disk.syncFolder(place.layout.uploads));
  }

  /**
   * Takes over what an earlier process left. Uploads whose file lacks what was recorded are gone; files
   * without a record are nobody's.
   */
  static async open(place: UploadsPlace): Promise<DiskUploads> {
    const { layout, disk, table } = place;
    const uploads = new DiskUploads(place);
    for (const record of table.all()) {
      if (!isUploadId(record.id)) continue;
      const size = (await disk.sizeOf(uploadPath(layout, record.id))) ?? 0;
      // A full disk is no reason not to open: it is removed the next time.
      if (size < record.bytes) await table.remove(record.id).catch(() => {});
      else uploads.#adopt(record);
    }
    for (const entry of await disk.list(layout.uploads)) {
      const path = uploadPath(layout, entry);
      if (path !== layout.ingest && !uploads.#uploads.has(entry)) await disk.remove(path);
    }
    return uploads;
  }

  async begin(repository: string, user: string | null): Promise<Upload> {
    const { clock, table } = this.#place;
    const freeBytes = await this.#freeBytes();
    if (freeBytes !== undefined && freeBytes < FREE_BYTES_MIN) {
      throw storeFull(this.#attempt(), { freeBytes, neededBytes: FREE_BYTES_MIN });
    }
    const id = randomBytes(16).toString("hex");
    const record = { id, repository, user, bytes: 0, touchedMs: clock.now() };
    try {
      await table.add(record);
    } catch (error) {
      throw storeFailure(error, this.#attempt(), { freeBytes });
    }
    const upload = this.#adopt(record);
    upload.touch();
    return upload;
  }

  async find(id: string): Promise<Upload | undefined> {
    return isUploadId(id) ? this.#uploads.get(id) : undefined;
  }

  async removeIdle(idleMs: number): Promise<number> {
    const idle = [...this.#uploads.values()].filter(
      (upload) => !upload.isBusy && upload.idleMs >= idleMs,
    );
    await Promise.all(idle.map((upload) => upload.cancel()));
    return idle.length;
  }

  /** Ends what is under way; what came until now stays. It does not fail. */
  async close(): Promise<void> {
    const reason = new Error("the store is being closed");
    await Promise.all([...this.#uploads.values()].map((upload) => upload.stop(reason)));
  }

  #adopt(record: UploadRecord): DiskUpload {
    const { layout, disk, clock, table } = this.#place;
    const { id } = record;
    const path = uploadPath(layout, id);
    let isInFolder = record.bytes > 0;
    const upload = new DiskUpload(record, {
      ...{ disk, clock, path },
      gatheredBytesMin: () => this.#gatheredBytesMin(),
      recordDurable: async (bytes) => {
        if (!isInFolder) await this.#syncFolder();
        isInFolder = true;
        await table.advance(id, bytes, clock.now());
      },
      publish: (descriptor) => this.#place.publish(path, descriptor),
      forget: async () => {
        this.#uploads.delete(id);
        // The file first: on a full disk the record can't be removed before there is room.
        await disk.remove(path).catch(() => {});
        await table.remove(id).catch(() => {});
      },
      failure: async (error) =>
        storeFailure(error, this.#attempt(), { freeBytes: await this.#freeBytes() }),
    });
    this.#uploads.set(id, upload);
    return upload;
  }

  #gatheredBytesMin(): number {
    const busy = [...this.#uploads.values()].filter((upload) => upload.isBusy).length;
    return busy <= LARGE_GATHERERS_MAX ? GATHERED_BYTES_MIN : GATHERED_BESIDE_BYTES_MIN;
  }

  #attempt() {
    return { verb: "store", object: "what is pushed", dataDir: this.#place.layout.dataDir };
  }

  #freeBytes(): Promise<number | undefined> {
    const { disk, layout } = this.#place;
    return disk.freeBytes(layout.uploads).catch(() => undefined);
  }
}
