import { describe, expect, test } from "bun:test";
import { startListener } from "#test-support/listener";
import { signal } from "#test-support/remote-world";
import { Connection } from "./connection.ts";
import { type ConnectionNeed, ConnectionPool, type TakenConnection } from "./connection-pool.ts";
import { Endurance } from "./endurance.ts";

const need: ConnectionNeed = { url: new URL("http://registry.test/"), trust: {}, signal };

/** A pool whose connections are there when the test says so. */
async function openPool() {
  const listener = await startListener();
  const opening: PromiseWithResolvers<Connection>[] = [];
  let nowMs = 0;
  const open = ({ signal: given }: { readonly signal: AbortSignal }) => {
    const one = Promise.withResolvers<Connection>();
    one.promise.catch(() => undefined);
    given.addEventListener("abort", () => one.reject(given.reason));
    opening.push(one);
    return one.promise;
  };
  const pool = new ConnectionPool(open, () => nowMs);
  return {
    pool,
    opening,
    passMs: (ms: number) => {
      nowMs += ms;
    },
    connection: () =>
      new Promise<Connection>((resolve) => {
        const socket = listener.connect().once("connect", () => resolve(new Connection(socket)));
      }),
    async [Symbol.asyncDispose]() {
      pool.close();
      await listener[Symbol.asyncDispose]();
    },
  };
}

/** Nothing of a connection is compared but whether it is the one. */
const facts = ({ connection, isFresh }: TakenConnection, expected: Connection) => ({
  isExpected: connection === expected,
  isFresh,
});

describe("a request that waits for a connection", () => {
  test("takes what another gives back first, and leaves its own to the next", async () => {
    await using world = await openPool();
    const { pool, opening } = world;
    const [used, own] = [await world.connection(), await world.connection()];
    const waiting = pool.take(need);
    pool.giveBack(used, need);
    expect(facts(await waiting, used)).toEqual({ isExpected: true, isFresh: false });
    opening[0]?.resolve(own);
    await opening[0]?.promise;
    expect(facts(await pool.take(need), own)).toEqual({ isExpected: true, isFresh: false });
    expect(opening.length).toBe(1);
  });

  test("takes its own when that is there first, and what comes later rests", async () => {
    await using world = await openPool();
    const { pool, opening } = world;
    const [used, own] = [await world.connection(), await world.connection()];
    const waiting = pool.take(need);
    opening[0]?.resolve(own);
    expect(facts(await waiting, own)).toEqual({ isExpected: true, isFresh: true });
    pool.giveBack(used, need);
    expect(facts(await pool.take(need), used)).toEqual({ isExpected: true, isFresh: false });
  });

  test.each<[string, Partial<ConnectionNeed>]>([
    ["that leads elsewhere", { url: new URL("http://other.test/") }],
    ["that trusts others", { trust: { rejectUnauthorized: false } }],
  ])("takes none %s", async (_, other) => {
    await using world = await openPool();
    const { pool, opening } = world;
    const [used, own] = [await world.connection(), await world.connection()];
    const waiting = pool.take(need);
    pool.giveBack(used, { ...need, ...other });
    opening[0]?.resolve(own);
    expect((await waiting).connection).toBe(own);
  });

  test("takes none that would break under its load", async () => {
    await using world = await openPool();
    const { pool, opening } = world;
    const [used, own] = [await world.connection(), await world.connection()];
    const endurance = new Endurance();
    endurance.broke(1_000_000, 2_000_000);
    const waiting = pool.take({ ...need, load: { bytes: 5_000_000, endurance, isSmall: false } });
    pool.giveBack(used, need);
    opening[0]?.resolve(own);
    expect((await waiting).connection).toBe(own);
    // What it had no use for rests.
    expect((await pool.take(need)).connection).toBe(used);
  });

  test("takes what was opened for another that was served meanwhile, and is fresh", async () => {
    await using world = await openPool();
    const { pool, opening } = world;
    const [used, own] = [await world.connection(), await world.connection()];
    const [first, second] = [pool.take(need), pool.take(need)];
    pool.giveBack(used, need);
    opening[1]?.resolve(own);
    expect(facts(await first, used)).toEqual({ isExpected: true, isFresh: false });
    expect(facts(await second, own)).toEqual({ isExpected: true, isFresh: true });
  });

  test("opens none where one was prepared", async () => {
    await using world = await openPool();
    const { pool, opening } = world;
    pool.prepare(need);
    const waiting = pool.take(need);
    const prepared = await world.connection();
    opening[0]?.resolve(prepared);
    expect((await waiting).connection).toBe(prepared);
    expect(opening.length).toBe(1);
  });

  test("that is given up ends the opening that took longest, unless another waits for it", async () => {
    await using world = await openPool();
    const { pool, opening } = world;
    const [caller, other] = [new AbortController(), new AbortController()];
    const waiting = pool.take({ ...need, signal: caller.signal });
    const waitingOn = pool.take({ ...need, signal: other.signal });
    caller.abort(new Error("given up"));
    await expect(waiting).rejects.toThrow("given up");
    await expect(opening[0]?.promise).rejects.toThrow();
    const own = await world.connection();
    opening[1]?.resolve(own);
    expect((await waitingOn).connection).toBe(own);
  });

  test("does not count on what has tried in vain for a while", async () => {
    await using world = await openPool();
    const { pool, opening } = world;
    pool.prepare(need);
    world.passMs(1_000);
    const first = pool.take(need);
    expect(opening.length).toBe(1);
    world.passMs(1);
    const second = pool.take(need);
    expect(opening.length).toBe(2);
    const [own, other] = [await world.connection(), await world.connection()];
    opening[1]?.resolve(own);
    opening[0]?.resolve(other);
    expect((await first).connection).toBe(own);
    expect((await second).connection).toBe(other);
  });

  test("does not count on what was given up", async () => {
    await using world = await openPool();
    const { pool, opening } = world;
    const caller = new AbortController();
    const waiting = pool.take({ ...need, signal: caller.signal });
    caller.abort(new Error("given up"));
    const next = pool.take(need);
    await expect(waiting).rejects.toThrow("given up");
    const own = await world.connection();
    opening[1]?.resolve(own);
    expect((await next).connection).toBe(own);
  });

  test("finds nothing that was being opened when the pool was closed", async () => {
    await using world = await openPool();
    const { pool, opening } = world;
    pool.prepare(need);
    pool.close();
    await expect(opening[0]?.promise).rejects.toThrow();
  });

  test("fails with what its own fails with, unless it was served before", async () => {
    await using world = await openPool();
    const { pool, opening } = world;
    const [failing, served] = [pool.take(need), pool.take(need)];
    opening[0]?.reject(new Error("no way"));
    await expect(failing).rejects.toThrow("no way");
    const used = await world.connection();
    pool.giveBack(used, need);
    opening[1]?.reject(new Error("no way"));
    expect((await served).connection).toBe(used);
  });
});
