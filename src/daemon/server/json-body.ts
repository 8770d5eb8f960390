import { type Clock, Failure } from "#base";
import { isJsonObject } from "#oci";
import { invalidRequest } from "./problem.ts";

/** No request has more to say. */
const BODY_BYTES_MAX = 16 * 1024;

/** A body of that size that takes longer is held back on purpose. */
const BODY_MS = 10_000;

/**
 * The JSON object that a request carries; an empty one where it has no body.
 *
 * @throws {Failure} `body-too-large`, `body-slow`, `request-invalid`
 */
export async function jsonBody(
  request: Request,
  clock: Clock,
): Promise<Readonly<Record<string, unknown>>> {
  const text = (await boundedText(request, clock)).trim();
  if (text === "") return {};
  const value = parsed(text);
  if (isJsonObject(value)) return value;
  throw invalidRequest(
    "Cannot read the request: its body is no JSON object, expected one",
    'Send an object, "{}" where there is nothing to say',
  );
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function boundedText({ body, headers }: Request, clock: Clock): Promise<string> {
  if (Number(headers.get("content-length") ?? 0) > BODY_BYTES_MAX) throw tooLarge();
  if (body === null) return "";
  const reader = body.getReader();
  const enough = new AbortController();
  const late = clock.sleep(BODY_MS, enough.signal).then(() => {
    throw slow();
  });
  late.catch(() => undefined);
  try {
    const chunks: Uint8Array[] = [];
    for (let size = 0; ; ) {
      const { done, value } = await Promise.race([reader.read(), late]);
      if (done) return Buffer.concat(chunks).toString("utf8");
      size += value.byteLength;
      if (size > BODY_BYTES_MAX) throw tooLarge();
      chunks.push(value);
    }
  } finally {
    enough.abort();
    reader.cancel().catch(() => undefined);
  }
}

function tooLarge(): Failure {
  return new Failure({
    code: "body-too-large",
    message: `Cannot read the request: its body is too large, expected at most ${BODY_BYTES_MAX} bytes`,
    hint: "Send what the API describes at /api/openapi.json",
  });
}

function slow(): Failure {
  return new Failure({
    code: "body-slow",
    message: `Cannot read the request: its body did not come within ${BODY_MS / 1000} s, expected all of it`,
    hint: "Send it again",
    transient: true,
  });
}
