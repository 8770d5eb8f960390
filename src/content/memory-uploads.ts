import { randomBytes } from "node:crypto";
import { type Clock, Failure } from "#base";
import { type Descriptor, type Digest, digestAlgorithm } from "#oci";
import { digestOf } from "./hash.ts";
import type { AppendOptions, Upload, Uploads } from "./uploads.ts";

/** What the uploads of a store in memory need of it. */
export interface MemoryUploadsOptions {
  readonly clock: Clock;
  /** Shows content in the store. */
  readonly keep: (digest: Digest, bytes: Uint8Array<ArrayBuffer>) => void;
}

/** Makes {@link Uploads} that live as long as the process. */
export function createMemoryUploads({ clock, keep }: MemoryUploadsOptions): Uploads {
  const uploads = new Map<string, MemoryUpload>();
  return {
    async begin(repository, user) {
      const id = randomBytes(16).toString("hex");
      const owner = { id, repository, user };
      const upload = new MemoryUpload(owner, { clock, keep, forget: () => uploads.delete(id) });
      uploads.set(id, upload);
      return upload;
    },
    find: async (id) => uploads.get(id),
    async removeIdle(idleMs) {
      const idle = [...uploads.values()].filter((upload) => upload.isIdle(idleMs));
      for (const upload of idle) uploads.delete(upload.id);
      return idle.length;
    },
  };
}

interface Surroundings extends MemoryUploadsOptions {
  readonly forget: () => void;
}

class MemoryUpload implements Upload {
  readonly id: string;
  readonly repository: string;
  readonly user: string | null;
  readonly #surroundings: Surroundings;
  readonly #chunks: Uint8Array<ArrayBuffer>[] = [];
  #isBusy = false;
  #touchedMs: number;

  constructor(
    { id, repository, user }: Pick<Upload, "id" | "repository" | "user">,
    surroundings: Surroundings,
  ) {
    this.id = id;
    this.repository = repository;
    this.user = user;
    this.#surroundings = surroundings;
    this.#touchedMs = surroundings.clock.monotonic();
  }

  get bytes(): number {
    return this.#chunks.reduce((bytes, chunk) => bytes + chunk.byteLength, 0);
  }

  append(body: AsyncIterable<Uint8Array>, { signal }: AppendOptions): Promise<void> {
    return this.#alone(async () => {
      for await (const chunk of body) {
        signal.throwIfAborted();
        this.#chunks.push(new Uint8Array(chunk));
      }
    });
  }

  commit(digest: Digest): Promise<Descriptor> {
    return this.#alone(async () => {
      const bytes = new Uint8Array(await new Blob(this.#chunks).arrayBuffer());
      this.#surroundings.forget();
      const actual = digestOf(bytes, digestAlgorithm(digest));
      if (actual !== digest) throw mismatch(digest, actual);
      this.#surroundings.keep(digest, bytes);
      return { mediaType: "application/octet-stream", digest, size: bytes.byteLength };
    });
  }

  async cancel(): Promise<void> {
    this.#surroundings.forget();
  }

  isIdle(idleMs: number): boolean {
    return !this.#isBusy && this.#surroundings.clock.monotonic() - this.#touchedMs >= idleMs;
  }

  async #alone<T>(act: () => Promise<T>): Promise<T> {
    if (this.#isBusy) throw uploadBusy();
    this.#isBusy = true;
    try {
      return await act();
    } finally {
      this.#isBusy = false;
      this.#touchedMs = this.#surroundings.clock.monotonic();
    }
  }
}

function uploadBusy(): Failure {
  return new Failure({
    code: "upload-busy",
    message: "Cannot go on with the upload: another request is at it, expected one at a time",
    hint: "Wait for the other request, ask how far the upload is, and go on from there",
    transient: true,
  });
}

function mismatch(digest: Digest, actual: Digest): Failure {
  return new Failure({
    code: "digest-mismatch",
    message: `Cannot end the upload: its bytes have digest ${actual}, expected ${digest}`,
    hint: "Push the content again",
  });
}
