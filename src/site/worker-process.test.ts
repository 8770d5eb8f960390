import { expect, test } from "bun:test";
import { type Failure, isFailure } from "#base";
import type { DeliveryEvent } from "#deliver";
import { DEFAULT_SITE } from "#profile";
import { createEventClock } from "#test-support/event-clock";
import { startedSite } from "./started-site.ts";
import type { WorkOrder } from "./work.ts";
import { type FromWorker, readLine, type ToWorker, writeLine } from "./work-wire.ts";
import { type WorkerProcess, workApart } from "./worker-process.ts";

const DRIFT: WorkOrder<"drift"> = {
  version: "1",
  kind: "drift",
  order: { record: "{}" },
  site: { sources: {}, dataDir: "/data", started: startedSite(DEFAULT_SITE), inputs: null },
};

/** What a process does that a test plays. */
interface Played {
  readonly say: (...messages: readonly FromWorker[]) => void;
  readonly write: (text: string) => void;
  readonly complain: (text: string) => void;
  readonly exit: (how: string) => void;
}

/** A process in memory: `act` hears what is written to it, and null at the end of its input. */
function play(act: (message: ToWorker | null, self: Played) => void) {
  const out = new TransformStream<Uint8Array, Uint8Array>(undefined, { highWaterMark: 1e6 });
  const err = new TransformStream<Uint8Array, Uint8Array>(undefined, { highWaterMark: 1e6 });
  const [outWriter, errWriter] = [out.writable.getWriter(), err.writable.getWriter()];
  const exited = Promise.withResolvers<string>();
  const heard: (ToWorker["type"] | "end" | "kill")[] = [];
  const send = (to: typeof outWriter, text: string) =>
    void to.write(new TextEncoder().encode(text)).catch(() => undefined);
  const self: Played = {
    say: (...messages) => send(outWriter, messages.map(writeLine).join("")),
    write: (text) => send(outWriter, text),
    complain: (text) => send(errWriter, text),
    exit(how) {
      for (const writer of [outWriter, errWriter]) void writer.close().catch(() => undefined);
      exited.resolve(how);
    },
  };
  const worker: WorkerProcess = {
    write(text) {
      const message = readLine<ToWorker>(text);
      heard.push(message.type);
      act(message, self);
    },
    end() {
      heard.push("end");
      act(null, self);
    },
    kill() {
      heard.push("kill");
      self.exit("SIGKILL");
    },
    stdout: out.readable,
    stderr: err.readable,
    exited: exited.promise,
  };
  return { worker, heard };
}

/** Has a played process do a piece of work, and gives what came of it and what was told meanwhile. */
function order(
  act: (message: ToWorker | null, self: Played) => void,
  signal: AbortSignal = new AbortController().signal,
) {
  const { worker, heard } = play(act);
  const told: unknown[] = [];
  const clock = createEventClock(0);
  const options = {
    ...{ clock, startWorker: () => worker },
    onNews: (text: string) => told.push(text),
    onTrouble: (error: unknown) => told.push(error),
  };
  const emit = (event: DeliveryEvent) => told.push(event);
  const work = workApart(DRIFT, options, { signal, emit });
  return { end: clock.run(work.catch((error: unknown) => error)), heard, told, clock };
}

/** As `serveWork` does: it ends with its input. */
const obediently = (act: (message: ToWorker, self: Played) => void) => {
  return (message: ToWorker | null, self: Played) =>
    message === null ? self.exit("exit code 0") : act(message, self);
};

const TOLD = { code: "store-full", message: "Cannot write", hint: "Make room", transient: true };

test("work comes to its result, and what it tells is heard in order before that", async () => {
  const event = { at: 1, type: "local-registry-ready", registry: "r" } as const;
  const { end, heard, told } = order(
    obediently((_, { say }) =>
      say(
        { type: "event", event },
        { type: "news", text: "a notice" },
        { type: "trouble", failure: TOLD },
        { type: "event", event: { ...event, at: 2 } },
        { type: "done", result: ["/etc/hosts.toml"] },
      ),
    ),
  );
  expect(await end).toEqual(["/etc/hosts.toml"]);
  expect(told.map((one) => (isFailure(one) ? one.code : one))).toEqual([
    event,
    "a notice",
    "store-full",
    { ...event, at: 2 },
  ]);
  expect(heard).toEqual(["order", "end"]);
});

test("a failure comes with its code, its hint and whether it may pass", async () => {
  const { end } = order(obediently((_, { say }) => say({ type: "failed", failure: TOLD })));
  const failure = await end;
  if (!isFailure(failure, "store-full")) throw failure;
  expect(failure).toMatchObject(TOLD);
});

test("a fault of the program is one here too, with where it happened", async () => {
  const said = { type: "broken", message: "TypeError: no", stack: "TypeError: no\n at here" };
  const { end } = order(obediently((_, { say }) => say(said as FromWorker)));
  const fault = (await end) as Error;
  expect(isFailure(fault)).toBe(false);
  expect(fault.message).toBe("TypeError: no");
  expect(fault.stack).toContain("at here");
});

test("a process that dies is told of, with how it ended and what it said last", async () => {
  const { end } = order((_, { complain, exit }) => {
    complain(`${"x".repeat(10_000)}\nout of \u001b[31mmemory\n`);
    exit("SIGKILL");
  });
  const failure = (await end) as Failure;
  if (!isFailure(failure, "worker-failed")) throw failure;
  expect(failure.message).toStartWith(
    "Cannot look at the runtime's files: the process for it ended with SIGKILL",
  );
  expect(failure.message).toContain("memory");
  expect(failure.message).not.toContain("\u001b");
  expect(failure.message.length).toBeLessThan(1_000);
  expect(failure.transient).toBe(true);
});

test("one that dies in mid-line has not told that line", async () => {
  const { end } = order((_, { write, exit }) => {
    write('{"type":"done","result":[]}');
    exit("SIGSEGV");
  });
  expect(await end).toMatchObject({ code: "worker-failed" });
});

test("a line that is no message ends the work, and is shown to nobody", async () => {
  const { end, heard } = order(obediently((_, { write }) => write("password: hunter2\n")));
  const failure = (await end) as Failure;
  if (!isFailure(failure, "worker-failed")) throw failure;
  expect(`${failure.message} ${failure.stack} ${failure.cause}`).not.toContain("hunter2");
  expect(heard).toEqual(["order", "end"]);
});

test("one that can't be started is a failure that names the reason", async () => {
  const options = {
    clock: createEventClock(0),
    startWorker() {
      throw Object.assign(new Error("no"), { code: "EAGAIN" });
    },
    onNews: () => undefined,
    onTrouble: () => undefined,
  };
  const { signal } = new AbortController();
  const failure = await workApart(DRIFT, options, { signal }).catch((error: unknown) => error);
  if (!isFailure(failure, "worker-failed")) throw failure;
  expect(failure.message).toContain("EAGAIN");
});

test("what was aborted before is not begun", async () => {
  const startWorker = () => {
    throw new Error("started");
  };
  const options = {
    ...{ startWorker, clock: createEventClock(0) },
    ...{ onNews: () => undefined, onTrouble: () => undefined },
  };
  const signal = AbortSignal.abort("enough");
  expect(await workApart(DRIFT, options, { signal }).catch((e: unknown) => e)).toBe("enough");
});

test("work that is aborted is told to stop, and what it came to counts", async () => {
  const giveUp = new AbortController();
  const { end, heard } = order(
    obediently(({ type }, { say }) => {
      if (type === "order") queueMicrotask(() => giveUp.abort("enough"));
      else say({ type: "done", result: [] });
    }),
    giveUp.signal,
  );
  expect(await end).toEqual([]);
  expect(heard).toEqual(["order", "stop", "end"]);
});

test("work that is aborted and comes to nothing rejects with the reason", async () => {
  for (const last of [
    { type: "stopped" },
    { type: "failed", failure: TOLD },
    { type: "broken", message: "", stack: "" },
  ] as const) {
    const giveUp = new AbortController();
    const { end } = order(
      obediently(({ type }, { say }) => {
        if (type === "order") queueMicrotask(() => giveUp.abort("enough"));
        else say(last);
      }),
      giveUp.signal,
    );
    expect(await end).toBe("enough");
  }
});

test("one that was told to end by a signal of its own is tried again", async () => {
  const { end } = order(obediently((_, { say }) => say({ type: "stopped" })));
  expect(await end).toMatchObject({ code: "worker-failed", transient: true });
});

test("one that does not stop is killed after a minute", async () => {
  const giveUp = new AbortController();
  const { end, heard, clock } = order((message) => {
    if (message?.type === "order") queueMicrotask(() => giveUp.abort("enough"));
  }, giveUp.signal);
  expect(await end).toBe("enough");
  expect(heard).toEqual(["order", "stop", "kill", "end"]);
  expect(clock.monotonic()).toBe(60_000);
});

test("one that has told its last and does not end is killed", async () => {
  const { end, heard, clock } = order((message, { say }) => {
    if (message !== null) say({ type: "done", result: [] });
  });
  expect(await end).toEqual([]);
  expect(heard).toEqual(["order", "end", "kill"]);
  expect(clock.monotonic()).toBe(10_000);
});

test("nothing is left asleep once the process is gone", async () => {
  const { end, clock } = order(obediently((_, { say }) => say({ type: "done", result: [] })));
  await end;
  expect(clock.sleepers).toBe(0);
});
