import { describe, expect, test } from "bun:test";
import { systemClock } from "#base";
import { ANONYMOUS } from "#credential";
import { parseReference } from "#reference";
import type { RemoteNotice } from "#remote";
import { createManualClock } from "#test-support/clock";
import {
  basicChallenge,
  blob,
  failureOf,
  fetchText,
  manifest,
  openRegistry,
  remoteWith,
  signal,
  sourceAt,
} from "#test-support/remote-world";
import { startScriptedServer } from "#test-support/scripted-registry";

describe("retrying", () => {
  test.each([408, 429, 499, 500, 502, 503, 504, 522])(
    "%d is tried again (C-50)",
    async (status) => {
      await using registry = await startScriptedServer((request, number) =>
        number < 3 ? { status } : openRegistry(request),
      );
      expect(await fetchText(sourceAt(registry.address))).toBe("a layer");
      expect(registry.requests).toHaveLength(3);
    },
  );

  test.each([
    [400, "registry-error"],
    [403, "registry-denied"],
    [404, "content-missing"],
    [405, "registry-error"],
    [416, "registry-error"],
    [206, "registry-error"],
    [204, "registry-error"],
  ])("%d is final, and %s", async (status, code) => {
    await using registry = await startScriptedServer(() => ({ status }));
    const failure = await failureOf(sourceAt(registry.address).fetch(blob.descriptor, { signal }));
    expect([failure.code, failure.transient]).toEqual([code, false]);
    expect(registry.requests).toHaveLength(1);
  });

  test("patience ends, with the last failure and the number of attempts", async () => {
    await using registry = await startScriptedServer(() => ({ status: 503 }));
    const failure = await failureOf(sourceAt(registry.address).fetch(blob.descriptor, { signal }));
    expect([failure.code, failure.transient]).toEqual(["registry-error", true]);
    expect(failure.message).toEndWith("expected 200 (5 attempts)");
    expect(registry.requests).toHaveLength(5);
  });

  test("Retry-After is waited for, and a wait of hours is the caller's (C-51, C-52)", async () => {
    let seconds = "7";
    const manual = createManualClock();
    await using registry = await startScriptedServer(() => ({
      status: 429,
      headers: { "Retry-After": seconds },
    }));
    const source = sourceAt(registry.address, ANONYMOUS, remoteWith({ clock: manual }));
    await failureOf(source.fetch(blob.descriptor, { signal }));
    expect(manual.sleeps).toEqual([7000, 7000, 7000, 7000]);
    seconds = "7200";
    const failure = await failureOf(source.fetch(blob.descriptor, { signal }));
    expect([failure.code, failure.retryAfterMs]).toEqual(["registry-rate-limited", 7_200_000]);
    // The wait before it was the rest of what the last answer had asked for.
    expect(manual.sleeps).toEqual([7000, 7000, 7000, 7000, 7000]);
  });
});

describe("a host that cannot be reached", () => {
  const patience = { attempts: 3, firstMs: 10, maxMs: 10, headerTimeoutMs: 20, stallMs: 20 };

  test("costs one wait for all concurrent calls, and none for half a minute after", async () => {
    const manual = createManualClock();
    const remote = remoteWith({ clock: manual, patience });
    const reference = parseReference("127.0.0.1:1/team/app:1");
    const calls = Array.from({ length: 20 }, () =>
      failureOf(remote.repository(reference, ANONYMOUS).resolve("1", { signal })),
    );
    const failures = await Promise.all(calls);
    expect(new Set(failures).size).toBe(1);
    expect(failures[0]?.code).toBe("registry-unreachable");
    expect(failures[0]?.message).toContain("refused the connection");
    expect(manual.sleeps).toHaveLength(2);
    manual.advance(29_999);
    await failureOf(remote.repository(reference, ANONYMOUS).resolve("1", { signal }));
    expect(manual.sleeps).toHaveLength(2);
    manual.advance(1);
    await failureOf(remote.repository(reference, ANONYMOUS).resolve("1", { signal }));
    expect(manual.sleeps).toHaveLength(4);
  });

  test("a host that accepts and says nothing is unreachable too", async () => {
    await using registry = await startScriptedServer(() => ({ hangs: "headers" }));
    const remote = remoteWith({ patience });
    const reference = parseReference(`${registry.address}/team/app:1`);
    const resolve = () =>
      failureOf(remote.repository(reference, ANONYMOUS).resolve("1", { signal }));
    expect((await resolve()).message).toContain("did not answer (0.02 s)");
    const asked = registry.requests.length;
    await resolve();
    expect(registry.requests).toHaveLength(asked);
  });

  test("a name without address says so", async () => {
    const failure = await failureOf(
      sourceAt("no-such-host.invalid", ANONYMOUS, remoteWith({ patience })).resolve("1", {
        signal,
      }),
    );
    expect(failure.message).toContain("has no address (ENOTFOUND)");
  });

  test("a host that answers at all, if only 503, holds up nobody who waits for it", async () => {
    const { promise: waited, resolve: endWait } = Promise.withResolvers<void>();
    const remote = remoteWith({ clock: { ...createManualClock(), sleep: () => waited } });
    await using registry = await startScriptedServer((request, number) =>
      number === 1 ? { status: 503 } : openRegistry(request),
    );
    const first = sourceAt(registry.address, ANONYMOUS, remote).resolve("1", { signal });
    const second = sourceAt(registry.address, ANONYMOUS, remote).resolve("1", { signal });
    expect(await second).toEqual(manifest.descriptor);
    endWait();
    expect(await first).toEqual(manifest.descriptor);
  });

  test("a host that wants what we don't have lets those who waited ask all at once", async () => {
    const { promise: allAsked, resolve: tell } = Promise.withResolvers<void>();
    await using registry = await startScriptedServer((_, number) => {
      if (number === 5) tell();
      return number === 1 ? basicChallenge : { hangs: "headers" };
    });
    const remote = remoteWith();
    const caller = new AbortController();
    const failures = Array.from({ length: 5 }, (_, i) => {
      const source = sourceAt(registry.address, ANONYMOUS, remote);
      return source.resolve(`v${i}`, { signal: caller.signal }).catch((error: unknown) => error);
    });
    expect(await failures[0]).toMatchObject({ code: "registry-unauthorized" });
    await allAsked;
    caller.abort(new Error("given up"));
    await Promise.all(failures);
  });

  test("one caller's abort ends neither the search nor the others' wait", async () => {
    await using registry = await startScriptedServer(openRegistry);
    const remote = remoteWith();
    const first = new AbortController();
    const source = sourceAt(registry.address, ANONYMOUS, remote);
    const given = source.resolve("1", { signal: first.signal });
    const waiting = source.resolve("1", { signal });
    first.abort(new Error("given up"));
    await expect(given).rejects.toThrow("given up");
    expect(await waiting).toEqual(manifest.descriptor);
  });
});

describe("notices", () => {
  test("warnings of a registry are passed on once, made safe (C-164, SEC-24)", async () => {
    await using registry = await startScriptedServer((request) => {
      const reply = openRegistry(request);
      const warning = {
        Warning: ['299 - "moves, soon"', '299 - "a \\"quote\\""', '199 - "not this"'],
      };
      return reply && { ...reply, headers: { ...reply.headers, ...warning } };
    });
    const notices: RemoteNotice[] = [];
    const remote = remoteWith({ onNotice: (notice) => notices.push(notice) });
    const source = sourceAt(registry.address, ANONYMOUS, remote);
    await source.resolve("1", { signal });
    await source.resolve("1", { signal });
    expect(notices.map(({ message }) => message)).toEqual(["moves, soon", 'a "quote"']);
  });
});

test("headers without end are refused (SEC-8)", async () => {
  await using registry = await startScriptedServer(() => ({
    body: blob.bytes,
    headers: { "X-Long": "x".repeat(70_000) },
  }));
  const failure = await failureOf(sourceAt(registry.address).fetch(blob.descriptor, { signal }));
  expect(failure.code).toBe("registry-protocol");
});

test("with the system's clock a request needs no waiting", async () => {
  await using registry = await startScriptedServer(openRegistry);
  const remote = remoteWith({ clock: systemClock });
  expect(await fetchText(sourceAt(registry.address, ANONYMOUS, remote))).toBe("a layer");
  remote.close();
});
