import { describe, expect, test } from "bun:test";
import type { Source } from "#content";
import { ANONYMOUS } from "#credential";
import type { Throttle } from "#remote";
import {
  blob,
  failureOf,
  fetchRange,
  fetchText,
  manifest,
  openRegistry,
  remoteWith,
  signal,
  sourceAt,
} from "#test-support/remote-world";
import {
  contentOf,
  type ScriptedContent,
  type ScriptedReply,
  servedContent,
  servedRange,
  startScriptedServer,
} from "#test-support/scripted-registry";
import { type Section, watchedBody } from "./body.ts";

const patience = { attempts: 1, firstMs: 1, maxMs: 1, headerTimeoutMs: 30_000, stallMs: 40 };
const large = contentOf("x".repeat(100_000));

const holds = (content: ScriptedContent) => () => servedContent(content);

describe("a body that", () => {
  test("trickles is given up, though there always is another byte (C-54)", async () => {
    await using registry = await startScriptedServer(() => ({
      ...servedContent(large),
      trickleBytes: 1,
    }));
    const source = sourceAt(registry.address, ANONYMOUS, remoteWith({ patience }));
    const failure = await failureOf(fetchText(source, large));
    expect(failure.message).toContain("sent next to nothing for 0.04 s");
    expect(failure.transient).toBe(true);
  });

  test("is slow and goes on takes as many windows as it needs", async () => {
    await using registry = await startScriptedServer(() => ({
      ...servedContent(large),
      trickleBytes: 200,
    }));
    // Long enough for a busy machine to send its next piece in time.
    const calm = { ...patience, stallMs: 200 };
    const source = sourceAt(registry.address, ANONYMOUS, remoteWith({ patience: calm }));
    const beganMs = performance.now();
    expect(await fetchText(source, large)).toBe(large.bytes.toString());
    expect(performance.now() - beganMs).toBeGreaterThan(2 * calm.stallMs);
  });

  test("waits for its reader, or for the budget, does not stall", async () => {
    await using registry = await startScriptedServer(holds(large));
    const pause = () => new Promise<void>((resolve) => setTimeout(resolve, 2 * patience.stallMs));
    let pauses = 0;
    const throttle: Throttle = {
      pieceBytesMax: 16 * 1024,
      async take() {
        pauses += 1;
        if (pauses < 3) await pause();
      },
    };
    const source = sourceAt(registry.address, ANONYMOUS, remoteWith({ patience, throttle }));
    const stream = await source.fetch(large.descriptor, { signal });
    await pause();
    expect(await new Response(stream).text()).toBe(large.bytes.toString());
  });
});

describe("the budget", () => {
  test("is asked for every byte of manifests and blobs, in small pieces, also for those read past", async () => {
    const taken: number[] = [];
    const throttle: Throttle = {
      pieceBytesMax: 16 * 1024,
      async take(bytes) {
        taken.push(bytes);
      },
    };
    const takenBytes = () => taken.splice(0).reduce((sum, bytes) => sum + bytes, 0);
    await using registry = await startScriptedServer((request) =>
      request.path.includes(large.descriptor.digest) ? servedContent(large) : openRegistry(request),
    );
    const source = sourceAt(registry.address, ANONYMOUS, remoteWith({ throttle }));
    await fetchText(source, manifest);
    expect(takenBytes()).toBe(manifest.descriptor.size);
    await fetchText(source, large);
    expect(Math.max(...taken)).toBeLessThanOrEqual(16 * 1024);
    expect(takenBytes()).toBe(large.descriptor.size);
    expect(await fetchRange(source, large, 99_990)).toBe("x".repeat(10));
    expect(takenBytes()).toBe(large.descriptor.size);
  });

  test("leaves no piece that its reader could not give back, also of what is read past", async () => {
    await using registry = await startScriptedServer(holds(large));
    const throttle: Throttle = { pieceBytesMax: 16 * 1024, take: async () => undefined };
    const source = sourceAt(registry.address, ANONYMOUS, remoteWith({ throttle }));
    const ranges = [undefined, { start: 10, end: large.bytes.byteLength }];
    for (const range of ranges) {
      const options = range === undefined ? { signal } : { signal, range };
      for await (const piece of await source.fetch(large.descriptor, options)) {
        expect(piece.byteLength).toBe(piece.buffer.byteLength);
      }
    }
  });

  test("that refuses ends the transfer with its reason", async () => {
    await using registry = await startScriptedServer(holds(large));
    const reason = new Error("not today");
    const throttle: Throttle = {
      pieceBytesMax: 16 * 1024,
      take: () => Promise.reject(reason),
    };
    const source = sourceAt(registry.address, ANONYMOUS, remoteWith({ throttle }));
    await expect(fetchText(source, large)).rejects.toBe(reason);
  });
});

test("a section that comes when nobody wants it any more is let go unread", async () => {
  const sectionOf = (body: ReadableStream<Uint8Array>) => ({
    answer: {
      ...{ status: 200, headers: new Headers(), url: new URL("http://registry.test") },
      ...{ asked: { subject: "it", host: "registry.test" }, body, signal },
    },
    sizeBytes: 2,
  });
  const wanted = Promise.withResolvers<void>();
  const following = Promise.withResolvers<Section>();
  const cancelled = Promise.withResolvers<string>();
  const first = sectionOf(new Blob(["ok"]).stream());
  const next = () => {
    wanted.resolve();
    return following.promise;
  };
  const reader = watchedBody(first, { stallMs: 30_000, next }).getReader();
  expect((await reader.read()).value?.byteLength).toBe(2);
  const pending = reader.read();
  await wanted.promise;
  await reader.cancel();
  const silent = new ReadableStream<Uint8Array>({ cancel: () => cancelled.resolve("let go") });
  following.resolve(sectionOf(silent));
  expect(await cancelled.promise).toBe("let go");
  expect((await pending).done).toBe(true);
});

describe("places on a registry's lane", () => {
  /** Time in which whoever is not held back has long asked the registry. */
  async function whileOthersCouldAsk(source: Source): Promise<void> {
    for (let i = 0; i < 20; i += 1) await source.resolve("1", { signal });
  }

  /** A registry, a source and four streams of it that hold all places. */
  async function fullRegistry() {
    const registry = await startScriptedServer((request) =>
      request.path.includes(large.descriptor.digest)
        ? servedRange(large, request)
        : openRegistry(request),
    );
    const remote = remoteWith();
    const source = sourceAt(registry.address, ANONYMOUS, remote);
    const callers = Array.from({ length: 4 }, () => new AbortController());
    const streams = await Promise.all(
      callers.map((caller) => source.fetch(large.descriptor, { signal: caller.signal })),
    );
    return { registry, remote, source, callers, streams };
  }

  test("are held by streams that are open, and manifests need none", async () => {
    const { registry, source, streams } = await fullRegistry();
    await using _ = registry;
    const fifth = fetchText(source);
    expect(await source.resolve("1", { signal })).toEqual(manifest.descriptor);
    expect(await fetchText(source, manifest)).toBe(manifest.bytes.toString());
    const asked = () =>
      registry.requests.filter(({ path }) => path.endsWith(blob.descriptor.digest));
    expect(asked()).toHaveLength(0);
    await streams[0]?.cancel();
    expect(await fifth).toBe("a layer");
    expect(asked()).toHaveLength(1);
  });

  test.each<[string, (world: Awaited<ReturnType<typeof fullRegistry>>) => unknown]>([
    ["was read to its end", ({ streams }) => new Response(streams[0]).text()],
    ["was cancelled", ({ streams }) => streams[0]?.cancel()],
    ["was aborted while nobody read it", ({ callers }) => callers[0]?.abort()],
  ])("are given back by a stream that %s", async (_, end) => {
    const world = await fullRegistry();
    await using _registry = world.registry;
    const fifth = fetchText(world.source);
    await end(world);
    expect(await fifth).toBe("a layer");
  });

  test("are given back by what could not be opened, and by a body that broke", async () => {
    await using registry = await startScriptedServer((_, number) =>
      number % 2 === 0 ? { status: 404 } : { ...servedContent(large), cutAfterBytes: 90_000 },
    );
    const source = sourceAt(registry.address);
    for (let i = 0; i < 12; i += 1) await failureOf(fetchText(source, large));
    expect(registry.requests).toHaveLength(12);
  });

  test("belong to the registry and not to who asks", async () => {
    const { registry, remote } = await fullRegistry();
    await using _ = registry;
    const other = sourceAt(registry.address, { ...ANONYMOUS, origin: "docker-config" }, remote);
    const caller = new AbortController();
    const waiting = other.fetch(blob.descriptor, { signal: caller.signal });
    await whileOthersCouldAsk(other);
    expect(registry.requests.filter(({ path }) => path.endsWith(blob.descriptor.digest))).toEqual(
      [],
    );
    const reason = new Error("given up");
    caller.abort(reason);
    await expect(waiting).rejects.toBe(reason);
  });

  test.each<[string, ScriptedReply]>([
    ["refused for now", { status: 503 }],
    ["hung up on a request", { hangs: "cut" }],
  ])("are half as many after the registry %s", async (_, trouble) => {
    await using registry = await startScriptedServer(({ path }, number) => {
      if (path.endsWith(large.descriptor.digest)) return servedContent(large);
      return number === 1 ? trouble : servedContent(manifest);
    });
    const source = sourceAt(registry.address);
    await source.resolve("1", { signal });
    const streams = [
      await source.fetch(large.descriptor, { signal }),
      await source.fetch(large.descriptor, { signal }),
    ];
    const third = fetchText(source, large);
    await whileOthersCouldAsk(source);
    const asked = () =>
      registry.requests.filter(({ path }) => path.endsWith(large.descriptor.digest));
    expect(asked()).toHaveLength(2);
    for (const stream of streams) await stream.cancel();
    await third;
    expect(asked()).toHaveLength(3);
  });
});
