import { type Clock, Failure, isFailure, quoted } from "#base";
import { digestOf, fetchVerified, type Source } from "#content";
import {
  type Descriptor,
  type Digest,
  type Document,
  formatReferrers,
  isIndexType,
  OCI_INDEX,
  parseDocument,
  referrerEntry,
  referrersTag,
} from "#oci";
import type { SerialTasks } from "./serial-tasks.ts";

/** What a {@link ReferrersList} needs. */
export interface ReferrersListOptions {
  readonly clock: Clock;
  readonly source: Source;
  readonly serial: SerialTasks;
  /** With its host, for messages and to tell lists apart. */
  readonly repository: string;
  /** What the tag's content is known by now; undefined where the registry says nothing of it. */
  readonly etag: (tag: string) => Promise<string | undefined>;
  /** With an etag: only while the tag's content is known by it, else `content-changed`. */
  readonly put: (
    tag: string,
    descriptor: Descriptor,
    bytes: Uint8Array,
    etag: string | undefined,
  ) => Promise<unknown>;
}

/** Others may change a list so often, one entry each time, before it is changed here. */
const CHANGES_MAX = 16;

/** Before what was written is read again, others are given the time that it took here, up to this. */
const SETTLE_MS_MAX = 5_000;

/** A manifest that refers to another. */
export interface Referrer {
  readonly descriptor: Descriptor;
  readonly document: Document;
  readonly bytes: Uint8Array;
}

/**
 * The list of what refers to a manifest, kept under a tag of its own for a registry that keeps none
 * (C-122). It is read, changed and written; two of this process never at once. Against others there is
 * the list's ETag, where the registry heeds `If-Match`. Where it does not, the last one wins: so the list
 * is read again once others who had read the old one have most likely written too, and changed again
 * while the entry is missing. Who takes longer than that still wins, until the loser's next push.
 */
export class ReferrersList {
  readonly #options: ReferrersListOptions;

  constructor(options: ReferrersListOptions) {
    this.#options = options;
  }

  /**
   * Puts a referrer on the list of its subject.
   *
   * @throws {Failure} `referrers-tag-taken` when something else stands under the tag: it is left alone;
   *   `content-changed` when others change the list, or drop the entry from it, without end
   */
  add(subject: Digest, referrer: Referrer, signal: AbortSignal): Promise<void> {
    const { serial, repository, clock } = this.#options;
    const tag = referrersTag(subject);
    const entry = referrerEntry(referrer.descriptor, referrer.document, referrer.bytes);
    return serial.run(`${repository}:${tag}`, async () => {
      let refused: string | undefined;
      for (let changes = 0; ; changes += 1) {
        const beganMs = clock.monotonic();
        // Asked before the list is read: what comes in between is found out by it.
        const etag = await this.#options.etag(tag);
        const entries = await this.#read(tag, signal);
        if (entries.some(({ digest }) => digest === entry.digest)) return;
        if (changes > CHANGES_MAX) throw neverListed(repository, tag, entry);
        try {
          // What is refused and stays the same is one that this registry gives and does not know.
          await this.#write(tag, [...entries, entry], etag === refused ? undefined : etag);
        } catch (error) {
          if (!isFailure(error, "content-changed") || changes === CHANGES_MAX) throw error;
          refused = etag;
          continue;
        }
        await clock.sleep(Math.min(SETTLE_MS_MAX, clock.monotonic() - beganMs), signal);
      }
    });
  }

  async #write(
    tag: string,
    entries: readonly Descriptor[],
    etag: string | undefined,
  ): Promise<void> {
    const bytes = formatReferrers(entries);
    const list = { mediaType: OCI_INDEX, digest: digestOf(bytes), size: bytes.byteLength };
    await this.#options.put(tag, list, bytes, etag);
  }

  async #read(tag: string, signal: AbortSignal): Promise<readonly Descriptor[]> {
    const { source, repository } = this.#options;
    let found: Descriptor;
    try {
      found = await source.resolve(tag, { signal });
    } catch (error) {
      if (isFailure(error, "content-missing")) return [];
      throw error;
    }
    if (!isIndexType(found.mediaType)) throw taken(repository, tag, found);
    const bytes = await fetchVerified(source, found, { signal });
    const document = parseDocument(bytes, found.mediaType);
    if (document.kind !== "index") throw taken(repository, tag, found);
    return document.manifests;
  }
}

function neverListed(repository: string, tag: string, { digest }: Descriptor): Failure {
  return new Failure({
    code: "content-changed",
    message: `Cannot push ${quoted(`${repository}:${tag}`, 400)}: ${digest} was written to this list ${CHANGES_MAX + 1} times and is not on it, expected it there`,
    hint: "Somebody else changes the list too: run the command again when they are through; else look at what the registry keeps under that tag",
  });
}

function taken(repository: string, tag: string, { mediaType }: Descriptor): Failure {
  return new Failure({
    code: "referrers-tag-taken",
    message: `Cannot push ${quoted(`${repository}:${tag}`, 400)}: it holds ${quoted(mediaType, 100)}, expected the list of referrers or nothing`,
    hint: "Move what stands under that tag to another, then run the command again",
  });
}
