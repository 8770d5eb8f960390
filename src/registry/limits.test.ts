import { expect, test } from "bun:test";
import { createManualClock } from "#test-support/clock";
import { openAccess } from "./access.ts";
import { limitRequests } from "./limits.ts";
import { WireError } from "./wire.ts";

const clock = createManualClock();
const request = new Request("http://registry.test/v2/");
const limited = () => limitRequests(openAccess, { clock, perSecond: 0.5 });

async function refusal(act: Promise<unknown>): Promise<WireError | undefined> {
  try {
    await act;
    return undefined;
  } catch (error) {
    if (error instanceof WireError) return error;
    throw error;
  }
}

test("a client that asks too often is told when to come again, and others are served", async () => {
  const access = limited();
  const ask = (client: string) => refusal(access.authenticate(request, client));
  expect([await ask("10.0.0.1"), await ask("10.0.0.1")]).toEqual([undefined, undefined]);
  const refused = await ask("10.0.0.1");
  expect(refused?.code).toBe("TOOMANYREQUESTS");
  expect(refused?.headers["retry-after"]).toBe("2");
  expect(await ask("10.0.0.2")).toBeUndefined();
  clock.advance(2_000);
  expect(await ask("10.0.0.1")).toBeUndefined();
});

test("who is on this machine may ask as often as they like", async () => {
  const access = limited();
  for (const client of ["127.0.0.1", "::1"]) {
    for (let i = 0; i < 1000; i += 1) await access.authenticate(request, client);
  }
});

test("a node that pulls everything at once is not refused by default", async () => {
  const access = limitRequests(openAccess, { clock });
  for (let i = 0; i < 2000; i += 1) await access.authenticate(request, "10.0.0.1");
});

test("a limit changes nothing else of an access", () => {
  const { hasUsers, challenge, demand } = limited();
  expect({ hasUsers, challenge }).toEqual({ hasUsers: false, challenge: null });
  demand({ user: null }, "push", "a");
});
