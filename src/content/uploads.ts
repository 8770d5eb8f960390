import type { Descriptor, Digest } from "#oci";

/** What an upload needs to go on. */
export interface AppendOptions {
  readonly signal: AbortSignal;
}

/**
 * Content on its way in that somebody pushes: neither its size nor its digest is known before its end.
 * It outlives the process, and the machine: `bytes` counts only what is durable.
 */
export interface Upload {
  /** 128 random bits in hex: who does not know it can't guess it (S-30). */
  readonly id: string;
  readonly repository: string;
  /** Who began it; null where nobody is asked. Nobody else may go on with it. */
  readonly user: string | null;
  /** How much of it is here, durable, in bytes. */
  readonly bytes: number;
  /**
   * Appends what comes, up to its end, and makes it durable. When what comes breaks off, what came
   * until then stays, durable, and the error is thrown on. Each chunk belongs to the upload.
   *
   * @throws {Failure} `upload-busy` when another call is at it (S-31); `upload-unknown` when it has ended
   *   since it was found, or is cancelled meanwhile; `store-full`, `store-broken` when the disk refuses,
   *   after which nothing of it is kept (S-66)
   */
  append(body: AsyncIterable<Uint8Array>, options: AppendOptions): Promise<void>;
  /**
   * Ends it: compares all of it with the digest, whichever algorithm that is of (S-1), and shows it in
   * the store. Its record and file are gone then.
   *
   * @throws {Failure} `digest-mismatch`, `store-full`, `store-broken`, after which nothing of it is kept;
   *   `upload-busy`, `upload-unknown`
   */
  commit(digest: Digest): Promise<Descriptor>;
  /** Gives it up; nothing of it is kept. */
  cancel(): Promise<void>;
}

/** The uploads that are under way. */
export interface Uploads {
  /** @throws {Failure} `store-full` when the disk is so full that none should begin (S-66) */
  begin(repository: string, user: string | null): Promise<Upload>;
  /** The upload of that id, also when another process began it; undefined when there is none (any more). */
  find(id: string): Promise<Upload | undefined>;
  /** Removes those nobody has touched for so long; gives how many. One that is being appended to stays (S-84). */
  removeIdle(idleMs: number): Promise<number>;
}
