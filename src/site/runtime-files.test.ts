import { describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Findings } from "#base";
import type { Mirror } from "#redirect";
import { applyEdits } from "#runtime";
import { temporaryFolder } from "#test-support/program";
import { type Edited, editedFiles, restoredFiles } from "./runtime-files.ts";

const THEIRS = 'server = "https://theirs"\n';

/** A mirror at the site's registry, which may have the images of each host in a place of its own. */
function mirrorOf(host: string, prefix = ""): Mirror {
  const origin = "https://10.0.0.5:5055";
  return {
    ...{ host, rewrites: [] },
    endpoints: [{ role: "embedded", origin, prefix, skipVerify: false }],
  };
}

async function openFolder() {
  const folder = await temporaryFolder();
  const target = { runtime: "containerd", configDir: folder.path } as const;
  const apply = (edit: (findings: Findings) => readonly Edited[]) => {
    const findings = new Findings();
    const files = edit(findings);
    if (!findings.hasFaults) applyEdits(files.map((file) => file.edit));
    return {
      changes: files.map(({ change }) => change),
      faults: findings.faults.map(({ code }) => code),
    };
  };
  return {
    path: folder.path,
    write(host: string, text: string) {
      mkdirSync(join(folder.path, host));
      writeFileSync(join(folder.path, host, "hosts.toml"), text);
    },
    link: (from: string, to: string) => symlinkSync(to, join(folder.path, from)),
    text: (host: string) => readFileSync(join(folder.path, host, "hosts.toml"), "utf8"),
    redirect: (...mirrors: readonly Mirror[]) =>
      apply((findings) => editedFiles(target, mirrors, findings)),
    restore: () => apply((findings) => restoredFiles(target, findings)),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

test("what is no text is in the way of its own host alone", async () => {
  await using folder = await openFolder();
  folder.write("quay.io", THEIRS);
  writeFileSync(join(folder.path, "quay.io", "hosts.toml"), Buffer.of(0x23, 0xe9, 0x0a));
  expect(folder.redirect(mirrorOf("docker.io")).changes).toEqual(["created"]);
  expect(() => folder.redirect(mirrorOf("quay.io"))).toThrow("no UTF-8");
  expect(folder.restore().changes).toEqual(["removed"]);
});

describe("one file under several names", () => {
  test("is redirected once and stays so, whichever of its hosts has a mirror", async () => {
    await using folder = await openFolder();
    folder.write("docker.io", THEIRS);
    folder.link("index.docker.io", "docker.io");
    expect(folder.redirect(mirrorOf("docker.io")).changes).toEqual(["changed"]);
    const redirected = folder.text("docker.io");
    expect(folder.redirect(mirrorOf("docker.io")).changes).toEqual(["unchanged"]);
    expect(folder.text("docker.io")).toBe(redirected);
    expect(folder.restore().changes).toEqual(["changed"]);
    expect(folder.text("docker.io")).toBe(THEIRS);
  });

  test("serves several hosts where their mirrors are the same", async () => {
    await using folder = await openFolder();
    folder.write("docker.io", THEIRS);
    folder.link("quay.io", "docker.io");
    const mirrors = [mirrorOf("docker.io"), mirrorOf("quay.io")];
    expect(folder.redirect(...mirrors)).toEqual({ changes: ["changed"], faults: [] });
    expect(folder.redirect(...mirrors)).toEqual({ changes: ["unchanged"], faults: [] });
  });

  test("is refused, untouched, where their mirrors differ", async () => {
    await using folder = await openFolder();
    folder.write("docker.io", THEIRS);
    mkdirSync(join(folder.path, "quay.io"));
    folder.link("quay.io/hosts.toml", "../docker.io/hosts.toml");
    const { faults } = folder.redirect(mirrorOf("docker.io"), mirrorOf("quay.io", "p/quay.io"));
    expect(faults).toEqual(["redirect-shared-file"]);
    expect(folder.text("docker.io")).toBe(THEIRS);
    expect(readdirSync(join(folder.path, "docker.io"))).toEqual(["hosts.toml"]);
  });
});
