import { describe, expect, test } from "bun:test";
import { Findings } from "#base";
import { listed } from "#test-support/cluster-files";
import { createMemoryFiles, unreadable } from "#test-support/memory-files";
import { folderOf, joinPath, readTextFile } from "./input-files.ts";

function read(bytes: string | Uint8Array) {
  const findings = new Findings();
  const source = readTextFile(createMemoryFiles({ f: bytes }), "f", findings);
  return { text: source?.text, faults: listed(findings.faults) };
}

describe("readTextFile()", () => {
  const utf16 = (text: string) => new Uint8Array(Buffer.from(`\uFEFF${text}`, "utf16le"));

  test.each<[string, string | Uint8Array, string]>([
    ["UTF-8", "é😀\r\n\t", "é😀\r\n\t"],
    ["nothing", "", ""],
    ["UTF-8 behind a byte order mark", "\uFEFFa: 1", "a: 1"],
    ["UTF-16 as Windows writes it", utf16("a: é😀"), "a: é😀"],
  ])("reads %s", (_, bytes, text) => expect(read(bytes)).toEqual({ text, faults: [] }));

  test.each<[string, string | Uint8Array]>([
    ["a NUL", "a\0b"],
    ["an escape sequence", "a\u001b[0m"],
    ["a gzip", new Uint8Array([0x1f, 0x8b, 8, 0])],
    ["an image", new Uint8Array([0x89, 0x50, 0x4e, 0x47])],
    ["half a character", new Uint8Array([0x61, 0xc3])],
    ["half a character of UTF-16", new Uint8Array([0xff, 0xfe, 0x61])],
    ["UTF-16 the other way round", new Uint8Array([0xfe, 0xff, 0, 0x61])],
  ])("refuses %s", (_, bytes) => {
    expect(read(bytes)).toEqual({ text: undefined, faults: ["f:1:1 input-not-text"] });
  });

  test.each([
    ["none", "input-missing", "none"],
    ["folder", "input-unreadable", "it is a folder, expected a file"],
    ["locked", "input-unreadable", "this user may not read it"],
  ])("tells why %s can't be read, where it was named", (path, code, message) => {
    const findings = new Findings();
    const files = createMemoryFiles({
      "folder/x": "",
      locked: unreadable("this user may not read it"),
    });
    const namedAt = { file: "site.yaml", line: 3, column: 7, path: "p" };
    expect(readTextFile(files, path, findings, { name: path, namedAt })).toBeUndefined();
    expect(findings.faults).toMatchObject([{ ...namedAt, code }]);
    expect(findings.faults[0]?.message).toContain(message);
  });
});

describe("joinPath() and folderOf()", () => {
  test.each([
    ["etc/site.yaml", "p.yaml", "etc/p.yaml"],
    ["site.yaml", "p.yaml", "p.yaml"],
    ["/site.yaml", "p.yaml", "/p.yaml"],
    ["/etc/site.yaml", "../p.yaml", "/etc/../p.yaml"],
    ["etc/site.yaml", "/p.yaml", "/p.yaml"],
  ])("beside %s, %s is %s", (file, path, expected) => {
    expect(joinPath(folderOf(file), path)).toBe(expected);
  });
});
