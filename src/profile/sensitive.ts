import { type Findings, type Place, Secret } from "#base";
import type { Node } from "./document.ts";
import { readText } from "./reader.ts";

/** A password as a file holds it: the secret itself, or the mask that an export left in its place. */
export interface SensitiveText {
  readonly secret: Secret;
  readonly isMasked: boolean;
}

/** Palette's exports mask sensitive values; no document says how, so every usual way counts. */
const MASK = /^(?:[*•●]{3,}|[<[({]?(?:masked|redacted|hidden|sensitive|sanitized)[>\])}]?)$/i;

/** Whether a text is what stands for a secret that was taken out. */
export function isMasked(text: string): boolean {
  return MASK.test(text.trim());
}

/** Where a mask stands that a node's text, its templates filled in, turned out to be; else undefined. */
export function maskedPlace(node: Node | undefined, text: string | undefined): Place | undefined {
  return text !== undefined && isMasked(text) ? node?.place : undefined;
}

/** Wraps a text that is a secret. */
export function sensitive(text: string): SensitiveText {
  return { secret: new Secret(text), isMasked: isMasked(text) };
}

/**
 * A login in front of a host, up to its last `@`: a password that holds `@` or `/` and is not encoded must
 * not show its rest. No `@` after `host:port/` ends a login, and none before a digest does.
 */
const LOGIN = /^(?:[^/@:]*:(?!\d+\/)[\s\S]*|[^/]*)@(?!sha(?:256|512):)/;

/**
 * A registry or image as a person wrote it, for a message: a password pasted with it, as in
 * `https://user:password@host` or behind a `?`, is left out.
 */
export function withoutSecrets(text: string): string {
  const scheme = /^[A-Za-z][A-Za-z0-9+.-]*:\/\//.exec(text)?.[0] ?? "";
  const rest = text.slice(scheme.length);
  return scheme + rest.replace(LOGIN, "…@").replace(/\?[\s\S]*/, "?…");
}

/** Strict base64 (line breaks allowed) as UTF-8 text; undefined when it is none. */
export function decodeBase64(text: string): string | undefined {
  const bytes = decodeBase64Bytes(text);
  if (bytes === undefined) return undefined;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function decodeBase64Bytes(text: string): Uint8Array | undefined {
  const bare = text.replace(/\s+/g, "");
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/.test(bare))
    return undefined;
  return Uint8Array.from(atob(bare), (character) => character.charCodeAt(0));
}

/**
 * Reads certificates: a PEM block or several, one text or a list of them, also base64 of PEM, which
 * Palette's table asks for while its samples show plain PEM.
 */
export function readCertificates(node: Node | undefined, findings: Findings): readonly string[] {
  if (node === undefined || node.kind === "null") return [];
  const items = node.kind === "list" ? node.items : [node];
  return items.flatMap((item) => {
    const text = readText(item, findings);
    if (text === undefined) return [];
    const certificates = parsePem(text) ?? parsePem(decodeBase64(text) ?? "");
    if (certificates !== undefined) return certificates;
    findings.fault(
      item.place,
      "certificate-unreadable",
      "Cannot read the certificate: it is no PEM, expected -----BEGIN CERTIFICATE-----, base64 and -----END CERTIFICATE-----",
      "Paste the whole PEM file, indented as one block (|), or its base64",
    );
    return [];
  });
}

const PEM_BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----([^-]*)-----END \1-----/g;

/** The certificates of a PEM text, or undefined when there are none or one of them is broken. */
export function parsePem(text: string): readonly string[] | undefined {
  const blocks = [...text.matchAll(PEM_BLOCK)].filter(
    ([, label]) => label === "CERTIFICATE" || label === "TRUSTED CERTIFICATE",
  );
  const isSound =
    blocks.length > 0 && blocks.every(([, , body]) => isDerSequence(decodeBase64Bytes(body ?? "")));
  const isWhole = text.split("-----BEGIN ").length === text.split("-----END ").length;
  return isSound && isWhole ? blocks.map(([block]) => block.replace(/^[ \t]+/gm, "")) : undefined;
}

/** A certificate is one DER SEQUENCE (0x30) whose stated length is all there is (X.690, 8.1.3). */
function isDerSequence(der: Uint8Array | undefined): boolean {
  if (der === undefined || der[0] !== 0x30) return false;
  const first = der[1] ?? 0;
  if (first < 0x80) return der.length === first + 2;
  const count = first & 0x7f;
  const length = der.subarray(2, 2 + count).reduce((sum, byte) => sum * 256 + byte, 0);
  return count <= 4 && der.length === length + 2 + count;
}
