import { isMap, isScalar, isSeq, parseDocument, visit } from "yaml";
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
    if (kind === "header") isHeaders = key.includes("header");
    const isSecret = kind === "pair" && (isHeaders || key.includes("header"));
    return isSecret ? [{ start: valueStart, end }] : [];
  });
  return maskUserInfo(cover(text, secrets));
}

/** A registries.yaml in which passwords and tokens are masked, whosever they are. */
export function maskRegistriesYaml(text: string): string {
  const secrets: { start: number; end: number }[] = [];
  visit(parseDocument(text), {
    Pair(_, pair) {
      const { key, value } = pair;
      if (!isScalar(key) || !SECRET_KEYS.has(String(key.value)) || isMap(value)) return;
      const range = isScalar(value) || isSeq(value) ? value.range : undefined;
      if (range) secrets.push({ start: range[0], end: range[1] });
    },
  });
  return maskUserInfo(cover(text, secrets));
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
