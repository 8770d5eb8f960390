import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "#base";
import { type Disk, systemDisk } from "./disk.ts";
import { createDiskLedger } from "./ledger.ts";
import { openStore } from "./open-store.ts";

const folders: string[] = [];

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "dray-ledger-"));
  folders.push(path);
  return path;
}

afterAll(() => {
  for (const path of folders) rmSync(path, { recursive: true });
});

/** A disk whose n-th step of writing finds no room. */
function failingDisk(failAt: number): Disk {
  let steps = 0;
  const step = async <T>(act: () => Promise<T>): Promise<T> => {
    steps += 1;
    if (steps === failAt) throw Object.assign(new Error("injected"), { code: "ENOSPC" });
    return act();
  };
  return {
    ...systemDisk,
    create: (path) =>
      step(async () => {
        const file = await systemDisk.create(path);
        const write: typeof file.write = (bytes, offset) => step(() => file.write(bytes, offset));
        return { ...file, write, sync: () => step(() => file.sync()) };
      }),
    rename: (from, to) => step(() => systemDisk.rename(from, to)),
    syncFolder: (path) => step(() => systemDisk.syncFolder(path)),
  };
}

const record = { bytes: 12_345, latestMs: Date.UTC(2026, 10, 20, 1, 2, 3, 4) };

test("a ledger gives back what was written last, and nothing before that", async () => {
  const dataDir = folder();
  const ledger = createDiskLedger(dataDir);
  expect(await ledger.read()).toBeUndefined();
  expect(await createDiskLedger(join(dataDir, "none")).read()).toBeUndefined();
  await ledger.write({ bytes: 1, latestMs: 0 });
  await ledger.write(record);
  expect(await createDiskLedger(dataDir).read()).toEqual(record);
  expect(readdirSync(dataDir)).toEqual(["ledger.json"]);
});

test("a ledger lies in a store and does not disturb it", async () => {
  const dataDir = folder();
  await (await openStore(dataDir, { clock: systemClock }))[Symbol.asyncDispose]();
  await createDiskLedger(dataDir).write(record);
  await (await openStore(dataDir, { clock: systemClock }))[Symbol.asyncDispose]();
  expect(await createDiskLedger(dataDir).read()).toEqual(record);
});

test("a ledger is the old one or the new one, whatever step of the writing fails", async () => {
  for (let failAt = 1; ; failAt += 1) {
    const dataDir = folder();
    await createDiskLedger(dataDir).write({ bytes: 1, latestMs: 0 });
    const disk = failingDisk(failAt);
    const outcome = await createDiskLedger(dataDir, disk)
      .write(record)
      .catch((error: unknown) => error);
    const found = await createDiskLedger(dataDir).read();
    if (outcome === undefined) {
      expect(failAt).toBeGreaterThan(5);
      expect(found).toEqual(record);
      break;
    }
    expect(outcome).toMatchObject({ code: "store-full" });
    expect([1, record.bytes]).toContain(found?.bytes ?? -1);
    // What was left over does not stand in the way.
    await createDiskLedger(dataDir).write(record);
    expect(await createDiskLedger(dataDir).read()).toEqual(record);
  }
});

test.each(["", "{", "[]", "{}", '{"bytes":-1,"latest":"2026-01-01T00:00:00Z"}', '{"bytes":1}'])(
  "a ledger that somebody broke is refused, and not begun anew in silence: %j",
  async (text) => {
    const dataDir = folder();
    writeFileSync(join(dataDir, "ledger.json"), text);
    await expect(createDiskLedger(dataDir).read()).rejects.toMatchObject({ code: "ledger-broken" });
  },
);
