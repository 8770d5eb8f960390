import { backoffMs, Failure, isFailure, quoted } from "#base";
import type {
  CallOptions,
  Fetcher,
  PushBlobOptions,
  PushedBlob,
  PushManifestOptions,
  PushSessions,
  Target,
} from "#content";
import {
  type Descriptor,
  type Digest,
  type Document,
  isIndexType,
  isManifestType,
  OCI_INDEX,
  parseDocument,
  tryParseDigest,
} from "#oci";
import { type Reference, repositoryName } from "#reference";
import { isWebPage } from "./answer.ts";
import { BlobUpload, type PushErrand } from "./blob-upload.ts";
import type { BodyReading } from "./body.ts";
import { cannot } from "./network-failure.ts";
import { pushFailure } from "./push-answer.ts";
import { strongEtag } from "./range.ts";
import { ReferrersList } from "./referrers-list.ts";
import type { RegistryClient, RegistryRequest } from "./registry-client.ts";
import { Repository } from "./repository.ts";
import { pullScope, pushScope } from "./scope.ts";
import type { SerialTasks } from "./serial-tasks.ts";
import { type Answer, discard } from "./transport.ts";

/** What a {@link PushTarget} needs beside its client. */
export interface PushTargetOptions {
  readonly reading: BodyReading;
  readonly sessions: PushSessions;
  /** Shared by all targets of the process: one list of referrers is written by one at a time. */
  readonly referrerLists: SerialTasks;
}

/** Repositories that are asked for one blob: each that can't give it costs a request and an upload. */
const MOUNTS_MAX = 3;

/** Who can't mount, or whose token does not cover the other repository, says one of these (C-101). */
const MOUNT_REFUSED: ReadonlySet<number> = new Set([400, 401, 403, 404, 405]);

const MOUNT_FAILS: ReadonlySet<string> = new Set(["registry-unauthorized", "registry-error"]);

/** Times that a registry of several replicas is asked for what it has just taken. */
const READ_BACKS = 3;

const STORED: ReadonlySet<number> = new Set([200, 201, 202, 204]);

/** One repository of a registry, pushed to over HTTP (distribution specification, "Push"). */
export class PushTarget extends Repository implements Target {
  readonly repository: string;
  /** What is looked for there is looked for to push it. */
  protected override readonly verb = "push";
  readonly #name: string;
  readonly #client: RegistryClient;
  readonly #options: PushTargetOptions;

  constructor(reference: Reference, client: RegistryClient, options: PushTargetOptions) {
    super(reference, client, options.reading);
    this.repository = reference.path;
    this.#name = repositoryName(reference);
    this.#client = client;
    this.#options = options;
  }

  /**
   * Asks by HEAD. A blob that the registry has with another size counts as missing: it is broken there,
   * and what is sent anew mends it.
   *
   * @throws {Failure} `registry-unauthorized`, `push-denied`, and whatever keeps the registry from answering
   */
  async has(descriptor: Descriptor, { signal }: CallOptions): Promise<boolean> {
    return this.#holds(descriptor, this.#errand(`@${descriptor.digest}`, signal));
  }

  /**
   * {@inheritDoc Target.pushBlob}
   *
   * @throws {Failure} `registry-unauthorized`, `push-denied`, `project-missing`, `registry-full`,
   *   `registry-read-only`, `push-too-large`, `push-digest-mismatch`, `push-not-stored`; what `content`
   *   throws; after all patience `registry-error`, `registry-unreachable`
   */
  async pushBlob(
    blob: Descriptor,
    content: Fetcher,
    options: PushBlobOptions,
  ): Promise<PushedBlob> {
    const { signal, mountFrom = [], onProgress = () => undefined } = options;
    const errand = this.#errand(`@${blob.digest}`, signal);
    const holds = () => this.#holds(blob, errand);
    if (await holds()) return { outcome: "present", bytesSent: 0 };
    const { sessions } = this.#options;
    const client = this.#client;
    const repository = this.repository;
    const upload = new BlobUpload(blob, {
      ...{ client, repository, errand, sessions, content, onProgress, holds },
    });
    // What the registry has of it already is less to send, and nothing at all is the least.
    const isMounted = await this.#mount(blob, errand, mountFrom, upload);
    if (isMounted) return { outcome: "mounted", bytesSent: 0 };
    await upload.send();
    await this.#readBack(blob, errand);
    return { outcome: "sent", bytesSent: upload.bytesSent };
  }

  /**
   * {@inheritDoc Target.pushManifest}
   *
   * @throws {Failure} as `pushBlob`, and `manifest-blob-unknown`, `tag-immutable`, `tag-moved`,
   *   `referrers-tag-taken`
   */
  async pushManifest(
    manifest: Descriptor,
    bytes: Uint8Array,
    { signal, tag }: PushManifestOptions,
  ): Promise<void> {
    const document = parseDocument(bytes, manifest.mediaType);
    const { subject } = document;
    // To repeat it would be refused where tags are immutable; and what refers to another is repeated,
    // because only the answer to it tells whether the registry keeps the list.
    const stands = subject === undefined && (await this.#stands(manifest, tag, signal));
    if (!stands) await this.#putManifest(manifest, bytes, document, tag, signal);
  }

  async #putManifest(
    manifest: Descriptor,
    bytes: Uint8Array,
    document: Document,
    tag: string | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { digest } = manifest;
    const { subject } = document;
    const tagStands =
      subject !== undefined && tag !== undefined && (await this.#stands(manifest, tag, signal));
    const reference = tag === undefined || tagStands ? digest : tag;
    const errand = this.#errand(tag === undefined ? `@${digest}` : `:${tag}`, signal);
    const answer = await this.#put(reference, manifest, bytes, errand);
    checkDigest(answer, digest);
    await this.#readBack(manifest, errand, tag);
    if (subject === undefined || answer.headers.has("oci-subject")) return;
    const list = new ReferrersList({
      clock: this.#client.clock,
      source: this,
      serial: this.#options.referrerLists,
      repository: this.#name,
      etag: (under) => this.#etag(under, this.#errand(`:${under}`, signal)),
      put: (under, descriptor, list, etag) =>
        this.#put(under, descriptor, list, this.#errand(`:${under}`, signal), etag),
    });
    await list.add(subject.digest, { descriptor: manifest, document, bytes }, signal);
  }

  async #put(
    reference: string,
    { mediaType }: Descriptor,
    bytes: Uint8Array,
    errand: PushErrand,
    etag?: string,
  ): Promise<Answer> {
    const answer = await this.#request(errand, {
      method: "PUT",
      path: `/v2/${this.repository}/manifests/${reference}`,
      headers: {
        "Content-Type": mediaType,
        ...(etag === undefined ? {} : { "If-Match": etag }),
      },
      body: new Uint8Array(bytes),
    });
    if (STORED.has(answer.status)) {
      await discard(answer);
      return answer;
    }
    const failure = await pushFailure(answer, this.#client.context());
    // A rule for immutable tags answers with the same status, and says so.
    const isChanged = answer.status === 412 && failure.code === "registry-error";
    throw etag !== undefined && isChanged ? changed(failure) : failure;
  }

  /** Whether the manifest is there, and its tag stands for it. */
  async #stands(
    manifest: Descriptor,
    tag: string | undefined,
    signal: AbortSignal,
  ): Promise<boolean> {
    if (tag === undefined) return this.has(manifest, { signal });
    return (await this.#standing(tag, signal)) === manifest.digest;
  }

  /** What a tag stands for, as far as it can be read. */
  async #standing(tag: string, signal: AbortSignal): Promise<Digest | undefined> {
    try {
      return (await this.resolve(tag, { signal })).digest;
    } catch (error) {
      // Some registries refuse to read what is not there yet; whether it can be written will be seen.
      if (isFailure(error) && !error.transient) return undefined;
      throw error;
    }
  }

  /** What a tag's content is known by, for changing it only while it is that. */
  async #etag(tag: string, errand: PushErrand): Promise<string | undefined> {
    const answer = await this.#head(`manifests/${tag}`, errand, { Accept: OCI_INDEX });
    return answer && strongEtag(answer.headers);
  }

  /** Takes the blob from another repository, or else finds what of it came in an upload before. */
  async #mount(
    blob: Descriptor,
    errand: PushErrand,
    mountFrom: readonly string[],
    upload: BlobUpload,
  ): Promise<boolean> {
    await upload.resume();
    for (const from of mountFrom.filter((name) => name !== this.repository).slice(0, MOUNTS_MAX)) {
      const answer = await this.#askMount(blob.digest, from, errand);
      if (answer?.status === 201) {
        await upload.cancel();
        await discard(answer);
        if (await this.#holdsBlob(blob, errand)) return true;
      } else if (answer !== undefined) {
        await upload.adopt(answer);
      }
    }
    return false;
  }

  /** @returns the answer when it is 201, or 202 with an upload in place of the mount */
  async #askMount(digest: Digest, from: string, errand: PushErrand): Promise<Answer | undefined> {
    try {
      const answer = await this.#request(errand, {
        method: "POST",
        path: `/v2/${this.repository}/blobs/uploads/?mount=${digest}&from=${encodeURIComponent(from)}`,
        scope: `${errand.scope} ${pullScope(from)}`,
      });
      if (answer.status === 201) return answer;
      if (answer.status === 202 && answer.headers.has("location")) return answer;
      if (answer.status >= 400 && !MOUNT_REFUSED.has(answer.status)) {
        throw await pushFailure(answer, this.#client.context());
      }
      await discard(answer);
      return undefined;
    } catch (error) {
      // The token may not be had for both repositories; it is for this one. And who fails at a mount may
      // take the blob all the same: what else is wrong there will show.
      if (isFailure(error) && MOUNT_FAILS.has(error.code)) return undefined;
      throw error;
    }
  }

  async #readBack(content: Descriptor, errand: PushErrand, tag?: string): Promise<void> {
    const { clock, random, patience } = this.#client;
    for (let failed = 1; ; failed += 1) {
      const isHeld = await this.#holds(content, errand);
      if (isHeld && tag === undefined) return;
      const found = tag === undefined ? undefined : await this.#standing(tag, errand.signal);
      if (isHeld && found === content.digest) return;
      if (failed === READ_BACKS) {
        const isMoved = isHeld && found !== undefined;
        throw (isMoved ? moved : notStored)(errand, this.#client.host, content.digest);
      }
      await clock.sleep(backoffMs(failed, random(), patience), errand.signal);
    }
  }

  async #holds(descriptor: Descriptor, errand: PushErrand): Promise<boolean> {
    const isManifest = isManifestType(descriptor.mediaType) || isIndexType(descriptor.mediaType);
    if (!isManifest) return this.#holdsBlob(descriptor, errand);
    const answer = await this.#head(`manifests/${descriptor.digest}`, errand, {
      Accept: descriptor.mediaType,
    });
    return answer !== undefined && !isWebPage(answer);
  }

  async #holdsBlob({ digest, size }: Descriptor, errand: PushErrand): Promise<boolean> {
    const answer = await this.#head(`blobs/${digest}`, errand);
    if (answer === undefined) return false;
    const length = answer.headers.get("content-length");
    // Who answers everything with a page, as a portal does, has no blob.
    return length === null ? !isWebPage(answer) : Number(length) === size;
  }

  /** The answer to HEAD when it says that there is something. */
  async #head(
    path: string,
    errand: PushErrand,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer | undefined> {
    const answer = await this.#request(errand, {
      method: "HEAD",
      path: `/v2/${this.repository}/${path}`,
      headers,
    });
    if (answer.status === 401 || answer.status === 403) {
      throw await pushFailure(answer, this.#client.context());
    }
    await discard(answer);
    return answer.status === 200 ? answer : undefined;
  }

  #errand(what: string, signal: AbortSignal): PushErrand {
    const subject = quoted(`${this.#name}${what}`, 400);
    return { subject, verb: "push", scope: pushScope(this.repository), signal };
  }

  #request(
    errand: PushErrand,
    request: Pick<RegistryRequest, "method" | "path"> & Partial<RegistryRequest>,
  ): Promise<Answer> {
    return this.#client.request({
      headers: {},
      patience: "full",
      explain: pushFailure,
      ...errand,
      ...request,
    });
  }
}

function checkDigest(answer: Answer, digest: Digest): void {
  const claimed = tryParseDigest(answer.headers.get("docker-content-digest")?.trim() ?? "");
  if (claimed === undefined || claimed === digest) return;
  if (claimed.split(":")[0] !== digest.split(":")[0]) return;
  const { host } = answer.asked;
  throw new Failure({
    code: "push-digest-mismatch",
    message: `${cannot(answer.asked)}: ${host} stored ${claimed}, expected ${digest}`,
    hint: "A registry or proxy that rewrites manifests can't hold a verified image: look for one in between",
  });
}

function notStored(errand: PushErrand, host: string, digest: Digest): Failure {
  return new Failure({
    code: "push-not-stored",
    message: `${cannot(errand)}: ${host} said that it stored ${digest} and does not have it, expected it there`,
    hint: `Look at the storage and the log of ${host}; its replicas must share one storage`,
  });
}

function changed(cause: Failure): Failure {
  return new Failure({
    code: "content-changed",
    message: cause.message,
    hint: "Somebody else changes it too: run the command again when they are through",
    cause,
  });
}

function moved(errand: PushErrand, host: string, digest: Digest): Failure {
  return new Failure({
    code: "tag-moved",
    message: `${cannot(errand)}: the tag stands for something else at ${host} right after it was pushed, expected ${digest}`,
    hint: `Somebody else pushes to this name: find out who; and look whether the replicas of ${host} share one storage`,
  });
}
