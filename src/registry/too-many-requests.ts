import { WireError } from "./wire.ts";

/** An answer that says when to come again, in whole seconds (S-57). */
export function tooManyRequests(message: string, waitMs: number): WireError {
  const seconds = Math.max(1, Math.ceil(waitMs / 1000));
  return new WireError("TOOMANYREQUESTS", message, { "retry-after": String(seconds) });
}
