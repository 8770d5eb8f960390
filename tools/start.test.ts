import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmod, copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { temporaryFolder } from "#test-support/program";
import { build } from "./build.ts";
import { ROOT } from "./step.ts";

/** A program that prints what it was given and what reached it from the folder it was started in. */
const PROGRAM = `
const version = typeof BUILD_VERSION === "string" ? BUILD_VERSION : "source";
console.log(JSON.stringify({ version, arguments: process.argv.slice(2), planted: process.env.PLANTED ?? null }));
`;

let folder = "";
const at = (...path: string[]) => join(folder, ...path);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "drayage start "));
  for (const name of ["empty/bin", "checkout/bin", "checkout/src", "links", "hostile"]) {
    await mkdir(at(name), { recursive: true });
  }
  for (const name of ["empty", "checkout"]) {
    await copyFile(join(ROOT, "bin", "dray"), at(name, "bin", "dray"));
    await chmod(at(name, "bin", "dray"), 0o755);
  }
  await writeFile(at("checkout/src/main.ts"), PROGRAM);
  await symlink(join(ROOT, "node_modules"), at("checkout/node_modules"));
  await writeFile(at("hostile/.env"), "PLANTED=yes\n");
  await writeFile(at("hostile/bunfig.toml"), 'preload = ["./planted.ts"]\n');
  await writeFile(at("hostile/planted.ts"), 'console.log("planted code ran");\n');
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function start(command: readonly string[], cwd: string) {
  const child = Bun.spawn([...command], { cwd, stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { exitCode: await child.exited, stdout, stderr };
}

test("bin/dray says what to run when the dependencies are not installed", async () => {
  const { exitCode, stdout, stderr } = await start([at("empty/bin/dray"), "plan"], "/");
  expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" });
  expect(stderr).toContain("npm ci");
});

test("bin/dray runs the source from any folder, through links, with its arguments as they are", async () => {
  await symlink("../checkout/bin/dray", at("links/relative"));
  await symlink(at("links/relative"), at("links/absolute"));
  const given = ["plan", "two words", "--config", "", "*"];
  for (const path of ["checkout/bin/dray", "links/relative", "links/absolute"]) {
    const { stdout } = await start([at(path), ...given], at("hostile"));
    expect(JSON.parse(stdout)).toEqual({ version: "source", arguments: given, planted: null });
  }
});

test("the executable knows its version, and runs nothing of the folder it is started in", async () => {
  const { version } = await build(at("checkout/src/main.ts"), at("out/dray"));
  const { stdout } = await start([at("out/dray"), "plan", "--config", "x"], at("hostile"));
  expect(JSON.parse(stdout)).toEqual({
    version,
    arguments: ["plan", "--config", "x"],
    planted: null,
  });
});

// A run whose end did not say how it went was taken for one that said nothing: `npm ci` without a network.
test.each([
  ["echo '7 passed, 0 failed'", 0, "7 passed, 0 failed"],
  ["echo '5 passed, 2 failed'; exit 1", 1, "5 passed, 2 failed"],
  ["echo 'npm error network'; exit 7", 7, "0 passed, 1 failed"],
  ["echo 'ok   lint'", 1, "0 passed, 1 failed"],
] as const)(".ci/run ends with a closing line when npm does this: %s", async (does, code, line) => {
  await using checkout = await temporaryFolder();
  for (const folder of [".ci", "tools", "bin"]) await mkdir(join(checkout.path, folder));
  await copyFile(join(ROOT, ".ci", "run"), join(checkout.path, ".ci", "run"));
  const programs = { "tools/install-programs.sh": `echo "${checkout.path}/bin"`, "bin/npm": does };
  for (const [name, text] of Object.entries(programs)) {
    await writeFile(join(checkout.path, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  }
  const { exitCode, stdout } = await start([join(checkout.path, ".ci", "run")], "/");
  expect(exitCode).toBe(code);
  expect(stdout.trimEnd().split("\n").at(-1)).toBe(line);
});
