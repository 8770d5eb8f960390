import type { Clock } from "#base";
import { type AppendOptions, createHasher, releaseChunk, type Upload } from "#content";
import type { Descriptor, Digest } from "#oci";
import type { Disk } from "./disk.ts";
import { uploadBusy, uploadMismatch, uploadUnknown } from "./failure.ts";
import { untilAborted } from "./until-aborted.ts";
import { UploadFile, type UploadHash } from "./upload-file.ts";
import type { UploadRecord } from "./upload-table.ts";

/** What an upload needs from the store. */
export interface UploadPlace {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly path: string;
  /** How many bytes are worth a write now: less when many are at it. */
  gatheredBytesMin(): number;
  /** Makes the record of what is durable last, and the name of the file. */
  recordDurable(bytes: number): Promise<void>;
  /** Makes the file, which is durable and closed, visible under its digest. */
  publish(descriptor: Descriptor): Promise<void>;
  /** Removes what is left of it, record and file. It does not fail. */
  forget(): Promise<void>;
  /** The failure that stands for an error of the disk. */
  failure(error: unknown): Promise<unknown>;
}

/** The call that an upload is busy with. */
interface Turn {
  readonly stop: AbortController;
  readonly ended: Promise<void>;
}

/**
 * An upload on disk: a file that grows, and a record of how much of it is durable. Whatever the disk
 * refuses ends it, so that a full disk gets its room back and nothing that may be lost is built upon.
 */
export class DiskUpload implements Upload {
  readonly id: string;
  readonly repository: string;
  readonly user: string | null;
  readonly #place: UploadPlace;
  /** What was appended before this process began is not in it, and is read back in the end. */
  readonly #hash: UploadHash = { hasher: createHasher("sha256"), end: 0 };
  #bytes: number;
  /** On the clock that nobody sets; undefined until this process has to do with it. */
  #touchedMs: number | undefined;
  readonly #touchedBefore: number;
  #turn: Turn | undefined;
  #hasEnded = false;

  constructor({ id, repository, user, bytes, touchedMs }: UploadRecord, place: UploadPlace) {
    this.id = id;
    this.repository = repository;
    this.user = user;
    this.#bytes = bytes;
    this.#touchedBefore = touchedMs;
    this.#place = place;
  }

  get bytes(): number {
    return this.#bytes;
  }

  append(body: AsyncIterable<Uint8Array>, { signal }: AppendOptions): Promise<void> {
    return this.#alone(async (stopped) => {
      signal.throwIfAborted();
      const file = await this.#orEnd(() => this.#open());
      try {
        for await (const chunk of untilAborted(body, AbortSignal.any([signal, stopped]))) {
          await this.#orEnd(() => file.take(chunk));
          releaseChunk(chunk);
        }
      } finally {
        // Also of a body that broke off: what came of it stays.
        try {
          if (!this.#hasEnded) await this.#orEnd(() => file.sync());
        } finally {
          await file.close().catch(() => {});
        }
      }
    });
  }

  commit(digest: Digest): Promise<Descriptor> {
    return this.#alone(async () => {
      const descriptor = {
        mediaType: "application/octet-stream",
        digest,
        size: this.#bytes,
      };
      await this.#orEnd(async () => {
        const actual = await this.#seal(digest);
        if (actual !== digest) throw uploadMismatch(digest, actual);
        await this.#place.publish(descriptor);
      });
      await this.#end();
      return descriptor;
    });
  }

  async cancel(): Promise<void> {
    while (this.#turn !== undefined) await this.stop(uploadUnknown(this.id));
    if (!this.#hasEnded) await this.#end();
  }

  /** Ends the call that it is busy with, as if the client had gone. */
  async stop(reason: unknown): Promise<void> {
    this.#turn?.stop.abort(reason);
    await this.#turn?.ended;
  }

  /**
   * For how long nobody has touched it, in milliseconds. What an earlier process did is told by the
   * clock that people set.
   */
  get idleMs(): number {
    const { clock } = this.#place;
    if (this.#touchedMs === undefined) return clock.now() - this.#touchedBefore;
    return clock.monotonic() - this.#touchedMs;
  }

  /** Whether a call is at it. */
  get isBusy(): boolean {
    return this.#turn !== undefined;
  }

  /** Says that this process has to do with it. */
  touch(): void {
    this.#touchedMs = this.#place.clock.monotonic();
  }

  async #alone<T>(act: (stopped: AbortSignal) => Promise<T>): Promise<T> {
    if (this.#hasEnded) throw uploadUnknown(this.id);
    if (this.#turn !== undefined) throw uploadBusy(this.id);
    const stop = new AbortController();
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    this.#turn = { stop, ended };
    try {
      return await act(stop.signal);
    } finally {
      this.touch();
      this.#turn = undefined;
      end();
    }
  }

  /** Leaves the file durable and closed; gives its digest. */
  async #seal(expected: Digest): Promise<Digest> {
    const file = await this.#open();
    try {
      // The disk takes its time, if it has anything to do, while it is hashed.
      const [actual] = await Promise.all([file.digest(expected), file.sync()]);
      return actual;
    } finally {
      await file.close();
    }
  }

  #open(): Promise<UploadFile> {
    const { disk, clock, path } = this.#place;
    return UploadFile.open({
      ...{ disk, clock, path, bytes: this.#bytes, hash: this.#hash },
      gatheredBytesMin: this.#place.gatheredBytesMin(),
      recordDurable: async (bytes) => {
        await this.#place.recordDurable(bytes);
        this.#bytes = bytes;
      },
    });
  }

  /** Does a step with the file; when that fails the upload has ended. */
  async #orEnd<T>(step: () => Promise<T>): Promise<T> {
    try {
      return await step();
    } catch (error) {
      const failure = await this.#place.failure(error);
      await this.#end();
      throw failure;
    }
  }

  async #end(): Promise<void> {
    this.#hasEnded = true;
    await this.#place.forget();
  }
}
