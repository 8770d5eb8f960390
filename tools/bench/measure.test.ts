import { expect, test } from "bun:test";
import { measure } from "./measure.ts";

const patient = { timeLimitMs: 60_000, signal: new AbortController().signal };

/** A program that holds so much memory, and ends after its high-water mark was surely seen. */
function holder(bytes: number): string {
  return `${process.execPath} -e 'const held = new Uint8Array(${bytes}).fill(1); await Bun.sleep(200); held.at(0)'`;
}

test("measure() gives how a command ended and what it said last", async () => {
  const { exitCode, output } = await measure(
    ["sh", "-c", "seq 1000; echo end >&2; exit 3"],
    patient,
  );
  expect(exitCode).toBe(3);
  expect(output).toEndWith("999\n1000\nend\n");
  expect(output.length).toBeLessThan(4_100);
});

test("measure() sees the memory of what a command starts, and not its own", async () => {
  const own = new Uint8Array(300_000_000).fill(1);
  const { peakBytes } = await measure(["sh", "-c", `${holder(150_000_000)}; true`], patient);
  expect(peakBytes).toBeGreaterThan(150_000_000);
  expect(peakBytes).toBeLessThan(own.byteLength);
});

test("measure() counts the CPU of what a command started and waited for", async () => {
  const busy = `${process.execPath} -e 'const end = process.cpuUsage().user + 2e5; while (process.cpuUsage().user < end);'`;
  const { cpuMs } = await measure(["sh", "-c", `${busy}; true`], patient);
  expect(cpuMs).toBeGreaterThan(200);
});

test("measure() kills a command that takes too long, with all that it started", async () => {
  // What it started holds its output open, so a process that was left would be waited for.
  const command = ["sh", "-c", "sleep 600 & echo started; wait"];
  const { exitCode, output } = await measure(command, { ...patient, timeLimitMs: 300 });
  expect({ exitCode, output }).toEqual({ exitCode: undefined, output: "started\n" });
});

test("measure() kills a command when it is interrupted, and says so", async () => {
  const interrupted = new AbortController();
  const running = measure(["sleep", "600"], { ...patient, signal: interrupted.signal });
  interrupted.abort(new Error("interrupted"));
  await expect(running).rejects.toThrow("interrupted");
});
