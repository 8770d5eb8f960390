import { backoffMs, type Failure, isFailure, Limiter } from "#base";
import type { Digest } from "#oci";
import { parseReference, type Reference } from "#reference";
import { createBlobPushes } from "./blob-pushes.ts";
import type { DeliveryContext } from "./context.ts";
import {
  COMPLETE,
  type ImageOutcome,
  type UploadFailure,
  type UploadOutcome,
  type UploadSummary,
} from "./event.ts";
import type { ImageWork } from "./image.ts";
import type { LocalRegistry, UploadNeed } from "./local-registry.ts";
import { createReadiness, type Readiness } from "./readiness.ts";
import { mayPass } from "./retry.ts";
import { inBackground, settleAll } from "./settle-all.ts";
import type { Transfers } from "./transfer.ts";
import { uploadImage } from "./upload-image.ts";
import {
  type AbsentPlatforms,
  REGISTRY_REFUSES,
  type Upload,
  type UploadSession,
} from "./upload-session.ts";

/** Names and manifests that the local registry is asked for at once. */
const REQUESTS_MAX = 16;

/** Attempts in a row in which the registry took nothing in before an image counts as failed. */
const FRUITLESS_MAX = 8;

const BACKOFF = { firstMs: 1_000, maxMs: 60_000 };

/**
 * These may be put right by preparing the registry anew: Harbor's robot gets another secret, its project
 * is made again, a mode that is read-only for a while is waited for.
 */
const PREPARED_AWAY: ReadonlySet<string> = new Set([
  "registry-unauthorized",
  "registry-read-only",
  "project-missing",
]);

/** What an upload stage needs beside the delivery. */
export interface UploadOptions {
  readonly registry: LocalRegistry;
  /** How long the registry is waited for once nothing is left to be fetched; 0 asks once. */
  readonly waitMs: number;
  readonly absentPlatforms: AbsentPlatforms;
  readonly transfers: Transfers;
}

/**
 * Uploads images to the local registry, each as soon as it is complete in the store and the registry
 * can be pushed to, while others are still being fetched.
 */
export interface UploadStage {
  /** Something became of an image; if it is complete, its upload begins, behind the caller's back. */
  offer(work: ImageWork, outcome: ImageOutcome): void;
  /** No image is offered any more. Resolves when nothing runs behind the caller's back. */
  finish(): Promise<UploadSummary>;
}

/** Images that the plan uploads, of the stages that are attempted. */
export function wantsUpload({ planned }: ImageWork): boolean {
  return planned.local !== null;
}

/** Asks the registry at once whether it can be pushed to, so that a wrong password is known early. */
export function createUploadStage(
  works: readonly ImageWork[],
  { registry, waitMs, absentPlatforms, transfers }: UploadOptions,
  delivery: DeliveryContext,
): UploadStage {
  const ended = new AbortController();
  const signal = AbortSignal.any([delivery.signal, ended.signal]);
  const context: DeliveryContext = { ...delivery, signal };
  const session: UploadSession = {
    registry,
    absentPlatforms,
    transfers,
    context,
    pushes: createBlobPushes(delivery.store),
    requests: new Limiter(REQUESTS_MAX),
    refusesPartIndexes: false,
  };
  const need = () => needOf(works);
  const readiness = createReadiness({ ...context, registry, need, waitMs });
  const record = createUploadRecord(registry, works.length);
  const stage: Stage = { session, readiness, record, end: () => ended.abort() };
  const running: Promise<unknown>[] = [inBackground(awaitRegistry(stage))];
  return {
    offer(work, outcome) {
      if (work.planned.local === null || !COMPLETE.has(outcome)) return;
      const upload = beginUpload(work, work.planned.local, outcome);
      running.push(inBackground(runUpload(upload, stage)));
    },
    async finish() {
      readiness.fetched();
      await settleAll(running);
      return record.summary();
    },
  };
}

interface Stage {
  readonly session: UploadSession;
  readonly readiness: Readiness;
  readonly record: UploadRecord;
  /** Lets nothing more begin, and ends what runs. */
  readonly end: () => void;
}

function needOf(works: readonly ImageWork[]): UploadNeed {
  const blobs = new Map<Digest, UploadNeed["blobs"][number]>();
  const names = works.flatMap(({ planned: { local }, graph }) => {
    if (local === null) return [];
    const name = parseReference(local);
    for (const blob of graph?.blobs ?? []) blobs.set(blob.digest, { blob, name });
    return name;
  });
  return { names, blobs: [...blobs.values()] };
}

function beginUpload(work: ImageWork, local: string, outcome: ImageOutcome): Upload {
  const reference: Reference = parseReference(local);
  const isNew = outcome === "delivered";
  const counts = { bytesSent: 0, bytesMounted: 0, bytesMoved: 0, bytesTaken: 0 };
  return { work, local, reference, isNew, ...counts, unconfirmed: new Map() };
}

/** Gives a token for a doubt, or undefined when it can't be pushed to, and nothing may begin any more. */
async function awaitRegistry(stage: Stage): Promise<object | undefined> {
  const { registry, context } = stage.session;
  try {
    return await stage.readiness.ready();
  } catch (error) {
    // All who wait hear it; the first one tells.
    if (context.signal.aborted) return undefined;
    if (!isFailure(error)) {
      context.stop(error);
      throw error;
    }
    const failure = describe(error, registry, undefined);
    context.emit({ type: "local-registry-failed", failure });
    stage.record.failed(failure);
    stage.end();
    return undefined;
  }
}

async function runUpload(upload: Upload, stage: Stage): Promise<void> {
  const { context } = stage.session;
  const { clock, emit } = context;
  const { local, work } = upload;
  const { image } = work;
  const token = await awaitRegistry(stage);
  const startedMs = clock.monotonic();
  let end: UploadEnd = SKIPPED;
  if (token !== undefined && !context.signal.aborted) {
    emit({ type: "upload-started", image, local });
    end = await attempt(upload, token, stage);
  }
  const { outcome, digest, failure } = end;
  const { bytesSent, bytesMounted, bytesMoved } = upload;
  const ms = clock.monotonic() - startedMs;
  const done = { image, local, outcome, digest, bytesSent, bytesMounted, bytesMoved, ms };
  stage.record.done(upload, end);
  emit({ type: "upload-done", ...done, ...(failure === undefined ? {} : { failure }) });
}

interface UploadEnd {
  readonly outcome: UploadOutcome;
  readonly digest: Digest | null;
  readonly isOnePlatform: boolean;
  readonly failure?: UploadFailure;
}

const SKIPPED: UploadEnd = { outcome: "skipped", digest: null, isOnePlatform: false };

async function attempt(upload: Upload, token: object, stage: Stage): Promise<UploadEnd> {
  const { registry, context } = stage.session;
  try {
    return await uploadWithRetries(upload, token, stage);
  } catch (error) {
    if (context.signal.aborted) return SKIPPED;
    if (!isFailure(error)) {
      context.stop(error);
      throw error;
    }
    if (REGISTRY_REFUSES.has(error.code)) stage.end();
    const failure = describe(error, registry, upload);
    return { outcome: "failed", digest: null, isOnePlatform: false, failure };
  }
}

/**
 * Goes on after what may pass, once the registry can be pushed to again: it may be restarted in the
 * middle of it. What counts is progress and not attempts.
 */
async function uploadWithRetries(upload: Upload, token: object, stage: Stage): Promise<UploadEnd> {
  const { session, readiness } = stage;
  const { clock, random, signal, emit } = session.context;
  let ready: object | undefined = token;
  let fruitless = 0;
  let takenBytes = 0;
  let wasPreparedAnew = false;
  for (;;) {
    try {
      return await uploadImage(upload, session);
    } catch (error) {
      signal.throwIfAborted();
      if (!isFailure(error)) throw error;
      const mayHeal: boolean = PREPARED_AWAY.has(error.code) && !wasPreparedAnew;
      if (!mayPass(error) && !mayHeal) throw error;
      wasPreparedAnew ||= mayHeal;
      if (upload.bytesTaken > takenBytes) fruitless = 0;
      takenBytes = Math.max(takenBytes, upload.bytesTaken);
      fruitless += 1;
      if (fruitless === FRUITLESS_MAX) throw error;
      const delayMs = Math.max(backoffMs(fruitless, random(), BACKOFF), error.retryAfterMs ?? 0);
      const { code, message } = error;
      const counts = { attempt: fruitless + 1, attemptsMax: FRUITLESS_MAX, delayMs };
      emit({ type: "upload-retry", image: upload.work.image, code, message, ...counts });
      readiness.doubt(ready);
      await clock.sleep(delayMs, signal);
      ready = await awaitRegistry(stage);
      if (ready === undefined) return SKIPPED;
    }
  }
}

function describe(
  { code, message, hint }: Failure,
  { address: registry }: LocalRegistry,
  upload: Upload | undefined,
): UploadFailure {
  const image = upload?.work.image ?? null;
  return { image, local: upload?.local ?? null, registry, code, message, hint };
}

/** What the uploads add up to. */
interface UploadRecord {
  done(upload: Upload, end: UploadEnd): void;
  /** The registry as a whole. */
  failed(failure: UploadFailure): void;
  summary(): UploadSummary;
}

function createUploadRecord({ address }: LocalRegistry, images: number): UploadRecord {
  const outcomes = { uploaded: 0, present: 0, failed: 0 };
  const failures: UploadFailure[] = [];
  const onePlatform: string[] = [];
  let bytesSent = 0;
  let bytesMounted = 0;
  return {
    done(upload, { outcome, isOnePlatform, failure }) {
      if (outcome !== "skipped") outcomes[outcome] += 1;
      if (isOnePlatform) onePlatform.push(upload.work.image);
      if (failure !== undefined) failures.push(failure);
      bytesSent += upload.bytesSent;
      bytesMounted += upload.bytesMounted;
    },
    failed: (failure) => void failures.push(failure),
    summary: () => ({
      registry: address,
      images,
      ...outcomes,
      skipped: images - outcomes.uploaded - outcomes.present - outcomes.failed,
      bytesSent,
      bytesMounted,
      onePlatform,
      failures,
    }),
  };
}
