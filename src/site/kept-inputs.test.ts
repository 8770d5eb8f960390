import { expect, test } from "bun:test";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { InputFiles } from "#profile";
import { createMemoryFiles } from "#test-support/memory-files";
import { temporaryFolder } from "#test-support/program";
import { filesAsKept, KeepingFiles, type KeptInputs } from "./kept-inputs.ts";
import { versionOf } from "./watched-files.ts";
import { type FromWorker, readLine, writeLine } from "./work-wire.ts";

/** As they are after they went from one process to another and back. */
function overTheWire(kept: Omit<KeptInputs, "artifacts">): Omit<KeptInputs, "artifacts"> {
  const message = { type: "done", result: kept } as unknown as FromWorker;
  const heard = readLine<FromWorker>(writeLine(message)) as unknown as {
    readonly result: Omit<KeptInputs, "artifacts">;
  };
  return heard.result;
}

test("what was read is read again as it was, bytes, folders and what was wrong with them", () => {
  const files = createMemoryFiles({
    "profiles/a.yaml": "ä: 1\r\n",
    $bytes: "named as nobody would",
    __proto__x: "x",
  });
  const keeping = new KeepingFiles(files);
  const paths = ["profiles/a.yaml", "$bytes", "absent.yaml", "__proto__"];
  const asked = (from: InputFiles) => [
    ...paths.map((path) => from.read(path)),
    ...["profiles", "none"].map((folder) => from.list(folder)),
  ];
  const before = asked(keeping);
  expect(asked(filesAsKept(overTheWire(keeping.kept())))).toEqual(before);
});

test("what nobody asked for then does not exist", () => {
  const keeping = new KeepingFiles(createMemoryFiles({ "a.yaml": "1", "b.yaml": "2" }));
  keeping.read("a.yaml");
  const kept = filesAsKept(keeping.kept());
  expect(kept.read("b.yaml")).toMatchObject({ code: "input-missing" });
  expect(kept.list(".")).toMatchObject({ code: "input-missing" });
  expect(kept.read("toString")).toMatchObject({ code: "input-missing" });
});

test("of a file that is read twice, what was read last is kept, and how it was at first", async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, "a");
  await mkdir(folder.path, { recursive: true });
  await writeFile(path, "1");
  let text = "first";
  const keeping = new KeepingFiles({
    read: () => new TextEncoder().encode(text),
    list: () => [],
  });
  const first = versionOf(path);
  keeping.read(path);
  text = "second";
  await writeFile(path, "longer");
  keeping.read(path);
  expect(keeping.versions()).toEqual([[path, first]]);
  expect(keeping.kept().files[path]).toEqual(new TextEncoder().encode("second"));
});
