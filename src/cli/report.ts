import { type Finding, isFailure, printable } from "#base";

/** `file:line:column: ` in front of a finding, as editors and terminals understand it. */
function location({ file, line, column }: Finding): string {
  return file === "" ? "" : `${printable(file)}:${line}:${column}: `;
}

/** A finding in two or three lines: what and where, the remedy, the code. */
export function formatFinding(kind: "error" | "warning", finding: Finding): string {
  return `${kind}: ${location(finding)}${finding.message} [${finding.code}]\n  hint: ${finding.remedy}\n`;
}

/** Faults and warnings for stderr, faults last, where eyes end up. */
export function formatFindings(faults: readonly Finding[], warnings: readonly Finding[]): string {
  return [
    ...warnings.map((finding) => formatFinding("warning", finding)),
    ...faults.map((finding) => formatFinding("error", finding)),
  ].join("");
}

/** A failure for stderr; what is not a Failure is a bug, and shown with its stack. */
export function formatError(error: unknown): string {
  if (isFailure(error)) return `error: ${error.message} [${error.code}]\n  hint: ${error.hint}\n`;
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return `error: This is a bug in dray, please report it with the lines below\n${stack}\n`;
}
