import { resolve } from "node:path";
import { printable } from "#base";
import { type CredentialReport, CredentialWatch, isBroken } from "#credential";
import { checkCredentials } from "#site";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";
import { type OutputFormat, planOrRefuse } from "./plan.ts";
import type { PlanOptions } from "./plan-options.ts";
import { formatFindings } from "./report.ts";

/** The words of `dray credentials` on the command line. */
export interface CredentialsOptions extends PlanOptions {
  readonly output: OutputFormat;
  readonly dataDir?: string;
}

/** `dray credentials`: tries every credential of the plan once, and says what will end and when. */
export async function runCredentials(
  options: CredentialsOptions,
  context: CliContext,
): Promise<ExitCode> {
  const planned = await planOrRefuse(options, context);
  if (planned === undefined) return EXIT.refused;
  context.err(formatFindings([], planned.plan.warnings));
  const dataDir = resolve(options.dataDir ?? planned.inputs.site.dataDir);
  const watch = new CredentialWatch();
  const events = await checkCredentials(planned, context, {
    ...{ signal: context.signal, dataDir, watch },
    onNotice: ({ registry, message }) =>
      context.err(`warning: ${printable(registry)}: ${message}\n`),
  });
  const reports = events.map(({ report }) => report);
  context.out(options.output === "json" ? formatJson(reports) : formatText(reports));
  return reports.some(({ state }) => isBroken(state)) ? EXIT.wanting : EXIT.done;
}

function formatJson(reports: readonly CredentialReport[]): string {
  const credentials = reports.map(({ registry, role, origin, state, ...report }) => ({
    ...{ registry, role, credential: origin, state, why: report.why },
    hint: report.hint ?? null,
    image: report.image,
    checked: isoTime(report.atMs),
    expiries: report.expiries.map(({ what, name, endsMs }) => ({
      ...{ what, name, ends: isoTime(endsMs) },
    })),
  }));
  const head = { apiVersion: "drayage/v1", kind: "Credentials" };
  return `${JSON.stringify({ ...head, credentials }, null, 2)}\n`;
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}

function formatText(reports: readonly CredentialReport[]): string {
  if (reports.length === 0) return "No registry of this plan needs a credential.\n";
  const rows = reports.map(({ state, role, registry, origin }) => {
    const credential = origin === null ? "no credential" : printable(origin);
    return [state, role, printable(registry), credential];
  });
  const widths = [0, 1, 2, 3].map((i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  return reports
    .map(({ why, hint }, i) => {
      const cells = (rows[i] ?? []).map((cell, column) => cell.padEnd(widths[column] ?? 0));
      return `${cells.join("  ")}  ${why}\n${hint === undefined ? "" : `  hint: ${hint}\n`}`;
    })
    .join("");
}
