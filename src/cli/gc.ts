import { resolve } from "node:path";
import { formatBytes, printable } from "#base";
import { type CollectedBlob, type Collection, collectStore, type MarkTrouble } from "#store";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";
import type { OutputFormat } from "./plan.ts";

/** The words of `dray gc` on the command line. */
export interface GcCommandOptions {
  readonly output: OutputFormat;
  readonly dataDir: string;
  readonly dryRun?: boolean;
  /** Milliseconds. */
  readonly grace?: number;
}

/** How many names are told of a blob; a base layer may have hundreds. */
const NAMES_MAX = 5;

/** `dray gc`: removes what nothing needs any more, or says what that is. */
export async function runGc(
  { output, dataDir: folder, dryRun: isDryRun = false, grace }: GcCommandOptions,
  { clock, signal, out }: CliContext,
): Promise<ExitCode> {
  const dataDir = resolve(folder);
  const collection = await collectStore(dataDir, {
    ...{ clock, signal, isDryRun },
    ...(grace === undefined ? {} : { graceMs: grace }),
  });
  const answer = { dataDir, dryRun: isDryRun, ...collection };
  out(output === "json" ? formatJson(answer) : formatText(answer));
  return collection.trouble.length > 0 ? EXIT.failed : EXIT.done;
}

interface GcAnswer extends Collection {
  readonly dataDir: string;
  readonly dryRun: boolean;
}

function formatJson({ trouble, ...answer }: GcAnswer): string {
  const document = {
    apiVersion: "drayage/v1",
    kind: "Collection",
    ...answer,
    blobs: answer.blobs.map((blob) => ({ ...blob, because: because(blob) })),
    trouble: trouble.map((each) => ({ ...each, remedy: remedyOf(each) })),
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

function formatText(answer: GcAnswer): string {
  const { names, blobs, bytes, live, young, trouble, dryRun } = answer;
  if (trouble.length > 0) return `${trouble.map(formatTrouble).join("")}Nothing was removed\n`;
  const verb = dryRun ? "Would remove" : "Removed";
  const untagged = names.map(
    (name) => `name ${printable(name)}: neither the current nor the previous plan declares it\n`,
  );
  const lines = blobs.map(
    (blob) => `${blob.digest} (${formatBytes(blob.size)}): ${because(blob)}\n`,
  );
  const kept =
    young.blobs === 0 ? "" : `; ${countOf(young.blobs)} (${formatBytes(young.bytes)}) too young`;
  const total = `${verb} ${countOf(blobs.length)} (${formatBytes(bytes)}); ${live} live${kept}\n`;
  return [...untagged, ...lines, total].join("");
}

function countOf(blobs: number): string {
  return `${blobs} ${blobs === 1 ? "blob" : "blobs"}`;
}

function because({ lastNamed }: CollectedBlob): string {
  if (lastNamed.length === 0) return "nothing leads to it";
  const told = lastNamed.slice(0, NAMES_MAX).map((name) => printable(name));
  const more = lastNamed.length > NAMES_MAX ? ` and ${lastNamed.length - NAMES_MAX} more` : "";
  return `nothing leads to it any more; last of ${told.join(", ")}${more}`;
}

const PROBLEMS: Readonly<Record<MarkTrouble["problem"], string>> = {
  missing: "is not here",
  wrong: "is not what its name says",
  unreadable: "can not be read",
};

function formatTrouble(trouble: MarkTrouble): string {
  const { digest, name, problem } = trouble;
  return `${digest} of ${printable(name)} ${PROBLEMS[problem]}, so it can't be known what it leads to\n  hint: ${remedyOf(trouble)}\n`;
}

function remedyOf({ problem }: MarkTrouble): string {
  const first = problem === "missing" ? "" : "Run `dray verify`, which moves it away. ";
  return `${first}Run \`dray deliver\`, which fetches it again; what was pushed must be pushed again, or deleted`;
}
