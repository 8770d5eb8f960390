import { formatBytes, formatDuration } from "#base";
import type { ByteTotals, DeliveryEvent } from "#deliver";
import type { StageName } from "#plan";
import {
  applyUploadEvent,
  createUploadState,
  type UploadState,
  uploadParts,
} from "./progress-uploads.ts";

/** An image whose turn it is. */
interface ActiveImage {
  /** Undefined until its manifests are read. */
  bytesTotal: number | undefined;
  bytesDone: number;
  /** Why nothing comes at the moment, in words; undefined when something does. */
  waiting: string | undefined;
}

/** How far a delivery is, as its events tell. Times are of a clock that never jumps. */
export interface ProgressState {
  stage: StageName | undefined;
  imagesTotal: number;
  imagesDone: number;
  readonly sized: Map<string, ByteTotals>;
  readonly active: Map<string, ActiveImage>;
  /** Why nothing moves at all, and until when; undefined as soon as something does. */
  pause: { readonly reason: string; readonly untilMs: number | null } | undefined;
  readonly uploads: UploadState;
  overall: ByteTotals;
  bytesMoved: number;
  /** Everything that arrived, also what came twice: how fast the link is, and never falls. */
  bytesArrived: number;
  /** Within {@link WINDOW_MS}, oldest first. */
  readonly samples: { readonly ms: number; readonly bytesArrived: number }[];
}

/** Long enough that a rate can be read, short enough that a stall is seen. */
const WINDOW_MS = 10_000;

/** Closer together they say nothing more. */
const SAMPLE_MS = 250;

/** A delivery that has not begun. */
export function createProgressState(): ProgressState {
  return {
    stage: undefined,
    imagesTotal: 0,
    imagesDone: 0,
    sized: new Map(),
    active: new Map(),
    pause: undefined,
    uploads: createUploadState(),
    overall: { bytesTotal: 0, bytesHere: 0 },
    bytesMoved: 0,
    bytesArrived: 0,
    samples: [],
  };
}

/** Takes an event in. */
export function applyEvent(state: ProgressState, event: DeliveryEvent): void {
  applyUploadEvent(state.uploads, event);
  switch (event.type) {
    case "plan-started":
      state.imagesTotal = event.stages.reduce((sum, { images }) => sum + images, 0);
      return;
    case "stage-started":
      state.stage = event.stage;
      return;
    case "image-started": {
      const { bytesTotal, bytesHere = 0 } = state.sized.get(event.image) ?? {};
      state.active.set(event.image, { bytesTotal, bytesDone: bytesHere, waiting: undefined });
      return;
    }
    case "image-sized": {
      // One that is sized again has been told of what was here of it.
      const toldHere = state.sized.get(event.image)?.bytesHere ?? 0;
      state.overall = event.overall;
      state.sized.set(event.image, event);
      const image = state.active.get(event.image);
      if (image === undefined) return;
      image.bytesTotal = event.bytesTotal;
      image.bytesDone += event.bytesHere - toldHere;
      return;
    }
    case "image-done":
      state.imagesDone += 1;
      state.active.delete(event.image);
      // What failed before it was sized will never be: the total is known without it.
      if (!state.sized.has(event.image)) {
        state.sized.set(event.image, { bytesTotal: 0, bytesHere: 0 });
      }
      return;
    case "bytes":
      state.bytesArrived += event.bytes;
      state.pause = undefined;
      moveBytes(state, event.image, event.bytes);
      return;
    case "recount": {
      moveBytes(state, event.image, event.bytesMoved);
      addToImage(state, event.image, event.bytesHere);
      const { bytesTotal, bytesHere } = state.overall;
      state.overall = { bytesTotal, bytesHere: bytesHere + event.bytesHere };
      return;
    }
    case "blob-done":
      addToImage(state, event.image, event.size - event.bytesHere - event.bytesMoved);
      return;
    case "waiting":
      state.pause = event;
      return;
    case "retry": {
      const image = state.active.get(event.image);
      const { attempt, attemptsMax, delayMs } = event;
      if (image !== undefined) {
        image.waiting = `attempt ${attempt} of ${attemptsMax} in ${formatDuration(delayMs)}`;
      }
      return;
    }
    default:
      return;
  }
}

function moveBytes(state: ProgressState, image: string, bytes: number): void {
  state.bytesMoved += bytes;
  addToImage(state, image, bytes);
}

function addToImage(state: ProgressState, name: string, bytes: number): void {
  const image = state.active.get(name);
  if (image === undefined) return;
  image.bytesDone += bytes;
  if (bytes > 0) image.waiting = undefined;
}

/** Lets the rate know what time it is. */
export function sampleRate(state: ProgressState, nowMs: number): void {
  const { samples, bytesArrived } = state;
  const last = samples.at(-1);
  if (last !== undefined && nowMs - last.ms < SAMPLE_MS) return;
  samples.push({ ms: nowMs, bytesArrived });
  // One sample from before the window stays, so that the window is always covered whole.
  while ((samples[1]?.ms ?? nowMs) <= nowMs - WINDOW_MS) samples.shift();
}

/** Bytes per second over the last {@link WINDOW_MS}, or undefined before anything can be said. */
export function bytesPerSecond(
  { samples, bytesArrived }: ProgressState,
  nowMs: number,
): number | undefined {
  const oldest = samples[0];
  if (oldest === undefined || nowMs - oldest.ms < SAMPLE_MS) return undefined;
  return ((bytesArrived - oldest.bytesArrived) * 1_000) / (nowMs - oldest.ms);
}

/** What is fetched, and what is uploaded meanwhile. */
export function overallParts(state: ProgressState, nowMs: number): readonly string[] {
  return [...fetchParts(state, nowMs), ...uploadParts(state.uploads)];
}

/** `3/12 images`, `1.2 GB of 1.9 GB`, `8.4 MB/s`, `1m23s left`: as far as they are known. */
export function fetchParts(state: ProgressState, nowMs: number): readonly string[] {
  const { imagesDone, imagesTotal, overall, bytesMoved, sized } = state;
  const parts = [`${imagesDone}/${imagesTotal} images`];
  const bytesDone = overall.bytesHere + bytesMoved;
  const isTotalKnown = sized.size >= imagesTotal;
  const total = formatBytes(overall.bytesTotal);
  parts.push(`${formatBytes(bytesDone)} of ${isTotalKnown ? total : `at least ${total}`}`);
  const rate = bytesPerSecond(state, nowMs);
  if (rate === undefined) return parts;
  parts.push(`${formatBytes(Math.round(rate))}/s`);
  const bytesLeft = overall.bytesTotal - bytesDone;
  if (isTotalKnown && rate > 0 && bytesLeft > 0) {
    parts.push(`${formatDuration((bytesLeft * 1_000) / rate)} left`);
  }
  return parts;
}
