import { expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { temporaryFolder } from "#test-support/program";
import { type CommandOptions, runCommand } from "./run-command.ts";

const env = { PATH: process.env["PATH"] };

async function run(script: string, options: Partial<CommandOptions> = {}) {
  const lines: string[] = [];
  const end = await runCommand(["sh", "-c", script], {
    ...{ env, timeoutMs: 0, signal: new AbortController().signal },
    onLine: (line) => lines.push(line),
    ...options,
  });
  return { end, lines };
}

/** A zombie is no process any more: nobody may be there to wait for it. */
function isRunning(pid: string): boolean {
  return existsSync(`/proc/${pid}`) && !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
}

test("lines of both outputs are told, escaped, however they end", async () => {
  const { end, lines } = await run(
    String.raw`printf 'one\ntwo\r\n10%%\r20%%\r\n\nlast \033[2J\302\205'; printf 'no end' >&2; exit 7`,
  );
  expect(end).toEqual({ kind: "exited", exitStatus: 7 });
  expect(lines.filter((line) => line !== "no end")).toEqual([
    ...["one", "two", "10%", "20%", String.raw`last \u001b[2J\u0085`],
  ]);
  expect(lines).toContain("no end");
});

test("a character that comes in two pieces is one", async () => {
  const { lines } = await run(String.raw`printf '\303'; sleep 0.05; printf '\244\n'`);
  expect(lines).toEqual(["ä"]);
});

test("output without an end is cut, line by line and as a whole", async () => {
  const { lines } = await run("head -c 20000 /dev/zero | tr '\\0' x; echo; yes | head -n 20000");
  expect(lines).toHaveLength(5_001);
  expect(Math.max(...lines.map((line) => line.length))).toBe(501);
  expect(lines.at(-1)).toBe("(what it wrote after this is left out)");
});

test("a line that never ends is told in pieces, and not gathered", async () => {
  const { lines } = await run("head -c 20000000 /dev/zero | tr '\\0' x");
  // How much of it comes at a time is the system's.
  expect(lines.length).toBeGreaterThan(1);
});

test("words are given as they are, and nothing is read from us", async () => {
  const words = ["a b", "$HOME", "'", "", "ä;*"];
  const lines: string[] = [];
  await runCommand(["sh", "-c", 'printf "<%s>\\n" "$@"; cat', "sh", ...words], {
    ...{ env, timeoutMs: 0, signal: new AbortController().signal },
    onLine: (line) => lines.push(line),
  });
  expect(lines).toEqual(words.map((word) => `<${word}>`));
});

test("what can't be started is told with the system's word for it", async () => {
  await using folder = await temporaryFolder();
  const start = (program: string) =>
    runCommand([program], {
      ...{ env, timeoutMs: 0, signal: new AbortController().signal },
      onLine: () => undefined,
    });
  const [plain, noProgram] = ["plain", "no-program"].map((name) => join(folder.path, name));
  writeFileSync(plain ?? "", "", { mode: 0o644 });
  writeFileSync(noProgram ?? "", "\x7fELF", { mode: 0o755 });
  expect(await start("/nowhere/prog")).toEqual({ kind: "unstartable", code: "ENOENT" });
  expect(await start("no-such-program-anywhere")).toEqual({ kind: "unstartable", code: "ENOENT" });
  expect(await start(plain ?? "")).toEqual({ kind: "unstartable", code: "EACCES" });
  expect(await start(noProgram ?? "")).toEqual({ kind: "unstartable", code: "ENOEXEC" });
});

test("a program that a signal ended says which", async () => {
  expect((await run("kill -9 $$")).end).toEqual({ kind: "killed", by: "SIGKILL" });
});

test("a program that takes too long is ended with all that it started, also against its will", async () => {
  await using folder = await temporaryFolder();
  const pids = join(folder.path, "pids");
  const stubborn = `trap '' TERM; sh -c 'trap "" TERM; echo $$ >> ${pids}; while :; do sleep 0.05; done' & echo $$ >> ${pids}; wait; while :; do sleep 0.05; done`;
  const { end } = await run(stubborn, { timeoutMs: 1_000, graceMs: 100 });
  expect(end).toEqual({ kind: "timeout" });
  const started = readFileSync(pids, "utf8").trim().split("\n");
  expect(started).toHaveLength(2);
  expect(started.filter(isRunning)).toEqual([]);
});

test("what a program started is ended with it, when the program itself is gone at once", async () => {
  await using folder = await temporaryFolder();
  const [pid, tidied] = [join(folder.path, "pid"), join(folder.path, "tidied")];
  const start = (trap: string, graceMs: number) =>
    run(`sh -c '${trap} echo $$ > ${pid}; while :; do sleep 0.05; done' > /dev/null 2>&1 & wait`, {
      ...{ timeoutMs: 1_000, graceMs },
    });
  expect((await start('trap "" TERM;', 200)).end).toEqual({ kind: "timeout" });
  while (isRunning(readFileSync(pid, "utf8").trim())) await setImmediate();
  // Who ends in order has the time for it.
  await start(`trap "sleep 0.1; echo done > ${tidied}; exit" TERM;`, 10_000);
  expect(readFileSync(tidied, "utf8")).toBe("done\n");
});

test("a time that no timer can hold does not end a program at once", async () => {
  const { end } = await run("sleep 0.2; exit 3", { timeoutMs: 999_999 * 86_400_000 });
  expect(end).toEqual({ kind: "exited", exitStatus: 3 });
});

test("a program that is told to end may end in order", async () => {
  const { end, lines } = await run("trap 'echo tidies; exit 0' TERM; echo up; sleep 600 & wait", {
    timeoutMs: 300,
  });
  expect(end).toEqual({ kind: "timeout" });
  expect(lines).toEqual(["up", "tidies"]);
});

test("what a program leaves running does not hold us, and lives on", async () => {
  await using folder = await temporaryFolder();
  const pid = join(folder.path, "pid");
  const { end, lines } = await run(`sleep 600 & echo $! > ${pid}; echo done`);
  expect(end).toEqual({ kind: "exited", exitStatus: 0 });
  expect(lines).toEqual(["done"]);
  const left = readFileSync(pid, "utf8").trim();
  expect(isRunning(left)).toBe(true);
  process.kill(Number(left), "SIGKILL");
});

test("an aborted run throws the reason, and one that was aborted before starts nothing", async () => {
  const ending = new AbortController();
  const reason = new Error("enough");
  const running = run("echo up; sleep 600", {
    signal: ending.signal,
    onLine: () => ending.abort(reason),
  });
  await expect(running).rejects.toBe(reason);
  await using folder = await temporaryFolder();
  const mark = join(folder.path, "mark");
  await expect(run(`touch ${mark}`, { signal: ending.signal })).rejects.toBe(reason);
  expect(existsSync(mark)).toBe(false);
});
