import { isAlias, isMap, isScalar, isSeq, parseDocument, visit } from "yaml";
import { tomlStatements } from "./toml-text.ts";

const MASK = "[secret]";

/** Keys of registries.yaml whose values prove who is asking. */
const SECRET_KEYS: ReadonlySet<string> = new Set([
  "password",
  "auth",
  "identity_token",
  "identitytoken",
  "registry_token",
]);

/** A hosts.toml in which the values of all headers are masked, whosever they are. */
export function maskHostsToml(text: string): string {
  let isHeaders = false;
  const secrets = tomlStatements(text).flatMap(({ kind, key, valueStart, end }) => {
    const hasHeader = key.some(isHeaderKey);
    if (kind === "header") isHeaders = hasHeader;
    // An inline table of a host may have its headers in it.
    const isSecret =
      kind === "pair" &&
      (isHeaders || hasHeader || INLINE_HEADER.test(text.slice(valueStart, end)));
    return isSecret ? [{ start: valueStart, end }] : [];
  });
  return maskNotes(maskUserInfo(cover(text, secrets)));
}

/** containerd's parser takes keys in any case. */
function isHeaderKey(key: string): boolean {
  return key.toLowerCase() === "header";
}

const INLINE_HEADER = /\{.*\bheader\b/is;

/** A registries.yaml in which passwords and tokens are masked, whosever they are. */
export function maskRegistriesYaml(text: string): string {
  const secrets: { start: number; end: number }[] = [];
  const document = parseDocument(text);
  visit(document, {
    Pair(_, pair) {
      const { key } = pair;
      const value = isAlias(pair.value) ? pair.value.resolve(document) : pair.value;
      if (!isScalar(key) || !SECRET_KEYS.has(String(key.value).toLowerCase()) || isMap(value))
        return;
      const range = isScalar(value) || isSeq(value) ? value.range : undefined;
      if (range) secrets.push({ start: range[0], end: range[1] });
    },
  });
  return maskNotes(maskUserInfo(cover(text, secrets)));
}

function cover(text: string, secrets: readonly { start: number; end: number }[]): string {
  const later = [...secrets].sort((a, b) => b.start - a.start);
  return later.reduce((result, { start, end }) => {
    const lineEnd = result.slice(start, end).endsWith("\n") ? "\n" : "";
    return result.slice(0, start) + MASK + lineEnd + result.slice(end);
  }, text);
}

/** A password may stand in a URL too. */
function maskUserInfo(text: string): string {
  return text.replace(/(https?:\/\/)[^\s/@"']+@/g, `$1${MASK}@`);
}

/** What somebody switched off by a comment may be a password that still holds. */
function maskNotes(text: string): string {
  return text.replace(
    /(#.*?\b(?:password|auth|authorization|identity_?token|registry_token)\b["']?\s*[:=]\s*).*\S/gi,
    `$1${MASK}`,
  );
}
