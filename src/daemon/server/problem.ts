import { Failure, isFailure } from "#base";
import { type Answer, jsonAnswer } from "./answer.ts";

/** What went wrong with a request, in the status that HTTP has for it; any other failure is a 500. */
const STATUS: Readonly<Record<string, number>> = {
  "request-invalid": 400,
  "login-required": 401,
  "login-failed": 401,
  "role-missing": 403,
  "cross-site": 403,
  "not-found": 404,
  "revision-missing": 404,
  "image-unknown": 404,
  "method-not-allowed": 405,
  "body-slow": 408,
  "action-refused": 409,
  "body-too-large": 413,
  "media-type": 415,
  "host-unknown": 421,
  "logins-too-many": 429,
  "readers-too-many": 503,
  "store-busy": 503,
  "store-full": 507,
};

/** The codes of failures that are answered with another status than 500. */
export const PROBLEM_CODES: readonly string[] = Object.keys(STATUS);

/**
 * Any error as an answer: `{"error": {code, message, hint}}`. Of a fault in this program nothing is told
 * but that it is one: its message may hold anything.
 */
export function problemAnswer(error: unknown, challenge: string): Answer {
  const { code, message, hint, retryAfterMs } = isFailure(error) ? error : INTERNAL;
  const status = STATUS[code] ?? 500;
  return jsonAnswer({ error: { code, message, hint } }, status, {
    ...(status === 401 ? { "www-authenticate": challenge } : {}),
    ...(retryAfterMs === undefined
      ? {}
      : { "retry-after": String(Math.max(1, Math.ceil(retryAfterMs / 1000))) }),
  });
}

const INTERNAL = new Failure({
  code: "internal-error",
  message: "Cannot answer: the agent has a fault of its own, expected none",
  hint: "Report it with the log of the agent",
});

/** A request that is not understood; the hint says what is. */
export function invalidRequest(message: string, hint: string): Failure {
  return new Failure({ code: "request-invalid", message, hint });
}
