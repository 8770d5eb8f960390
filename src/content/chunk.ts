/**
 * Gives the memory of a chunk back at once. Whoever owns it and has done with it may call this, and
 * must not touch it afterwards. Otherwise it waits for the garbage collector, which sees a hundred
 * bytes where there are half a million: transfers of gigabytes then take twice the memory, and are
 * slower by the cost of clearing ever new pages (measured).
 */
export function releaseChunk({ buffer, byteLength }: Uint8Array): void {
  // A part of a buffer: the rest may be somebody else's. Nothing is what was given back before.
  if (byteLength !== buffer.byteLength || byteLength === 0) return;
  if (buffer instanceof ArrayBuffer) buffer.transfer(0);
}
