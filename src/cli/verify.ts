import { resolve } from "node:path";
import { formatBytes, formatDuration, printable } from "#base";
import {
  openStore,
  type Verification,
  type VerifyScope,
  verifyStore,
  type WrongBlob,
} from "#store";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";
import type { OutputFormat } from "./plan.ts";

/** The words of `dray verify` on the command line. */
export interface VerifyCommandOptions {
  readonly output: OutputFormat;
  readonly dataDir: string;
  /** Blobs of a hundred. */
  readonly sample?: number;
  readonly seed?: string;
  readonly sinceUnclean?: boolean;
  /** Bytes per second. */
  readonly rate?: number;
}

/** How often progress is drawn, in milliseconds. */
const TICK_MS = 500;

/** How many names are told of a blob; a base layer may have hundreds. */
const NAMES_MAX = 5;

/** `dray verify`: hashes what the store has anew, and moves away what is wrong. */
export async function runVerify(
  options: VerifyCommandOptions,
  context: CliContext,
): Promise<ExitCode> {
  const { clock, signal } = context;
  const dataDir = resolve(options.dataDir);
  const scope = scopeOf(options, context);
  const startedMs = clock.monotonic();
  await using store = await openStore(dataDir, { clock, readOnly: true });
  using progress = createVerifyProgress(context);
  const verification = await verifyStore(dataDir, store, {
    clock,
    signal,
    scope,
    onProgress: progress.tell,
    ...(options.rate === undefined ? {} : { bytesPerSecond: options.rate }),
  });
  progress[Symbol.dispose]();
  const durationMs = clock.monotonic() - startedMs;
  const format = options.output === "json" ? formatJson : formatText;
  context.out(format({ dataDir, scope, durationMs, ...verification }));
  if (verification.wrong.some(({ stuck }) => stuck !== undefined)) return EXIT.failed;
  return verification.wrong.length > 0 ? EXIT.wanting : EXIT.done;
}

/** A verification and what it was of. */
interface VerifyAnswer extends Verification {
  readonly dataDir: string;
  readonly scope: VerifyScope;
  readonly durationMs: number;
}

function scopeOf(
  { sample, seed, sinceUnclean }: VerifyCommandOptions,
  { random }: CliContext,
): VerifyScope {
  if (sinceUnclean === true) return { kind: "since-unclean" };
  if (sample === undefined) return { kind: "whole" };
  return { kind: "sample", percent: sample, seed: seed ?? random().toString(36).slice(2, 10) };
}

function formatJson({ scope, sinceMs, durationMs, ...answer }: VerifyAnswer): string {
  const since = sinceMs === undefined ? {} : { since: new Date(sinceMs).toISOString() };
  const { kind, ...sample } = scope;
  const document = {
    apiVersion: "drayage/v1",
    kind: "Verification",
    ...answer,
    scope: { kind, ...sample, ...since },
    durationMs: Math.round(durationMs),
    wrong: answer.wrong.map((blob) => ({ ...blob, remedy: remedyOf(blob) })),
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

function formatText(answer: VerifyAnswer): string {
  const { wrong, blobsVerified, blobsInStore, bytesVerified, durationMs } = answer;
  const part = blobsVerified === blobsInStore ? "" : ` of ${blobsInStore}`;
  const blobs = `${blobsVerified}${part} ${blobsInStore === 1 ? "blob" : "blobs"}`;
  const work = `${formatBytes(bytesVerified)} in ${formatDuration(durationMs)}`;
  const verdict = wrong.length === 0 ? "all as they should be" : `${wrong.length} wrong`;
  return `${wrong.map(formatWrong).join("")}Verified ${blobs}${scopeText(answer)} (${work}): ${verdict}\n`;
}

function scopeText({ scope, sinceMs }: VerifyAnswer): string {
  switch (scope.kind) {
    case "whole":
      return "";
    case "sample":
      return `, a sample of ${scope.percent} % with --seed ${printable(scope.seed)}`;
    case "since-unclean":
      return sinceMs === undefined
        ? ", for the last writer ended as it should"
        : `, committed since ${new Date(sinceMs).toISOString()}`;
  }
}

function formatWrong(blob: WrongBlob): string {
  const { digest, names, quarantined, stuck } = blob;
  const more = names.length > NAMES_MAX ? ` and ${names.length - NAMES_MAX} more` : "";
  const told = names.slice(0, NAMES_MAX).map((name) => printable(name));
  return [
    `${digest} is wrong: ${foundText(blob)}`,
    names.length === 0 ? "no name leads to it" : `part of ${told.join(", ")}${more}`,
    quarantined === undefined
      ? `it could not be moved away: ${stuck}`
      : `moved to ${quarantined}, where nothing serves it`,
    `hint: ${remedyOf(blob)}`,
    "",
  ]
    .join("\n  ")
    .trimEnd()
    .concat("\n");
}

function foundText({ problem, bytesFound, bytesExpected, digestFound }: WrongBlob): string {
  const size = bytesExpected === undefined ? "" : `, expected ${bytesExpected} bytes`;
  return problem === "unreadable"
    ? `the disk gives no more than its first ${bytesFound} bytes${size}`
    : `found ${bytesFound} bytes of digest ${digestFound}${size}`;
}

function remedyOf({ stuck, names, problem }: WrongBlob): string {
  if (stuck !== undefined) {
    return "Let this user write to the data folder, then run `dray verify` again: until then it is served";
  }
  const disk = problem === "unreadable" ? "Look for disk errors with `dmesg`. " : "";
  return names.length === 0
    ? `${disk}Nothing delivered needs it; if it was pushed, push it again`
    : `${disk}Run \`dray deliver\`, which fetches it again; what was pushed must be pushed again`;
}

interface VerifyProgress extends Disposable {
  readonly tell: (bytesDone: number, bytesTotal: number) => void;
}

/** One line that is written over, for people only. */
function createVerifyProgress({ isTerminal, err, clock }: CliContext): VerifyProgress {
  let drawnMs = clock.monotonic();
  let isDrawn = false;
  return {
    tell(bytesDone, bytesTotal) {
      if (!isTerminal || clock.monotonic() - drawnMs < TICK_MS) return;
      drawnMs = clock.monotonic();
      isDrawn = true;
      err(`\r\x1b[KVerifying: ${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}`);
    },
    [Symbol.dispose]() {
      if (isDrawn) err("\r\x1b[K");
      isDrawn = false;
    },
  };
}
