import { describe, expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { type ApiWorld, serveAgentApi } from "#test-support/api-world";
import { createEventClock, type EventClock } from "#test-support/event-clock";
import { sketchOf } from "#test-support/memory-operations";
import { journalEntry, siteState } from "#test-support/page-states";
import type { AgentNews } from "../control.ts";
import { Events } from "./events.ts";

/** One event as it came, or a comment. */
type Heard = { readonly event: string; readonly data: string } | { readonly comment: string };

/** Reads the events of a stream, one by one. */
class Listener {
  readonly #read: () => Promise<{
    readonly done: boolean;
    readonly value?: Uint8Array | undefined;
  }>;
  readonly #cancel: () => Promise<void>;
  readonly #decoder = new TextDecoder();
  #text = "";

  constructor(body: ReadableStream<Uint8Array> | null) {
    if (body === null) throw new Error("There is no stream");
    const reader = body.getReader();
    this.#read = () => reader.read();
    this.#cancel = () => reader.cancel();
  }

  /** The next one; undefined at the end. */
  async next(): Promise<Heard | undefined> {
    for (;;) {
      const end = this.#text.indexOf("\n\n");
      if (end >= 0) {
        const block = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 2);
        if (!block.startsWith("retry:")) return parsed(block);
        continue;
      }
      const { done, value } = await this.#read();
      if (done) return undefined;
      this.#text += this.#decoder.decode(value, { stream: true });
    }
  }

  /** The data of the next event of that type. */
  // biome-ignore lint/suspicious/noExplicitAny: what the agent told.
  async of(event: string): Promise<any> {
    for (;;) {
      const heard = await this.next();
      if (heard === undefined) throw new Error(`The stream ended before a ${event}`);
      if ("event" in heard && heard.event === event) return JSON.parse(heard.data);
    }
  }

  close(): Promise<void> {
    return this.#cancel();
  }
}

function parsed(block: string): Heard {
  const [first = "", ...rest] = block.split("\n");
  if (first.startsWith(":")) return { comment: first };
  expect(rest).toHaveLength(1);
  return { event: first.replace("event: ", ""), data: (rest[0] ?? "").replace("data: ", "") };
}

async function follow(world: ApiWorld): Promise<Listener> {
  const { status, headers, body } = await fetch(`${world.url}/api/v1/events`);
  expect([status, headers.get("content-type")]).toEqual([200, "text/event-stream"]);
  return new Listener(body);
}

/** Readers, as the metrics count them. */
async function readers(world: ApiWorld): Promise<number> {
  const { text } = await world.ask("/metrics");
  return Number(/^drayage_api_readers (\d+)$/m.exec(text)?.[1]);
}

async function until(isSo: () => Promise<boolean> | boolean): Promise<void> {
  for (let turn = 0; !(await isSo()); turn += 1) {
    if (turn > 2_000) throw new Error("It never came to this");
  }
}

/** Events of which a test says when they happen. */
function scripted(clock: EventClock = createEventClock(0)) {
  const listeners = new Set<(news: AgentNews) => void>();
  let revisionOfState = 1;
  const events = new Events({
    clock,
    control: {
      state: () => siteState({ revisionOfState }),
      subscribe: (listener) => {
        listeners.add(listener);
        return () => void listeners.delete(listener);
      },
    },
  });
  const tell = (news: AgentNews) => {
    for (const listener of [...listeners]) listener(news);
  };
  return {
    ...{ clock, events, listeners, tell },
    tellState: () => {
      revisionOfState += 1;
      tell({ type: "state", state: siteState({ revisionOfState }) });
    },
    tellLine: (text: string) => tell({ type: "journal", entry: journalEntry(1, text) }),
    pass: (ms: number) => clock.run(clock.sleep(ms, new AbortController().signal)),
  };
}

const isIn = async () => true;

describe("over a socket", () => {
  test("the state comes at once, and again when it has changed, with the line of the journal", async () => {
    await using world = await serveAgentApi();
    const listener = await follow(world);
    const first = await listener.of("state");
    expect(first).toEqual((await world.ask("/api/v1/site")).json);
    await world.agent.agent.act("pause", "a test");
    expect(await listener.of("journal")).toMatchObject({ kind: "action", by: "a test" });
    await world.agent.pass(1_000);
    const changed = await listener.of("state");
    expect(changed.paused.by).toBe("a test");
    expect(changed.revisionOfState).toBeGreaterThan(first.revisionOfState);
    await listener.close();
  });

  test("a delivery is told from its plan to its end", async () => {
    await using world = await serveAgentApi();
    const listener = await follow(world);
    world.agent.site.want(sketchOf("shop", "till"));
    await world.agent.until("it is delivered", () => {
      return world.agent.agent.state().active?.images === 3;
    });
    const types: string[] = [];
    while (types.at(-1) !== "delivery-done") types.push((await listener.of("delivery")).type);
    expect(types[0]).toBe("plan-started");
    expect(types).toContain("image-done");
    expect(types).not.toContain("bytes");
    await listener.close();
  });

  test("a reader that goes is forgotten, and a server that stops ends the streams", async () => {
    const world = await serveAgentApi();
    const [one, other] = [await follow(world), await follow(world)];
    expect(await readers(world)).toBe(2);
    await one.close();
    await until(async () => (await readers(world)) === 1);
    await other.of("state");
    const ended = other.next().catch(() => undefined);
    await world[Symbol.asyncDispose]();
    expect(await ended).toBeUndefined();
  });

  test("no more than 64 read at once", async () => {
    await using world = await serveAgentApi();
    const all = await Promise.all(Array.from({ length: 64 }, () => follow(world)));
    const { status, headers, json } = await world.ask("/api/v1/events");
    expect([status, json.error.code]).toEqual([503, "readers-too-many"]);
    expect(headers.get("retry-after")).toBe("15");
    await all[0]?.close();
    await until(async () => (await readers(world)) === 63);
    await (await follow(world)).close();
    await Promise.all(all.map((each) => each.close()));
  });

  test("a reader that takes nothing is let go, others hear everything, and memory has its bounds", async () => {
    const listeners = new Set<(news: AgentNews) => void>();
    const subscribe = (listener: (news: AgentNews) => void) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    };
    await using world = await serveAgentApi({ control: { subscribe } });
    const stuck = await openStuck(world);
    await until(async () => (await readers(world)) === 1);
    const good = await follow(world);
    await good.of("state");
    let told = 0;
    const line = "x".repeat(50_000);
    while ((await readers(world)) === 2) {
      told += 1;
      const entry = journalEntry(told, line);
      for (const listener of [...listeners]) listener({ type: "journal", entry });
      expect((await good.of("journal")).id).toBe(told);
      // What the kernel takes for a reader that sleeps is some megabytes.
      if (told > 1_000) throw new Error("Nobody was let go after 50 MB");
    }
    stuck.destroy();
    await good.close();
  });
});

/** A client that asks and then never reads. */
function openStuck({ url }: ApiWorld): Promise<Socket> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname, () => {
      socket.pause();
      socket.write(`GET /api/v1/events HTTP/1.1\r\nhost: ${hostname}:${port}\r\n\r\n`);
      resolve(socket);
    });
  });
}

test("every 15 s there is a sign of life", async () => {
  const { events, pass } = scripted();
  const listener = new Listener(events.open(isIn));
  await listener.of("state");
  const next = listener.next();
  await pass(14_999);
  expect(await Promise.race([next, Promise.resolve("nothing yet")])).toBe("nothing yet" as never);
  await pass(1);
  expect(await next).toEqual({ comment: ": still here" });
});

test("who reads slowly gets the newest state and none in between, and every line of the journal", async () => {
  const { events, tellState, tellLine } = scripted();
  const listener = new Listener(events.open(isIn));
  await listener.of("state");
  for (const text of ["one", "two", "three"]) {
    tellState();
    tellLine(text);
  }
  expect((await listener.of("journal")).text).toBe("one");
  expect((await listener.of("journal")).text).toBe("two");
  expect((await listener.of("journal")).text).toBe("three");
  expect((await listener.of("state")).revisionOfState).toBe(4);
});

test("who takes nothing between two signs of life is let go", async () => {
  const { events, pass } = scripted();
  events.open(isIn);
  const awake = new Listener(events.open(isIn));
  await awake.of("state");
  const beats = Promise.all([awake.next(), awake.next()]);
  await pass(15_000);
  await pass(15_000);
  await beats;
  expect(events.readers).toBe(1);
});

test("who is not let in any more is told nothing more", async () => {
  const { events, pass } = scripted();
  let isStillIn = true;
  const listener = new Listener(events.open(async () => isStillIn));
  await listener.of("state");
  isStillIn = false;
  const next = listener.next();
  await pass(15_000);
  expect(await next).toBeUndefined();
});

test("the agent is listened to only while somebody reads", async () => {
  const { events, listeners, clock } = scripted();
  expect(listeners.size).toBe(0);
  const [one, other] = [events.open(isIn), events.open(isIn)];
  expect(listeners.size).toBe(1);
  await one.cancel();
  expect(listeners.size).toBe(1);
  await other.cancel();
  expect(listeners.size).toBe(0);
  await new Promise((resolve) => setImmediate(resolve));
  expect(clock.sleepers).toBe(0);
});
