import { expect, test } from "bun:test";
import { utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isFailure } from "#base";
import type { CredentialReport } from "#credential";
import type { Revision } from "#daemon";
import { DEFAULT_SITE } from "#profile";
import { openStore } from "#store";
import { createEventClock } from "#test-support/event-clock";
import { createMemoryFiles } from "#test-support/memory-files";
import { temporaryFolder } from "#test-support/program";
import { createSiteOperations } from "./site-operations.ts";
import { siteSettings } from "./site-settings.ts";
import { versionOf } from "./watched-files.ts";
import type { InputsRead, WorkOrder } from "./work.ts";
import { type LastWord, readLine, type ToWorker, writeLine } from "./work-wire.ts";
import type { WorkerProcess } from "./worker-process.ts";

const NEVER = new AbortController().signal;
const MINUTE_MS = 60_000;
const START_MS = Date.UTC(2026, 0, 5, 12);
const MACHINE = { platform: "linux/amd64" };

/** A process in memory that answers an order, or dies of it. */
function answering(answer: (order: WorkOrder) => LastWord | undefined): WorkerProcess {
  const out = new TransformStream<Uint8Array, Uint8Array>(undefined, { highWaterMark: 1e6 });
  const writer = out.writable.getWriter();
  const exited = Promise.withResolvers<string>();
  const exit = (how: string) => {
    void writer.close().catch(() => undefined);
    exited.resolve(how);
  };
  return {
    write(text) {
      const message = readLine<ToWorker>(text);
      if (message.type !== "order") return;
      const last = answer(message.order);
      if (last === undefined) return exit("SIGKILL");
      void writer.write(new TextEncoder().encode(writeLine(last))).catch(() => undefined);
    },
    ...{ end: () => exit("exit code 0"), kill: () => exit("SIGKILL") },
    ...{ stdout: out.readable, stderr: new Blob([]).stream(), exited: exited.promise },
  };
}

/** A site whose work is done as a test says, in the order in which it is ordered. */
async function openSite() {
  const folder = await temporaryFolder();
  const clock = createEventClock(START_MS);
  const store = await openStore(join(folder.path, "data"), { clock, role: "registry" });
  const orders: WorkOrder[] = [];
  const answers: (LastWord | undefined)[] = [];
  const operations = createSiteOperations({
    ...{ sources: {}, dataDir: join(folder.path, "data"), store, overruled: new Set() },
    context: {
      ...{ env: {}, home: "/root", version: "1", clock, random: () => 0, ...MACHINE },
      files: createMemoryFiles({}),
    },
    startWorker: () =>
      answering((order) => {
        orders.push(order);
        return answers.shift();
      }),
    started: DEFAULT_SITE,
    onNews: () => undefined,
    onTrouble: () => undefined,
  });
  const file = join(folder.path, "site.yaml");
  await writeFile(file, "1");
  return {
    ...{ operations, orders, answers, file, clock },
    /** Whether the inputs are said to have changed within some minutes in which nothing happens. */
    hasChanged() {
      const over = new AbortController();
      const changed = operations.changed(over.signal).then(
        () => true,
        () => false,
      );
      const waited = clock.sleep(4 * MINUTE_MS, NEVER).then(() => false);
      return clock.run(Promise.race([changed, waited])).finally(() => over.abort());
    },
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** What reading a file comes to, which holds `text`. */
function readOf(file: string, text: string, isSound = true): LastWord {
  const revision = { id: text } as Revision;
  const fault = { code: "x", message: "", remedy: "", file, line: 1, column: 1, path: "" };
  const result: InputsRead = {
    seen: { revision, warnings: [], faults: isSound ? [] : [fault] },
    inputs: {
      files: { [file]: new TextEncoder().encode(text) },
      ...{ folders: {}, artifacts: [] },
    },
    watched: [[file, versionOf(file)]],
    settings: siteSettings(
      { ...DEFAULT_SITE, agent: { ...DEFAULT_SITE.agent, proveMs: text.length } },
      MACHINE,
      [],
    ),
  };
  return { type: "done", result };
}

const TOLD = { code: "registry-unauthorized", message: "No", hint: "Log in", transient: false };

test("inputs that can't be read are read again when what was read of them changes, and not before", async () => {
  await using site = await openSite();
  const { operations, answers, file } = site;
  const watched = [[file, versionOf(file)]] as const;
  answers.push({ type: "done", result: { failure: TOLD, watched } });
  const failure = await operations.read(NEVER).catch((error: unknown) => error);
  if (!isFailure(failure)) throw failure;
  expect(failure).toMatchObject(TOLD);
  expect(await site.hasChanged()).toBe(false);
  await writeFile(file, "another password");
  expect(await site.hasChanged()).toBe(true);
});

test("what was changed is no reason to read again at once when the process dies that reads it", async () => {
  await using site = await openSite();
  const { operations, answers, file } = site;
  answers.push(readOf(file, "1"));
  await operations.read(NEVER);
  await writeFile(file, "2, and longer");
  expect(await site.hasChanged()).toBe(true);
  answers.push(undefined);
  const failure = await operations.read(NEVER).catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: "worker-failed", transient: true });
  expect(await site.hasChanged()).toBe(false);
  await utimes(file, 1, 1);
  expect(await site.hasChanged()).toBe(true);
});

test("work goes by the inputs that were read last without a fault", async () => {
  await using site = await openSite();
  const { operations, orders, answers, file } = site;
  const drift = async () => {
    answers.push({ type: "done", result: [] });
    await operations.drift({ record: "{}" } as Revision, NEVER);
    return orders.at(-1)?.site.inputs?.files[file];
  };
  const bytes = (text: string) => new TextEncoder().encode(text);
  const read = async (text: string, isSound: boolean) => {
    answers.push(readOf(file, text, isSound));
    await operations.read(NEVER);
    // They are read as they are now, and not as they were.
    expect(orders.at(-1)?.site.inputs).toBeNull();
  };
  expect(await drift()).toBeUndefined();
  await read("broken from the start", false);
  expect(await drift()).toEqual(bytes("broken from the start"));
  const usual = operations.ways().settings.proveMs;
  await read("sound", true);
  expect(operations.ways().settings.proveMs).toBe("sound".length);
  await read("broken again", false);
  expect(await drift()).toEqual(bytes("sound"));
  expect(operations.ways().settings.proveMs).toBe("sound".length);
  expect(usual).not.toBe("sound".length);
  await read("mended", true);
  expect(await drift()).toEqual(bytes("mended"));
});

test("since when a credential is as it is, is known over the processes that try it", async () => {
  await using site = await openSite();
  const { operations, answers } = site;
  const seen = (atMs: number): CredentialReport => ({
    ...{ registry: "r.example", role: "packs", origin: null, image: null, atMs, expiries: [] },
    outcome: { kind: "accepted" },
    ...{ state: "ok", why: "", hint: undefined, sinceMs: atMs },
  });
  for (const atMs of [1_000, 2_000]) {
    answers.push({ type: "done", result: [seen(atMs)] });
    const [report] = await operations.credentials({ record: "{}" } as Revision, NEVER);
    expect(report).toMatchObject({ state: "ok", atMs, sinceMs: 1_000 });
  }
});
