import { type Clock, formatBytes, formatDuration } from "#base";
import type { DeliveryEvent, DeliveryFailure, DeliverySummary, ImageOutcome } from "#deliver";
import { providerLine, providerSummaryLines } from "./progress-provider.ts";
import { runtimeFailureLines, runtimeLine, runtimeSummaryLines } from "./progress-runtime.ts";
import {
  applyEvent,
  createProgressState,
  fetchParts,
  overallParts,
  type ProgressState,
  sampleRate,
} from "./progress-state.ts";
import {
  type UploadState,
  uploadFailureLines,
  uploadLine,
  uploadParts,
  uploadSummaryLines,
} from "./progress-uploads.ts";

/** Where progress is shown. */
export interface ProgressOptions {
  readonly write: (text: string) => void;
  /** A terminal gets one block that is rewritten; anything else gets plain lines. */
  readonly isTerminal: boolean;
  /** Width of the terminal, asked whenever the block is drawn. */
  readonly columns: () => number;
  /** Colours repeat what the words say, and are left out when a person asks for that (NO_COLOR). */
  readonly color: boolean;
  readonly clock: Clock;
}

/** Shows a person how far a delivery is. */
export interface Progress {
  onEvent(event: DeliveryEvent): void;
  /** Time has passed: call it a few times a second, so that a stall is seen. */
  tick(): void;
  /** Prints a line from elsewhere without tearing the block. */
  note(line: string): void;
  /** Takes the block away. */
  close(): void;
}

/** A terminal is not redrawn more often, however many events there are. */
const DRAW_MS = 100;

/** A log is told that the delivery lives, and not more often than this. */
const HEARTBEAT_MS = 10_000;

/** Begins to show a delivery. */
export function createProgress(options: ProgressOptions): Progress {
  return options.isTerminal ? createBlock(options) : createLog(options);
}

function createLog({ write, color, clock }: ProgressOptions): Progress {
  const state = createProgressState();
  let heardMs = clock.monotonic();
  const tick = () => {
    const nowMs = clock.monotonic();
    sampleRate(state, nowMs);
    if (nowMs - heardMs < HEARTBEAT_MS || state.stage === undefined) return;
    heardMs = nowMs;
    write(`${[state.stage, ...overallParts(state, nowMs)].join(", ")}\n`);
  };
  return {
    onEvent(event) {
      const isRetry = event.type === "retry" || event.type === "upload-retry";
      const line = isRetry ? retryLine(event) : lastingLine(event, state.uploads, color);
      applyEvent(state, event);
      if (line !== undefined) write(`${line}\n`);
      tick();
    },
    tick,
    note: (line) => write(`${line}\n`),
    close: () => undefined,
  };
}

function createBlock({ write, columns, color, clock }: ProgressOptions): Progress {
  const state = createProgressState();
  let height = 0;
  let drawnMs = Number.NEGATIVE_INFINITY;
  let isOver = false;
  const draw = (above: string) => {
    const nowMs = clock.monotonic();
    sampleRate(state, nowMs);
    const lines = isOver ? [] : renderBlock(state, nowMs, columns());
    write(`${eraseLines(height)}${above}${lines.map((line) => `${line}\n`).join("")}`);
    height = lines.length;
    drawnMs = nowMs;
  };
  return {
    onEvent(event) {
      const line = lastingLine(event, state.uploads, color);
      applyEvent(state, event);
      if (line !== undefined) draw(`${line}\n`);
      else if (clock.monotonic() - drawnMs >= DRAW_MS) draw("");
    },
    tick: () => draw(""),
    note: (line) => draw(`${line}\n`),
    close() {
      isOver = true;
      draw("");
    },
  };
}

/** ECMA-48: cursor up, then erase from there to the end of the screen. */
function eraseLines(height: number): string {
  return height === 0 ? "" : `\x1b[${height}A\x1b[J`;
}

/** More images than this are only counted. */
const ACTIVE_LINES_MAX = 8;

/** Terminals that do not tell are taken for this wide. */
const COLUMNS_DEFAULT = 80;

/**
 * The block as lines of at most `columns - 1` characters (a full line would wrap on some terminals):
 * the whole delivery first, then the images whose turn it is.
 */
export function renderBlock(
  state: ProgressState,
  nowMs: number,
  columns: number,
): readonly string[] {
  if (state.stage === undefined) return [];
  const width = Math.max(20, (columns || COLUMNS_DEFAULT) - 1);
  const lines = [[state.stage, ...fetchParts(state, nowMs)].join("  ")];
  const uploads = uploadParts(state.uploads);
  if (uploads.length > 0) lines.push(`  ${uploads.join("  ")}`);
  if (state.pause !== undefined) lines.push(`  waiting ${pauseText(state.pause)}`);
  const active = [...state.active];
  for (const [name, { bytesTotal, bytesDone, waiting }] of active.slice(0, ACTIVE_LINES_MAX)) {
    const done = bytesTotal === undefined ? undefined : Math.min(bytesDone, bytesTotal);
    const share = done === undefined ? "" : `${percent(done, bytesTotal ?? 0)}%`;
    const size =
      done === undefined ? "reading" : `${formatBytes(done)} of ${formatBytes(bytesTotal ?? 0)}`;
    const head = `  ${share.padStart(4)}  ${size.padEnd(20)}  `;
    const tail = waiting === undefined ? "" : `  ${waiting}`;
    lines.push(head + shorten(name, Math.max(12, width - head.length - tail.length)) + tail);
  }
  if (active.length > ACTIVE_LINES_MAX)
    lines.push(`  and ${active.length - ACTIVE_LINES_MAX} more`);
  return lines.map((line) => (line.length > width ? `${line.slice(0, width - 1)}…` : line));
}

/** Rounded down: 100 is said of what is all there. */
function percent(done: number, total: number): number {
  return total === 0 ? 100 : Math.floor((done * 100) / total);
}

/** Registry and tag, the ends of a reference, tell more than its middle. */
function shorten(text: string, length: number): string {
  if (text.length <= length) return text;
  const tail = Math.floor((length - 1) * 0.6);
  return `${text.slice(0, length - 1 - tail)}…${text.slice(text.length - tail)}`;
}

const OUTCOME_COLORS: Readonly<Record<ImageOutcome, number>> = {
  delivered: 32,
  present: 32,
  stood: 33,
  failed: 31,
  skipped: 33,
};

/** The line that stays of an event, in a log and above the block alike. */
function lastingLine(
  event: DeliveryEvent,
  uploads: UploadState,
  color: boolean,
): string | undefined {
  const paint = (code: number, text: string) => (color ? `\x1b[${code}m${text}\x1b[0m` : text);
  switch (event.type) {
    case "waiting":
      return `${paint(33, "waiting:")} ${pauseText(event)}`;
    case "stage-started":
      return event.images === 0 ? undefined : `stage ${event.stage}: ${countImages(event.images)}`;
    case "warning":
      return `${paint(33, "warning:")} ${event.image}: ${event.message}`;
    case "image-done": {
      const { outcome, image, failure, bytesMoved, ms } = event;
      const word = paint(OUTCOME_COLORS[outcome], outcome.padEnd(9));
      if (failure !== undefined) return `${word}  ${image}: ${failure.message}`;
      const moved = `, ${formatBytes(bytesMoved)} in ${formatDuration(ms)}`;
      return `${word}  ${image}${outcome === "delivered" ? moved : ""}`;
    }
    default:
      return (
        providerLine(event, paint) ?? runtimeLine(event, paint) ?? uploadLine(event, uploads, paint)
      );
  }
}

/** `until 22:00: no window of link.windows is open`, in the time of the machine. */
function pauseText({ reason, untilMs }: NonNullable<ProgressState["pause"]>): string {
  if (untilMs === null) return reason;
  const time = new Date(untilMs).toLocaleTimeString("en-GB", {
    hour: "2-digit",
    minute: "2-digit",
  });
  return `until ${time}: ${reason}`;
}

function retryLine(event: DeliveryEvent & { readonly type: "retry" | "upload-retry" }): string {
  const { image, attempt, attemptsMax, delayMs, message } = event;
  const when = `attempt ${attempt} of ${attemptsMax} in ${formatDuration(delayMs)}`;
  return `retry      ${image}: ${when}. ${message}`;
}

function countImages(images: number): string {
  return images === 1 ? "1 image" : `${images} images`;
}

/** Pieces of a blob are told at most this often; everything else as it happens. */
const JSON_BYTES_MS = 1_000;

/**
 * Writes every event as one line of JSON, its time in RFC 3339. The `bytes` of a blob are added up
 * over a second; no byte is left out, and all are told before any other event.
 */
export function jsonEvents(write: (text: string) => void): (event: DeliveryEvent) => void {
  const pending = new Map<string, DeliveryEvent & { readonly type: "bytes" | "upload-bytes" }>();
  const print = (event: DeliveryEvent) => {
    write(`${JSON.stringify({ ...event, at: new Date(event.at).toISOString() })}\n`);
  };
  return (event) => {
    if (event.type !== "bytes" && event.type !== "upload-bytes") {
      for (const bytes of pending.values()) print(bytes);
      pending.clear();
      print(event);
      return;
    }
    const key = `${event.type} ${event.image} ${event.digest}`;
    const before = pending.get(key);
    const sum = { ...event, at: before?.at ?? event.at, bytes: (before?.bytes ?? 0) + event.bytes };
    if (event.at - sum.at < JSON_BYTES_MS) pending.set(key, sum);
    else {
      pending.delete(key);
      print({ ...sum, at: event.at });
    }
  };
}

/**
 * The end of the story, for eyes: what there is, what it cost, and each failure with what to do next.
 * Ends with a line break.
 */
export function formatSummary(summary: DeliverySummary): string {
  const { stages, bytesTotal, bytesMoved, bytesFetched, bytesHere, elapsedMs } = summary;
  const count = (key: "images" | "stood" | "failed" | "skipped") =>
    stages.reduce((sum, stage) => sum + stage[key], 0);
  // More was fetched than moved when something came twice, or not to its end.
  const fetched = bytesFetched > bytesMoved ? ` (${formatBytes(bytesFetched)} fetched)` : "";
  const sizes = `${formatBytes(bytesMoved)} moved${fetched}, ${formatBytes(bytesHere)} already here`;
  const start = summary.outcome === "interrupted" ? "interrupted: " : "";
  const lines = [
    `${start}${countImages(count("images"))}, ${formatBytes(bytesTotal)}: ${sizes}, ${formatDuration(elapsedMs)}`,
  ];
  const rest = [
    [count("failed"), "failed"],
    [count("skipped"), "not attempted"],
    [count("stood"), "as last verified, their registry could not be reached"],
  ] as const;
  for (const [images, what] of rest) if (images > 0) lines.push(`${countImages(images)} ${what}`);
  lines.push(...providerSummaryLines(summary.provider), ...uploadSummaryLines(summary.uploads));
  lines.push(...runtimeSummaryLines(summary.runtime));
  lines.push(...summary.failures.flatMap(failureLines));
  lines.push(...(summary.uploads?.failures ?? []).flatMap(uploadFailureLines));
  lines.push(...(summary.runtime?.failures ?? []).flatMap(runtimeFailureLines));
  return lines.map((line) => `${line}\n`).join("");
}

function failureLines({ image, source, message, hint, code }: DeliveryFailure): readonly string[] {
  const from = source === image ? "" : ` (from ${source})`;
  return [`error: ${image}${from}: ${message}`, `hint:  ${hint}`, `code:  ${code}`];
}
