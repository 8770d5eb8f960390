import { expect, test } from "bun:test";
import { releaseChunk } from "#content";

test("releaseChunk() gives back what is a buffer of its own", () => {
  const chunk = new Uint8Array(1000);
  releaseChunk(chunk);
  expect(chunk.byteLength).toBe(0);
});

test("releaseChunk() leaves alone what is a part of a buffer, or shared with another thread", () => {
  const whole = new Uint8Array(1000).fill(7);
  releaseChunk(whole.subarray(0, 999));
  releaseChunk(whole.subarray(1));
  const shared = new Uint8Array(new SharedArrayBuffer(8));
  releaseChunk(shared);
  expect(whole).toEqual(new Uint8Array(1000).fill(7));
  expect(shared.byteLength).toBe(8);
});
