import { expect, test } from "bun:test";
import { existsSync, lstatSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { readImageGraph } from "#content";
import { parsePlatform } from "#oci";
import type { HandOverSettings } from "#profile";
import { openStore } from "#store";
import { createManualClock } from "#test-support/clock";
import { buildImage } from "#test-support/images";
import { temporaryFolder } from "#test-support/program";
import { openHandOver } from "./hand-over.ts";

const { signal } = new AbortController();
const NAME = "quay.io/kairos/os:v1";
const env = { PATH: process.env["PATH"] };

async function openSite() {
  const folder = await temporaryFolder();
  const dataDir = join(folder.path, "store");
  const clock = createManualClock();
  const store = await openStore(dataDir, { clock });
  const at = (name: string) => join(folder.path, name);
  return {
    at,
    async give(settings: Partial<HandOverSettings>, seed = "os", isAgain = false) {
      const root = await buildImage(store, NAME, { seed });
      const graph = await readImageGraph(store, root, parsePlatform("linux/amd64"), { signal });
      const told: string[] = [];
      const handOver = openHandOver(
        { form: "none", path: undefined, command: [], timeoutMs: 0, ...settings },
        { store, dataDir, registry: "127.0.0.1:5055", context: { clock, env }, isAgain },
      );
      const end = await handOver
        ?.run(
          { name: NAME, graph },
          {
            signal,
            onStart: ({ form, target, program }) => told.push(`${form} ${target} ${program}`),
            onOutput: (line) => told.push(line),
          },
        )
        .catch((error: unknown) => error);
      return { end, told, manifest: graph.manifest.digest };
    },
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

test("without a form nothing is handed over", async () => {
  await using site = await openSite();
  expect((await site.give({})).end).toBeUndefined();
});

test("a layout is made once for each digest, and again when it is gone", async () => {
  await using site = await openSite();
  const settings = { form: "oci", path: site.at("os") } as const;
  const inode = () => lstatSync(site.at("os")).ino;
  const first = await site.give(settings);
  expect(first.end).toMatchObject({ outcome: "done", exitStatus: null });
  expect(first.told).toEqual([`oci ${site.at("os")} null`]);
  expect(readFileSync(join(site.at("os"), "index.json"), "utf8")).toContain(first.manifest);
  const made = inode();
  expect((await site.give(settings)).end).toMatchObject({ outcome: "present" });
  expect(inode()).toBe(made);
  const next = await site.give(settings, "next");
  expect(next.end).toMatchObject({ outcome: "done" });
  expect(readFileSync(join(site.at("os"), "index.json"), "utf8")).toContain(next.manifest);
  rmSync(site.at("os"), { recursive: true });
  expect((await site.give(settings, "next")).end).toMatchObject({ outcome: "done" });
  // Back to the image before: it is what was handed over last that counts.
  expect((await site.give(settings)).end).toMatchObject({ outcome: "done" });
  expect(readdirSync(site.at("."))).toEqual(["os", "store"]);
});

test("an archive that somebody changed is made again, and one that is right is not", async () => {
  await using site = await openSite();
  const settings = { form: "oci-archive", path: site.at("os.tar") } as const;
  await site.give(settings);
  const status = () => lstatSync(site.at("os.tar"), { bigint: true });
  const made = status();
  expect((await site.give(settings)).end).toMatchObject({ outcome: "present" });
  expect(status().mtimeNs).toBe(made.mtimeNs);
  await Bun.write(site.at("os.tar"), "cut");
  await Bun.write(site.at(".os.tar.dray-1"), "left by a power cut");
  expect((await site.give(settings)).end).toMatchObject({ outcome: "done" });
  expect(status().size).toBe(made.size);
  expect(readdirSync(site.at(".")).sort()).toEqual(["os.tar", "store"]);
});

test("a command that failed is run again with what was made, and one that succeeded is not", async () => {
  await using site = await openSite();
  const script = `echo "$1 $2"; test -e ${site.at("well")}`;
  const settings: HandOverSettings = {
    ...{ form: "oci-archive", path: site.at("os.tar"), timeoutMs: 0 },
    command: ["sh", "-c", script, "sh", "{source}", "{digest}"],
  };
  const first = await site.give(settings);
  expect(first.end).toMatchObject({ code: "hand-over-failed", exitStatus: 1 });
  expect(first.told.at(-1)).toBe(`ocifile:${site.at("os.tar")} ${first.manifest}`);
  const made = lstatSync(site.at("os.tar"), { bigint: true }).mtimeNs;
  await Bun.write(site.at("well"), "");
  expect((await site.give(settings)).end).toMatchObject({ outcome: "done", exitStatus: 0 });
  expect(lstatSync(site.at("os.tar"), { bigint: true }).mtimeNs).toBe(made);
  expect((await site.give(settings)).told).toEqual([]);
  expect((await site.give(settings, "os", true)).end).toMatchObject({ outcome: "done" });
  expect((await site.give(settings, "next")).end).toMatchObject({ outcome: "done" });
  expect((await site.give(settings)).end).toMatchObject({ outcome: "done" });
});

test("a reference is that of the embedded registry, pinned", async () => {
  await using site = await openSite();
  const command = ["sh", "-c", 'echo "$@"', "sh", "{source}", "{reference}", "{image}"];
  const { told, manifest } = await site.give({ form: "reference", command });
  const reference = `127.0.0.1:5055/quay.io/kairos/os@${manifest}`;
  expect(told).toEqual([
    `reference ${reference} sh`,
    `oci:${reference} ${reference} ${NAME}`.slice(0, 500),
  ]);
  expect(existsSync(site.at("os"))).toBe(false);
});

test("a command that never comes to an end is started three times, and then only on demand", async () => {
  await using site = await openSite();
  const settings = { form: "reference", command: ["sh", "-c", "kill -9 $$"] } as const;
  for (let n = 1; n <= 3; n += 1) {
    expect((await site.give(settings)).end).toMatchObject({ code: "hand-over-failed" });
  }
  const refused = await site.give(settings);
  expect(refused.end).toMatchObject({ code: "hand-over-unfinished" });
  expect((await site.give(settings, "os", true)).end).toMatchObject({ code: "hand-over-failed" });
  // Another image, and another command, are begun anew.
  expect((await site.give(settings, "next")).end).toMatchObject({ code: "hand-over-failed" });
  const fails = { ...settings, command: ["sh", "-c", "exit 1"] };
  for (let n = 1; n <= 4; n += 1) {
    expect((await site.give(fails, "next")).end).toMatchObject({ code: "hand-over-failed" });
  }
});
