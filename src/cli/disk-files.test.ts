import { expect, test } from "bun:test";
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isProblem } from "#profile";
import { temporaryFolder } from "#test-support/program";
import { diskFiles, INPUT_BYTES_MAX } from "./disk-files.ts";

/** The code of a problem, or how many bytes were read. */
function outcome(path: string): string | number {
  const read = diskFiles().read(path);
  return isProblem(read) ? read.code : read.length;
}

test("a file is read whole up to the most that an input may have, and not beyond", async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, "input");
  const text = `first line\n${"ä".repeat(100_000)}`;
  writeFileSync(path, text);
  const read = diskFiles().read(path);
  expect(isProblem(read) ? read : new TextDecoder().decode(read)).toBe(text);
  writeFileSync(path, "");
  expect(outcome(path)).toBe(0);
  for (const [size, found] of [
    [INPUT_BYTES_MAX, INPUT_BYTES_MAX],
    [INPUT_BYTES_MAX + 1, "input-too-large"],
  ] as const) {
    truncateSync(path, size);
    expect(outcome(path)).toBe(found);
  }
});

test("what does not say how much it has is not read for ever", () => {
  expect(outcome("/dev/zero")).toBe("input-too-large");
  expect(outcome("/dev/null")).toBe(0);
});

test("what can't be read is told apart", async () => {
  await using folder = await temporaryFolder();
  expect(outcome(join(folder.path, "absent"))).toBe("input-missing");
  writeFileSync(join(folder.path, "file"), "");
  expect(outcome(join(folder.path, "file", "below"))).toBe("input-missing");
  mkdirSync(join(folder.path, "folder"));
  expect(outcome(join(folder.path, "folder"))).toBe("input-unreadable");
});
