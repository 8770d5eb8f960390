/**
 * States what must hold if the program is right. A broken assertion is a bug: it is never caught but
 * at the very edge, which reports it and exits.
 */
export function assert(condition: unknown, mustHold: string): asserts condition {
  if (!condition) throw new Error(`Broken assertion: ${mustHold}`);
}
