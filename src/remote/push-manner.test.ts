import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { PushManner } from "./push-manner.ts";
import type { Quirk } from "./quirks.ts";

const MIB = 1024 * 1024;
const HOST = "registry.example:5000";
const NOTHING = new Headers();

function calm(manner: PushManner, chunks: number): void {
  for (let i = 0; i < chunks; i += 1) manner.wentThrough(manner.chunkBytes);
}

describe("the size of chunks", () => {
  test("grows while they go through, up to a limit", () => {
    const manner = new PushManner(HOST);
    const sizes = [manner.chunkBytes];
    for (let i = 0; i < 4; i += 1) {
      calm(manner, 1);
      sizes.push(manner.chunkBytes);
    }
    expect(sizes.map((bytes) => bytes / MIB)).toEqual([16, 32, 64, 64, 64]);
  });

  test("falls below what a connection carried when it is cut", () => {
    const manner = new PushManner(HOST);
    expect(manner.wasCut(4 * MIB)).toBe(true);
    expect(manner.chunkBytes).toBe(3 * MIB);
    expect(manner.isFragile).toBe(true);
    expect(manner.wasCut(0)).toBe(true);
    expect(manner.wasCut(0)).toBe(false);
    expect(manner.chunkBytes).toBe(256 * 1024);
  });

  test("is tried larger after a cut only when an upload begins, and rarer each time it fails", () => {
    const manner = new PushManner(HOST);
    manner.wasCut(4 * MIB);
    calm(manner, 7);
    manner.met(NOTHING);
    expect(manner.chunkBytes).toBe(3 * MIB);
    calm(manner, 1);
    expect(manner.chunkBytes).toBe(3 * MIB);
    manner.met(NOTHING);
    expect(manner.chunkBytes).toBe(6 * MIB);
    manner.wasCut(4 * MIB);
    expect(manner.chunkBytes).toBe(3 * MIB);
    calm(manner, 15);
    manner.met(NOTHING);
    expect(manner.chunkBytes).toBe(3 * MIB);
    calm(manner, 1);
    manner.met(NOTHING);
    expect(manner.chunkBytes).toBe(6 * MIB);
  });

  test("is what the registry asks for, when that can be believed (C-107)", () => {
    const manner = new PushManner(HOST);
    manner.wasCut(MIB);
    manner.met(new Headers({ "OCI-Chunk-Min-Length": String(10 * MIB) }));
    expect(manner.chunkBytes).toBe(10 * MIB);
    manner.met(new Headers({ "OCI-Chunk-Min-Length": "9007199254740991" }));
    expect(manner.chunkBytes).toBe(64 * MIB);
    manner.met(new Headers({ "OCI-Chunk-Min-Length": "-1" }));
    manner.met(new Headers({ "OCI-Chunk-Min-Length": "many" }));
    expect(manner.chunkBytes).toBe(64 * MIB);
  });

  test("lies within the limits of the host, whatever happens (property)", () => {
    const event = fc.oneof(
      fc.nat(128 * MIB).map((bytes) => (m: PushManner) => void m.wasCut(bytes)),
      fc.constant((m: PushManner) => m.wentThrough(m.chunkBytes)),
      fc.constant((m: PushManner) => m.met(NOTHING)),
      fc.nat(64 * MIB).map((bytes) => (m: PushManner) => void m.refusedChunkSize(bytes)),
      fc.nat(64 * MIB).map((bytes) => (m: PushManner) => void m.refusedWhole(bytes)),
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), (events) => {
        const manner = new PushManner("team.azurecr.io");
        for (const act of events) {
          act(manner);
          expect(manner.chunkBytes).toBeGreaterThanOrEqual(256 * 1024);
          expect(manner.chunkBytes).toBeLessThanOrEqual(16 * MIB);
        }
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});

describe("a blob goes whole", () => {
  const hosts: readonly (readonly [host: string, bytes: number, isWhole: boolean])[] = [
    [HOST, 16 * MIB, true],
    [HOST, 16 * MIB + 1, false],
    ["europe-docker.pkg.dev", 5_000 * MIB, true],
    ["eu.gcr.io", 5_000 * MIB, true],
    ["ghcr.io:443", 5_000 * MIB, true],
    ["team.azurecr.io", 16 * MIB, true],
    ["team.azurecr.io", 16 * MIB + 1, false],
    ["123456789012.dkr.ecr.eu-west-1.amazonaws.com", 20 * MIB + 1, false],
    ["notgcr.io", 17 * MIB, false],
  ];
  test.each(hosts)("to %s, of %i bytes: %p", (host, bytes, isWhole) => {
    expect(new PushManner(host).goesWhole(bytes)).toBe(isWhole);
  });

  test("to who is known by a header", () => {
    const manner = new PushManner(HOST);
    manner.met(new Headers({ "X-JFrog-Version": "Artifactory/7.1" }));
    expect(manner.goesWhole(5_000 * MIB)).toBe(true);
  });

  test("to who took no chunks, and in chunks to who took it not whole", () => {
    const manner = new PushManner(HOST);
    manner.refusedChunks();
    expect(manner.goesWhole(5_000 * MIB)).toBe(true);
    expect(manner.refusedWhole(5_000 * MIB)).toBe(false);
    const other = new PushManner(HOST);
    expect(other.refusedWhole(10 * MIB)).toBe(true);
    expect(other.goesWhole(10 * MIB)).toBe(false);
    expect(other.chunkBytes).toBe(5 * MIB);
  });

  test("as a quirk of one's own says, before those that are known", () => {
    const quirk: Quirk = { name: "mine", host: /gcr\.io$/, habit: { takes: "chunks" } };
    expect(new PushManner("gcr.io", [quirk]).goesWhole(17 * MIB)).toBe(false);
  });
});
