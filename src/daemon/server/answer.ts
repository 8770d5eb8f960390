import { promisify } from "node:util";
import { gzip } from "node:zlib";

/** An answer before it is packed for the one who asked. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> | null;
}

/** A JSON document as an answer. What the agent knows is old at once, so nobody keeps it. */
export function jsonAnswer(
  value: unknown,
  status = 200,
  headers: Readonly<Record<string, string>> = {},
): Answer {
  return jsonTextAnswer(JSON.stringify(value), status, headers);
}

/** One that is a text already. */
export function jsonTextAnswer(
  text: string,
  status = 200,
  headers: Readonly<Record<string, string>> = {},
): Answer {
  return {
    status,
    headers: { "content-type": "application/json", "cache-control": "no-store", ...headers },
    body: new TextEncoder().encode(text),
  };
}

/** A text as an answer. */
export function textAnswer(text: string, status = 200, contentType = PLAIN): Answer {
  return {
    status,
    headers: { "content-type": contentType, "cache-control": "no-store" },
    body: new TextEncoder().encode(text),
  };
}

const PLAIN = "text/plain; charset=utf-8";

/**
 * The answer, or 304 where the asker has it already (RFC 9110, 13.1.2). Validators are compared weakly, so
 * one of a compressed answer counts as well.
 */
export function unlessKnown(request: Request, answer: Answer): Answer {
  const { etag } = answer.headers;
  const known = request.headers.get("if-none-match");
  if (etag === undefined || known === null) return answer;
  const isKnown = known
    .split(",")
    .map((each) => each.trim())
    .some((each) => each === "*" || opaque(each) === opaque(etag));
  if (!isKnown) return answer;
  const { "content-type": _, ...headers } = answer.headers;
  return { status: 304, headers, body: null };
}

function opaque(etag: string): string {
  return etag.replace(/^W\//, "");
}

/** Less is not worth the time. */
const GZIP_BYTES_MIN = 1_024;

/** Quick, for it is made for each answer anew: a list of 1,000 images takes 4 ms, beside the main loop. */
const GZIP_LEVEL = 1;

const compress = promisify(gzip);

/**
 * Packs a body for who takes gzip. Nobody's secret is in any body, so that its size tells nothing.
 */
export async function packed(request: Request, answer: Answer): Promise<Answer> {
  const { body, headers } = answer;
  if (!(body instanceof Uint8Array) || body.byteLength < GZIP_BYTES_MIN) return answer;
  const vary = { ...headers, vary: "accept-encoding" };
  if (!takesGzip(request.headers.get("accept-encoding"))) return { ...answer, headers: vary };
  const { etag } = headers;
  return {
    ...answer,
    headers: {
      ...vary,
      "content-encoding": "gzip",
      // Other bytes than those that a strong validator names.
      ...(etag === undefined ? {} : { etag: `W/${opaque(etag)}` }),
    },
    body: new Uint8Array(await compress(body, { level: GZIP_LEVEL })),
  };
}

function takesGzip(accepted: string | null): boolean {
  return (accepted ?? "")
    .split(",")
    .some((each) => /^\s*gzip\s*(;|$)/i.test(each) && !/;\s*q=0(\.0*)?\s*$/i.test(each));
}
