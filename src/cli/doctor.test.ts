import { describe, expect, test } from "bun:test";
import { type Clock, Failure, systemClock } from "#base";
import { startScriptedServer } from "#test-support/scripted-registry";
import type { CliContext } from "./context.ts";
import { clockCheck, type NetworkLooks } from "./doctor-network.ts";
import { type Check, examine, fine } from "./sign.ts";

const signal = new AbortController().signal;
const NOW_MS = Date.parse("2026-11-23T12:00:00Z");

/** What the clock check says on a machine whose clock shows this, of a registry that says the other. */
async function clockSign(nowMs: number, date?: string) {
  await using registry = await startScriptedServer(() => ({
    status: 401,
    headers: { Date: date ?? "no date" },
  }));
  const clock: Clock = { ...systemClock, now: () => nowMs };
  const context = { clock } as CliContext;
  const looks = { context, proxy: {}, registries: [registry.address] } as unknown as NetworkLooks;
  const [sign] = await clockCheck(looks).look(signal);
  return sign;
}

describe("the clock", () => {
  test.each([
    ["1970-01-01T00:00:10Z", "wrong"],
    ["2024-12-31T23:59:59Z", "wrong"],
    ["2101-01-01T00:00:00Z", "wrong"],
    ["2026-11-23T12:00:00Z", "ok"],
  ])("that says %s alone is %s", async (now, verdict) => {
    expect((await clockSign(Date.parse(now)))?.verdict).toBe(verdict as "ok");
  });

  test.each([
    [-4, "ok", ""],
    [4, "ok", ""],
    [-6, "wrong", "6m00s behind"],
    [90, "wrong", "1h30m ahead of"],
  ])("that is %i minutes off a registry's is %s", async (minutes, verdict, text) => {
    const date = new Date(NOW_MS).toUTCString();
    const sign = await clockSign(NOW_MS + minutes * 60_000, date);
    expect(sign).toMatchObject({ verdict, text: expect.stringContaining(text) });
  });
});

describe("examine()", () => {
  const check = (name: string, look: Check["look"]): Check => ({ name, look });

  test("gives the signs in the order of the checks, whichever is done first", async () => {
    const first = Promise.withResolvers<void>();
    const signs = await examine(
      [
        check("slow", async () => {
          await first.promise;
          return [fine("a")];
        }),
        check("fast", async () => {
          first.resolve();
          return [fine("b"), fine("c")];
        }),
      ],
      { signal },
    );
    expect(signs.map((sign) => `${sign.check} ${sign.text}`)).toEqual([
      "slow a",
      "fast b",
      "fast c",
    ]);
  });

  test("a look that does not end is a warning, and one that fails is wrong", async () => {
    const signs = await examine(
      [
        check("deaf", () => new Promise(() => undefined)),
        check("broken", async () => {
          throw new Failure({ code: "x", message: "Cannot", hint: "Try" });
        }),
      ],
      { signal },
      20,
    );
    expect(signs.map(({ check, verdict }) => [check, verdict])).toEqual([
      ["deaf", "warning"],
      ["broken", "wrong"],
    ]);
    expect(signs[1]?.remedy).toBe("Try");
  });

  test("a bug is no sign, and whoever gives up gets no answer", async () => {
    const bug = check("bug", () => Promise.reject(new TypeError("bug")));
    await expect(examine([bug], { signal })).rejects.toThrow(TypeError);
    const over = { signal: AbortSignal.abort(new Error("enough")) };
    await expect(examine([check("any", async () => [])], over)).rejects.toThrow("enough");
  });
});
