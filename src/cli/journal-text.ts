import { printable } from "#base";
import type { JournalEntry } from "#daemon";
import { isJsonObject } from "#oci";

/** Characters of one value in the text; JSON has all of them. */
const VALUE_MAX = 120;

/** Code units of a sentence. */
const TEXT_MAX = 500;

/** A line for the entry, then one for each line that a command wrote and each failure. */
export function entryLines({ at, kind, text, level, by, data }: JournalEntry): readonly string[] {
  const { output, failure, failures, ...rest } = isJsonObject(data) ? data : {};
  const told = [failure, ...(Array.isArray(failures) ? failures : [])].flatMap(failureLines);
  const written = (Array.isArray(output) ? output : []).map(
    (line) => `| ${printable(plain(line))}`,
  );
  // What nobody wrote a sentence for has its kind for one; its numbers tell the rest.
  const hasSentence = text !== kind.replaceAll("-", " ");
  const words = hasSentence
    ? [printable(text, TEXT_MAX)]
    : Object.entries(rest).flatMap(([key, value]) => valueText(key, value) ?? []);
  const head = [
    journalTime(at),
    ...(level === "info" ? [] : [level]),
    printable(kind),
    ...words,
    ...(by === null ? [] : [`by=${printable(by)}`]),
  ];
  return [head.join("  "), ...[...written, ...told].map((line) => `    ${line}`)];
}

/** The clock of a site may say anything; what is no date is told as it is. */
export function journalTime(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? `${ms}` : date.toISOString();
}

/** What is false, zero or null in a line is no news to eyes. */
function valueText(key: string, value: unknown): string | undefined {
  if (value === null || value === undefined || value === 0) return undefined;
  return `${printable(key)}=${printable(plain(value), VALUE_MAX)}`;
}

/** An object may bring a `toString` of its own, which is no function. */
function plain(value: unknown): string {
  return typeof value === "object" ? JSON.stringify(value) : `${value}`;
}

function failureLines(failure: unknown): readonly string[] {
  if (!isJsonObject(failure)) return [];
  const { image, code, message, hint } = failure;
  const where = typeof image === "string" ? `${image}: ` : "";
  return [
    `error: ${printable(`${where}${plain(message)}`, 1_000)} [${printable(plain(code))}]`,
    `hint: ${printable(plain(hint), 1_000)}`,
  ];
}
