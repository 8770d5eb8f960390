import { backoffMs, Failure, isFailure } from "#base";
import type { Fetcher, PushBlobOptions, PushSession, PushSessions } from "#content";
import { type Descriptor, digestAlgorithm, tryParseDigest } from "#oci";
import { cannot, type Errand, NetworkFailure } from "./network-failure.ts";
import { pushFailure } from "./push-answer.ts";
import type { RegistryClient, RegistryRequest } from "./registry-client.ts";
import { RETRY_AFTER_WAITED_MS_MAX } from "./retry.ts";
import { type Answer, discard } from "./transport.ts";
import { receivedBytes, withParameter } from "./upload-location.ts";

/** What every request for one repository has in common. */
export interface PushErrand extends Errand {
  readonly scope: string;
  readonly signal: AbortSignal;
}

/** What an upload needs. */
export interface UploadOptions {
  readonly client: RegistryClient;
  /** Its name within the registry. */
  readonly repository: string;
  readonly errand: PushErrand;
  readonly sessions: PushSessions;
  readonly content: Fetcher;
  readonly onProgress: NonNullable<PushBlobOptions["onProgress"]>;
  /** Whether the blob is in the repository. */
  readonly holds: () => Promise<boolean>;
}

/** An upload as the registry knows it. */
interface Session {
  location: URL;
  /** From where on it wants bytes. */
  offset: number;
  /** Whether that is our own count, and not what the registry said. */
  isCounted: boolean;
  /** What it acknowledged, by our own count. */
  acknowledged: number;
  /** It can't have more than this. */
  sentMax: number;
}

/** Uploads that came to other bytes than were sent, before we believe that the bytes are wrong. */
const MISMATCHES_MAX = 2;

/** A registry hashes, moves or copies a blob before it answers: on object storage no faster than this. */
const COMMIT_BYTES_PER_SECOND = 8 * 1024 * 1024;

/** Statuses that say that a chunk is taken (C-105) or a blob is stored (C-103). */
const TAKEN: ReadonlySet<number> = new Set([200, 201, 202, 204]);

/** After these the upload is of no use to anybody, and takes room (C-111). */
const ENDS_UPLOAD: ReadonlySet<string> = new Set([
  "registry-full",
  "push-too-large",
  "push-digest-mismatch",
]);

/** What is said of what was sent, not of who sent it: the other way of sending may be taken. */
const REFUSES_WAY: ReadonlySet<number> = new Set([400, 405, 411, 413, 415, 416, 501]);

/**
 * Sends one blob to one repository, in one PUT or in chunks, and goes on after whatever breaks.
 *
 * What counts is our own count of what was acknowledged. The registry is asked only after an error and
 * after a new start, because what some say is stale, relative or off by one (C-105, C-106); whatever
 * they say, the digest decides in the end, and the upload begins anew when it is another.
 *
 * Patience ends after so many attempts in a row that brought the registry no further than it ever was.
 */
export class BlobUpload {
  readonly #blob: Descriptor;
  readonly #options: UploadOptions;
  #session: Session | undefined;
  #bytesSent = 0;
  #toldBytes = 0;
  /** Handed over in the request under way. */
  #sending = 0;
  #bestBytes = 0;
  #fruitless = 0;
  #mismatches = 0;
  #isEnding = false;

  constructor(blob: Descriptor, options: UploadOptions) {
    this.#blob = blob;
    this.#options = options;
  }

  /** Bytes that were handed to the network, each time they were. */
  get bytesSent(): number {
    return this.#bytesSent;
  }

  /**
   * Finds the session that an earlier upload left, of this process or another (C-110).
   *
   * @returns whether there is one and the registry still knows it
   */
  async resume(): Promise<boolean> {
    const { client, repository, sessions } = this.#options;
    const kept = await sessions.find(client.host, repository, this.#blob.digest);
    if (kept === undefined) return false;
    const session = this.#restored(kept);
    if (session === undefined || !(await this.#isKnown(session))) {
      await this.#forget();
      return false;
    }
    this.#session = session;
    this.#bestBytes = session.acknowledged;
    return true;
  }

  /** Asks about a session of old; where it was, nobody may be any more. */
  async #isKnown(session: Session): Promise<boolean> {
    try {
      return await this.#ask(session);
    } catch (error) {
      const isElsewhere = session.location.host !== this.#options.client.host;
      if (isFailure(error) && isElsewhere) return false;
      throw error;
    }
  }

  /**
   * Goes on with an upload that the registry opened when it could not mount (C-101), unless there is one
   * already, which may be further.
   */
  async adopt(answer: Answer): Promise<void> {
    if (this.#session === undefined) {
      this.#session = await this.#opened(answer);
      return;
    }
    await discard(answer);
    await this.#end(await this.#options.client.uploadLocation(answer));
  }

  /** Gives the upload up, here and there; the next begins anew at the first byte. */
  async cancel(): Promise<void> {
    const location = this.#session?.location;
    this.#session = undefined;
    await this.#forget();
    this.#tell(0);
    if (location !== undefined) await this.#end(location);
  }

  /** Asks the registry to forget an upload. What it says to that is no matter (C-111). */
  async #end(location: URL): Promise<void> {
    try {
      await discard(await this.#request({ method: "DELETE", path: location, isOnce: true }));
    } catch (error) {
      if (!isFailure(error)) throw error;
    }
  }

  /** Sends what the registry does not have, until it says that it has stored the blob. */
  async send(): Promise<void> {
    for (;;) {
      try {
        this.#session ??= await this.#open();
        if (await this.#step(this.#session)) break;
      } catch (error) {
        this.#options.errand.signal.throwIfAborted();
        if (await this.#recover(error)) break;
      }
    }
    this.#tell(this.#blob.size);
    await this.#forget();
  }

  async #open(): Promise<Session> {
    const algorithm = digestAlgorithm(this.#blob.digest);
    const query = algorithm === "sha256" ? "" : `?digest-algorithm=${algorithm}`;
    const path = `/v2/${this.#options.repository}/blobs/uploads/${query}`;
    const answer = await this.#request({ method: "POST", path });
    if (!TAKEN.has(answer.status)) throw await this.#explained(answer);
    return this.#opened(answer);
  }

  async #opened(answer: Answer): Promise<Session> {
    await discard(answer);
    const { client } = this.#options;
    client.pushManner.met(answer.headers);
    const location = await client.uploadLocation(answer);
    const session = { location, offset: 0, isCounted: true, acknowledged: 0, sentMax: 0 };
    this.#tell(0);
    // What a registry has of a first chunk that was cut is worth finding again.
    if (!client.pushManner.goesWhole(this.#blob.size)) await this.#keep(session);
    return session;
  }

  /** Makes the next request of an upload; true when it was the last. */
  async #step(session: Session): Promise<boolean> {
    const { size, digest } = this.#blob;
    const { pushManner: manner } = this.#options.client;
    const { offset } = session;
    const isWhole = offset === 0 && manner.goesWhole(size);
    const end = isWhole ? size : Math.min(size, offset + manner.chunkBytes);
    this.#isEnding = isWhole || offset === size || (end === size && manner.endsWithLastChunk);
    const answer = await this.#request({
      ...(this.#isEnding
        ? { method: "PUT", path: withParameter(session.location, "digest", digest) }
        : { method: "PATCH", path: session.location }),
      ...this.#bodyOf(session, end, isWhole),
      ...(this.#isEnding ? { answerTimeoutMs: (size / COMMIT_BYTES_PER_SECOND) * 1000 } : {}),
      isOnce: true,
      isLone: manner.isFragile,
    });
    if (!TAKEN.has(answer.status)) {
      // An upload that has ended is unknown: the runtime, or a proxy, may have asked for its end twice.
      if (this.#isEnding && answer.status === 404 && (await this.#options.holds())) return true;
      await this.#refused(answer, session, end - offset, isWhole);
      return false;
    }
    await discard(answer);
    if (this.#sending < end - offset) throw tookTooLittle(this.#options.errand, answer);
    manner.wentThrough(end - offset);
    if (this.#isEnding) {
      this.#checkDigest(answer);
      return true;
    }
    if (answer.headers.has("location")) {
      session.location = await this.#options.client.uploadLocation(answer);
    }
    session.offset = end;
    session.acknowledged = end;
    session.isCounted = true;
    await this.#keep(session);
    return false;
  }

  #bodyOf(
    session: Session,
    end: number,
    isWhole: boolean,
  ): Pick<RegistryRequest, "body" | "headers"> {
    const { content } = this.#options;
    const { offset } = session;
    this.#sending = 0;
    if (end === offset) return { headers: {} };
    return {
      headers: {
        "Content-Type": "application/octet-stream",
        // Neither unit nor total: some registries take it in this form only (C-104).
        ...(isWhole ? {} : { "Content-Range": `${offset}-${end - 1}` }),
      },
      body: {
        sizeBytes: end - offset,
        open: (signal) => {
          this.#sending = 0;
          this.#tell(offset);
          return content.fetch(this.#blob, {
            signal,
            ...(isWhole ? {} : { range: { start: offset, end } }),
          });
        },
        onSent: (bytes) => {
          this.#sending += bytes;
          this.#bytesSent += bytes;
          session.sentMax = Math.max(session.sentMax, offset + this.#sending);
          this.#tell(offset + this.#sending);
        },
      },
    };
  }

  /** Decides how to go on after an answer that says no, or throws what it means. */
  async #refused(answer: Answer, session: Session, bytes: number, isWhole: boolean): Promise<void> {
    const { pushManner: manner } = this.#options.client;
    const { status } = answer;
    const failure = await this.#explained(answer);
    if (status === 404) {
      this.#spend(failure);
      return this.cancel();
    }
    const isOurFault = ENDS_UPLOAD.has(failure.code) && failure.code !== "push-too-large";
    if (isOurFault || !REFUSES_WAY.has(status)) throw failure;
    if (isWhole) {
      if (status === 400 || !manner.refusedWhole(bytes)) throw failure;
      return this.cancel();
    }
    if (status === 416) return this.#realign(failure, session, bytes);
    if (status === 413 && manner.refusedChunkSize(bytes)) return this.#askOrBegin(session);
    // Whoever took a chunk takes chunks.
    if (session.acknowledged > 0) throw failure;
    manner.refusedChunks();
    return this.cancel();
  }

  /** After a chunk that "does not fit": at another byte, or, where all agree on that, by its size. */
  async #realign(failure: Failure, session: Session, bytes: number): Promise<void> {
    const { pushManner: manner } = this.#options.client;
    const { offset, isCounted, acknowledged } = session;
    this.#spend(failure);
    if (!isCounted && offset < acknowledged) {
      // It said less than it has (C-105): what it acknowledged is our second guess, and the last.
      manner.saidTooLittle();
      session.offset = acknowledged;
      session.isCounted = true;
      return;
    }
    const isKnown = await this.#ask(session);
    if (isKnown && session.offset !== offset) return;
    if (isKnown && isCounted) {
      if (manner.refusedChunkSize(bytes)) return;
      if (offset === 0) manner.refusedChunks();
    }
    return this.cancel();
  }

  /** Goes on after a failure, if there is sense in it; true when the blob turns out to be there. */
  async #recover(error: unknown): Promise<boolean> {
    if (!isFailure(error)) throw error;
    const { client, errand, holds } = this.#options;
    const session = this.#session;
    if (isFailure(error, "push-digest-mismatch") && this.#mismatches + 1 < MISMATCHES_MAX) {
      this.#mismatches += 1;
      await this.cancel();
      return false;
    }
    if (ENDS_UPLOAD.has(error.code)) await this.cancel();
    // Without a session it was the opening that failed, with all the patience of the client.
    if (!error.transient || session === undefined) throw error;
    const isCut =
      error instanceof NetworkFailure && error.trouble === "interrupted" && this.#sending > 0;
    // Smaller chunks are an attempt that was not made before.
    if (!isCut || !client.pushManner.wasCut(this.#sending)) this.#spend(error);
    const askedMs = error.retryAfterMs ?? 0;
    if (askedMs > RETRY_AFTER_WAITED_MS_MAX) throw error;
    const { clock, random, patience } = client;
    const waitMs = Math.max(askedMs, backoffMs(Math.max(1, this.#fruitless), random(), patience));
    await clock.sleep(waitMs, errand.signal);
    // The answer may be all that was lost.
    if (this.#isEnding && (await holds())) return true;
    await this.#askOrBegin(session);
    return false;
  }

  async #askOrBegin(session: Session): Promise<void> {
    if (!(await this.#ask(session))) await this.cancel();
  }

  /**
   * Asks how far an upload is (C-106).
   *
   * @returns false when the registry does not know the upload, or can't say
   */
  async #ask(session: Session): Promise<boolean> {
    const { client } = this.#options;
    const answer = await this.#request({ method: "GET", path: session.location });
    if (answer.status === 401 || answer.status === 403) throw await this.#explained(answer);
    await discard(answer);
    const said = receivedBytes(answer.headers);
    if (answer.status >= 300 || said === undefined) return false;
    if (answer.headers.has("location")) session.location = await client.uploadLocation(answer);
    const isBehind = said < session.acknowledged && client.pushManner.saysTooLittle;
    session.offset = isBehind ? session.acknowledged : Math.min(said, session.sentMax);
    session.isCounted = isBehind;
    this.#tell(session.offset);
    return true;
  }

  /** Counts an attempt that brought the registry no further; throws when there were too many. */
  #spend(failure: Failure): void {
    const reached = this.#session?.acknowledged ?? 0;
    if (reached > this.#bestBytes) this.#fruitless = 0;
    this.#bestBytes = Math.max(this.#bestBytes, reached);
    this.#fruitless += 1;
    if (this.#fruitless >= this.#options.client.patience.attempts) throw failure;
  }

  #checkDigest(answer: Answer): void {
    const header = answer.headers.get("docker-content-digest")?.trim() ?? "";
    const claimed = tryParseDigest(header);
    const { digest } = this.#blob;
    if (claimed === undefined || claimed === digest) return;
    // It may be of another algorithm, and then says nothing.
    if (digestAlgorithm(claimed) !== digestAlgorithm(digest)) return;
    throw new Failure({
      code: "push-digest-mismatch",
      message: `${cannot(answer.asked)}: ${answer.asked.host} stored ${claimed}, expected ${digest}`,
      hint: "Run `dray verify`, which finds what is broken in the store; else look for a proxy in between",
    });
  }

  #restored({ location, bytes }: PushSession): Session | undefined {
    if (!URL.canParse(location)) return undefined;
    const url = new URL(location);
    // What it got between the last acknowledgement and the death of the process, nobody counted.
    const sentMax = this.#blob.size;
    return { location: url, offset: bytes, isCounted: false, acknowledged: bytes, sentMax };
  }

  #keep({ location, acknowledged }: Session): Promise<void> {
    const { client, repository, sessions } = this.#options;
    return sessions.keep({
      registry: client.host,
      repository,
      digest: this.#blob.digest,
      location: location.href,
      bytes: acknowledged,
      atMs: client.clock.now(),
    });
  }

  #forget(): Promise<void> {
    const { client, repository, sessions } = this.#options;
    return sessions.forget(client.host, repository, this.#blob.digest);
  }

  #tell(bytes: number): void {
    const more = bytes - this.#toldBytes;
    this.#toldBytes = bytes;
    if (more !== 0) this.#options.onProgress(more);
  }

  #explained(answer: Answer): Promise<Failure> {
    return pushFailure(answer, this.#options.client.context());
  }

  #request(
    request: Pick<RegistryRequest, "method" | "path"> & Partial<RegistryRequest>,
  ): Promise<Answer> {
    const { client, errand } = this.#options;
    return client.request({
      headers: {},
      patience: "full",
      explain: pushFailure,
      ...errand,
      ...request,
    });
  }
}

function tookTooLittle(errand: Errand, { asked, status }: Answer): Failure {
  return new Failure({
    code: "registry-protocol",
    message: `${cannot(errand)}: ${asked.host} answered ${status} before it had all bytes, expected it after them`,
    hint: "Check the registry, and any proxy in between that may answer in its place",
    transient: true,
  });
}
