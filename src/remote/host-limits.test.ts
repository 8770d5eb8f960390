import { describe, expect, test } from "bun:test";
import { ANONYMOUS } from "#credential";
import type { RemoteNotice, RemoteWait } from "#remote";
import { createManualClock } from "#test-support/clock";
import {
  failureOf,
  fetchText,
  manifest,
  openRegistry,
  remoteWith,
  signal,
  sourceAt,
} from "#test-support/remote-world";
import { type ScriptedReply, startScriptedServer } from "#test-support/scripted-registry";

/** A client that notes when it waits, and the time that only its waiting moves. */
function createWorld() {
  const clock = createManualClock();
  const waits: RemoteWait[] = [];
  const notices: RemoteNotice[] = [];
  const remote = remoteWith({
    clock,
    onWait: (wait) => waits.push(wait),
    onNotice: (notice) => notices.push(notice),
  });
  return { clock, waits, notices, remote };
}

const busy = (seconds: string, status = 429): ScriptedReply => ({
  status,
  headers: { "Retry-After": seconds },
});

describe("a host that asks to be left alone", () => {
  test.each([429, 503])(
    "with %d is asked by nobody meanwhile, and the wait is told",
    async (status) => {
      const { clock, waits, remote } = createWorld();
      const beganMs = clock.now();
      const askedAtMs: number[] = [];
      await using registry = await startScriptedServer((request, number) => {
        askedAtMs.push(clock.now() - beganMs);
        return number === 1 ? busy("20", status) : openRegistry(request);
      });
      // Two clients of one host, who know nothing of each other.
      const one = sourceAt(registry.address, ANONYMOUS, remote);
      const other = sourceAt(registry.address, { ...ANONYMOUS, origin: "docker-config" }, remote);
      const refused = one.resolve("1", { signal, patience: "brief" });
      expect((await failureOf(refused)).retryAfterMs).toBe(20_000);
      expect(await other.resolve("1", { signal })).toEqual(manifest.descriptor);
      expect(await fetchText(one)).toBe("a layer");
      expect(askedAtMs).toEqual([0, 20_000, 20_000]);
      expect(waits).toEqual([
        { registry: registry.address, untilMs: beganMs + 20_000, reason: `it answered ${status}` },
      ]);
    },
  );

  test("is asked at once when the wait is over, or was never one (C-51)", async () => {
    for (const seconds of ["soon", "0", "Thu, 01 Jan 1970 00:00:00 GMT"]) {
      const { clock, waits, remote } = createWorld();
      await using registry = await startScriptedServer((request, number) =>
        number === 1 ? busy(seconds) : openRegistry(request),
      );
      await sourceAt(registry.address, ANONYMOUS, remote).resolve("1", { signal });
      await fetchText(sourceAt(registry.address, ANONYMOUS, remote));
      // Only the back-off of the request itself.
      expect([seconds, clock.sleeps.length, waits]).toEqual([seconds, 1, []]);
    }
  });

  test("for hours is not waited for by anybody: all learn how long (C-52)", async () => {
    const { clock, waits, remote } = createWorld();
    await using registry = await startScriptedServer((request, number) =>
      number === 1 ? busy("7200") : openRegistry(request),
    );
    const source = sourceAt(registry.address, ANONYMOUS, remote);
    for (let i = 0; i < 3; i += 1) {
      const failure = await failureOf(fetchText(source));
      expect([failure.code, failure.transient]).toEqual(["registry-rate-limited", true]);
      expect(failure.retryAfterMs).toBe(7_200_000);
    }
    expect([registry.requests.length, clock.sleeps.length, waits.length]).toEqual([1, 0, 1]);
    clock.advance(7_200_000);
    expect(await fetchText(source)).toBe("a layer");
  });

  test("is not waited for by who has something to stand on", async () => {
    const { clock, remote } = createWorld();
    await using registry = await startScriptedServer(() => busy("20"));
    const source = sourceAt(registry.address, ANONYMOUS, remote);
    for (let i = 0; i < 3; i += 1) {
      const failure = await failureOf(source.resolve("1", { signal, patience: "brief" }));
      expect([failure.code, failure.transient]).toEqual(["registry-rate-limited", true]);
    }
    expect([registry.requests.length, clock.sleeps]).toEqual([1, []]);
  });

  test("holds up no other host, and not the registry that redirected to it", async () => {
    const { remote } = createWorld();
    await using storage = await startScriptedServer(() => busy("7200", 503));
    await using registry = await startScriptedServer((request) =>
      request.path.includes("/blobs/")
        ? { status: 307, headers: { Location: `${storage.url}/object` } }
        : openRegistry(request),
    );
    const source = sourceAt(registry.address, ANONYMOUS, remote);
    const failure = await failureOf(fetchText(source));
    expect(failure.retryAfterMs).toBe(7_200_000);
    expect(await source.resolve("1", { signal })).toEqual(manifest.descriptor);
    expect((await failureOf(fetchText(source))).message).toContain(storage.address);
    expect(storage.requests).toHaveLength(1);
  });

  test("that is waited for by a caller who gives up ends with the caller's reason", async () => {
    const reason = new Error("given up");
    const caller = new AbortController();
    const clock = createManualClock();
    const remote = remoteWith({
      clock: {
        ...clock,
        sleep: async (ms, given) => {
          caller.abort(reason);
          await clock.sleep(ms, given);
        },
      },
    });
    await using registry = await startScriptedServer(() => busy("20"));
    const source = sourceAt(registry.address, ANONYMOUS, remote);
    await failureOf(source.resolve("1", { signal, patience: "brief" }));
    await expect(source.resolve("1", { signal: caller.signal })).rejects.toBe(reason);
    expect(registry.requests).toHaveLength(1);
  });
});

describe("a quota", () => {
  test("is told when little is left of it, once each time (C-52)", async () => {
    const { notices, remote } = createWorld();
    let left = "100;w=21600";
    await using registry = await startScriptedServer((request) => {
      const quota = { "RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": left };
      const reply = openRegistry(request);
      return reply && { ...reply, headers: { ...reply.headers, ...quota } };
    });
    const source = sourceAt(registry.address, ANONYMOUS, remote);
    for (left of ["76;w=21600", "11", "10;w=21600", "9", "0", "x", "", "80", "3"]) {
      await source.resolve("1", { signal });
    }
    expect(notices.map(({ message }) => message)).toEqual([
      "it allows 10 of 100 more requests for now; a credential may have a higher limit",
      "it allows 3 of 100 more requests for now; a credential may have a higher limit",
    ]);
  });

  test("of unknown size is told when ten requests are left", async () => {
    const { notices, remote } = createWorld();
    let left = "11";
    await using registry = await startScriptedServer((request) => {
      const reply = openRegistry(request);
      return reply && { ...reply, headers: { ...reply.headers, "ratelimit-remaining": left } };
    });
    const source = sourceAt(registry.address, ANONYMOUS, remote);
    await source.resolve("1", { signal });
    left = "10";
    await source.resolve("1", { signal });
    expect(notices.map(({ message }) => message)).toEqual([
      "it allows 10 more requests for now; a credential may have a higher limit",
    ]);
  });
});
