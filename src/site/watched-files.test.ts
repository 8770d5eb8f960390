import { expect, test } from "bun:test";
import { mkdir, rename, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { type Clock, systemClock } from "#base";
import { createMemoryFiles } from "#test-support/memory-files";
import { temporaryFolder } from "#test-support/program";
import { KeepingFiles } from "./kept-inputs.ts";
import { type Versions, WatchedFiles } from "./watched-files.ts";

const NEVER = new AbortController().signal;

/** Time as it is, but that nobody waits for a file to be at rest. */
const hasty: Clock = {
  ...systemClock,
  sleep: (ms, signal) => (ms === 2_000 ? setImmediate() : systemClock.sleep(ms, signal)),
};

/** How files and folders are when they are read. */
function read(paths: readonly string[], folders: readonly string[] = []): Versions {
  const kept = new KeepingFiles(createMemoryFiles({}));
  for (const path of paths) kept.read(path);
  for (const folder of folders) kept.list(folder);
  return kept.versions();
}

/** Watches these files from when they are read. */
function reading(...paths: readonly string[]): WatchedFiles {
  const files = new WatchedFiles(hasty);
  files.watch(read(paths));
  return files;
}

test("what was read is unchanged until its file is written, exchanged, removed or made", async () => {
  await using folder = await temporaryFolder();
  const at = (name: string) => join(folder.path, name);
  const changes: readonly (() => Promise<void>)[] = [
    () => writeFile(at("a"), "longer than before"),
    () => writeFile(at("a"), "2"),
    async () => {
      await writeFile(at("draft"), "2");
      await rename(at("draft"), at("a"));
    },
    () => rm(at("a")),
    () => writeFile(at("gone"), "3"),
  ];
  for (const change of changes) {
    await writeFile(at("a"), "1");
    // The times of two writes may lie within one tick of the file system's clock.
    await utimes(at("a"), 1, 1);
    await rm(at("gone"), { force: true });
    const files = reading(at("a"), at("gone"));
    await writeFile(at("beside"), "x");
    expect(files.hasChanged()).toBe(false);
    await change();
    expect(files.hasChanged()).toBe(true);
  }
});

test("a folder has changed when another file is in it", async () => {
  await using folder = await temporaryFolder();
  const files = new WatchedFiles(hasty);
  files.watch(read([], [folder.path]));
  expect(files.hasChanged()).toBe(false);
  await writeFile(join(folder.path, "new.yaml"), "");
  expect(files.hasChanged()).toBe(true);
});

test("a link that leads elsewhere is a change, as Kubernetes makes it", async () => {
  await using folder = await temporaryFolder();
  const at = (name: string) => join(folder.path, name);
  for (const version of ["v1", "v2"]) {
    await mkdir(at(version));
    await writeFile(at(`${version}/profile.yaml`), "same text");
  }
  await symlink("v1", at("..data"));
  await symlink("..data/profile.yaml", at("profile.yaml"));
  const files = reading(at("profile.yaml"));
  const changed = files.changed(NEVER);
  await symlink("v2", at("..next"));
  await rename(at("..next"), at("..data"));
  await changed;
});

test("a change is told when it happens after the reading, and when it happened before anybody waited", async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, "a");
  await writeFile(path, "1");
  const before = reading(path);
  await writeFile(path, "another");
  await before.changed(NEVER);
  const after = reading(path);
  const changed = after.changed(NEVER);
  await writeFile(path, "and one more");
  await changed;
});

test("who waits from before the first reading hears of what was read meanwhile", async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, "a");
  await writeFile(path, "1");
  const files = new WatchedFiles(hasty);
  const changed = files.changed(NEVER);
  files.watch(read([path]));
  await writeFile(path, "another");
  await changed;
});

test("what no watch tells is looked for every minute", async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, "there", "a");
  const sleeps: number[] = [];
  const clock: Clock = {
    ...systemClock,
    async sleep(ms, signal) {
      sleeps.push(ms);
      await setImmediate();
      signal.throwIfAborted();
      // Neither the file nor its folder was there, so nothing could be watched.
      if (sleeps.length === 4) await Bun.write(path, "1");
    },
  };
  const files = new WatchedFiles(clock);
  files.watch(read([path]));
  await files.changed(NEVER);
  expect(sleeps.slice(0, 4)).toEqual([60_000, 2_000, 60_000, 2_000]);
});

test.each(["a", "folder/new"])("what is still being written is not read: %s", async (name) => {
  await using folder = await temporaryFolder();
  const at = (file: string) => join(folder.path, file);
  await mkdir(at("folder"));
  await writeFile(at("a"), "1");
  let text = "half";
  const grown: string[] = [];
  const clock: Clock = {
    ...systemClock,
    async sleep(ms, signal) {
      if (ms !== 2_000) return systemClock.sleep(ms, signal);
      grown.push(text);
      if (grown.length === 4) return;
      text += " and more";
      await writeFile(at(name), text);
    },
  };
  const files = new WatchedFiles(clock);
  files.watch(read([at("a")], [at("folder")]));
  await writeFile(at(name), text);
  await files.changed(NEVER);
  expect(grown).toHaveLength(4);
});

test("what is written without end is read all the same", async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, "a");
  let writes = 0;
  const clock: Clock = {
    ...systemClock,
    async sleep(ms, signal) {
      if (ms !== 2_000) return systemClock.sleep(ms, signal);
      writes += 1;
      await writeFile(path, "x".repeat(writes));
    },
  };
  const files = new WatchedFiles(clock);
  files.watch(read([path]));
  await writeFile(path, "");
  await files.changed(NEVER);
  expect(writes).toBe(30);
});

test("waiting ends with the signal, and with its reason", async () => {
  const over = new AbortController();
  const files = reading("/nowhere/at/all");
  const changed = files.changed(over.signal);
  over.abort(new Error("over"));
  await expect(changed).rejects.toThrow("over");
});
