import { describe, expect, test } from "bun:test";
import { startListener } from "#test-support/listener";
import { signal } from "#test-support/remote-world";
import { Connection } from "./connection.ts";
import { type ConnectionNeed, ConnectionPool } from "./connection-pool.ts";
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
  const connection = () =>
    new Promise<Connection>((resolve) => {
      const socket = listener.connect().once("connect", () => resolve(new Connection(socket)));
    });
  return {
    pool,
    opening,
    passMs: (ms: number) => {
      nowMs += ms;
    },
    connection,
    /** One that has carried something before. */
    async used() {
      const one = await connection();
      one.write("anything");
      await one.read();
      return one;
    },
    async [Symbol.asyncDispose]() {
      pool.close();
      await listener[Symbol.asyncDispose]();
    },
  };
}

describe("a request that waits for a connection", () => {
  test("takes what another gives back first, and leaves its own to the next", async () => {
    await using world = await openPool();
    const { pool, opening } = world;
    const [used, own] = [await world.used(), await world.connection()];
    const waiting = pool.take(need);
    pool.giveBack(used, need);
    expect(await waiting).toBe(used);
    opening[0]?.resolve(own);
    await opening[0]?.promise;
    expect(await pool.take(need)).toBe(own);
    expect(opening.length).toBe(1);
  });

  test("takes its own when that is there first, and what comes later rests", async () => {
    await using world = await openPool();
    const { pool, opening } = world;
    const [used, own] = [await world.used(), await world.connection()];
    const waiting = pool.take(need);
    opening[0]?.resolve(own);
    expect(await waiting).toBe(own);
    pool.giveBack(used, need);
    expect(await pool.take(need)).toBe(used);
  });

  test.each<[string, Partial<ConnectionNeed>]>([
    ["that leads elsewhere", { url: new URL("http://other.test/") }],
    ["that trusts others", { trust: { rejectUnauthorized: false } }],
  ])("takes none %s", async (_, other) => {
    await using world = await openPool();
    const { pool, opening } = world;
    const [used, own] = [await world.used(), await world.connection()];
    const waiting = pool.take(need);
    pool.giveBack(used, { ...need, ...other });
    opening[0]?.resolve(own);
    expect(await waiting).toBe(own);
  });

  test("takes none that would break under its load", async () => {
    await using world = await openPool();
    const { pool, opening } = world;
    const [used, own] = [await world.used(), await world.connection()];
    const endurance = new Endurance();
    endurance.broke(1_000_000, 2_000_000);
    const waiting = pool.take({ ...need, load: { bytes: 5_000_000, endurance, isSmall: false } });
    pool.giveBack(used, need);
    opening[0]?.resolve(own);
    expect(await waiting).toBe(own);
    // What it had no use for rests.
    expect(await pool.take(need)).toBe(used);
  });

  test("takes what was opened for another that was served meanwhile, and is fresh", async () => {
    await using world = await openPool();
    const { pool, opening } = world;
    const [used, own] = [await world.used(), await world.connection()];
    const [first, second] = [pool.take(need), pool.take(need)];
    pool.giveBack(used, need);
    opening[1]?.resolve(own);
    expect(await first).toBe(used);
    expect(await second).toBe(own);
  });

  test("opens none where one was prepared", async () => {
    await using world = await openPool();
    const { pool, opening } = world;
    pool.prepare(need);
    const waiting = pool.take(need);
    const prepared = await world.connection();
    opening[0]?.resolve(prepared);
    expect(await waiting).toBe(prepared);
    expect(opening.length).toBe(1);
  });

  test("takes one that was prepared whatever its load: no other would bear more", async () => {
    await using world = await openPool();
    const { pool, opening } = world;
    const endurance = new Endurance();
    endurance.broke(1_000_000, 2_000_000);
    pool.prepare(need);
    const prepared = await world.connection();
    opening[0]?.resolve(prepared);
    await opening[0]?.promise;
    const load = { bytes: 5_000_000, endurance, isSmall: false };
    expect(await pool.take({ ...need, load })).toBe(prepared);
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
    expect(await waitingOn).toBe(own);
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
    expect(await first).toBe(own);
    expect(await second).toBe(other);
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
    expect(await next).toBe(own);
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
    const used = await world.used();
    pool.giveBack(used, need);
    opening[1]?.reject(new Error("no way"));
    expect(await served).toBe(used);
  });
});
