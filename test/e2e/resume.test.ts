import { expect, setDefaultTimeout, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startLoopbackRegistry } from "#test-support/loopback-registry";
import { dray, startDray, temporaryFolder } from "#test-support/program";
import { SAMPLE_IMAGES, SAMPLE_LOGIN, writeSampleSite } from "#test-support/sample-site";

// Programs are started and images made: on a busy machine that takes its time.
setDefaultTimeout(60_000);

const MIB = 1024 * 1024;

/** A site with one provider image of two layers of 8 MiB that matters, and a site file. */
async function openSite(link: string) {
  const folder = await temporaryFolder();
  const registry = await startLoopbackRegistry(join(folder.path, "registry"), {
    images: Object.fromEntries(
      SAMPLE_IMAGES.map((name, i) => [
        `spectro-images/${name}`,
        { seed: name, layerBytes: i === 0 ? 8 * MIB : 1_000 },
      ]),
    ),
    login: SAMPLE_LOGIN,
  });
  const { args } = await writeSampleSite(folder.path, registry.address);
  const siteFile = join(folder.path, "site.yaml");
  await writeFile(siteFile, `apiVersion: drayage/v1\nkind: Site\nlink: ${link}\n`);
  const store = join(folder.path, "store");
  return {
    registry,
    siteFile,
    args: ["deliver", ...args, `--site=${siteFile}`, "-d", store, "--until=provider", "-o", "json"],
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

function summaryOf(out: string) {
  return JSON.parse(out.trim().split("\n").at(-1) ?? "").summary;
}

test("what was written before a kill -9 is not fetched again", async () => {
  await using site = await openSite("{ rate: 4MB }");
  const child = startDray(site.args);
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  const bytesTold = () =>
    [...text.matchAll(/"type":"bytes".*"bytes":(\d+)/g)].reduce((sum, [, n]) => sum + Number(n), 0);
  while (bytesTold() < 3 * MIB) {
    const { value, done } = await reader.read();
    if (done) break;
    text += value;
  }
  child.kill("SIGKILL");
  await child.exited;
  expect(bytesTold()).toBeGreaterThanOrEqual(3 * MIB);
  await writeFile(site.siteFile, "apiVersion: drayage/v1\nkind: Site\n");
  const run = await dray(site.args);
  expect(run.exitCode).toBe(0);
  const { bytesHere, bytesMoved, bytesFetched, bytesTotal } = summaryOf(run.out);
  // Two blobs were in flight, and of each at most a MiB may come again.
  expect(bytesHere).toBeGreaterThan(bytesTold() - 2 * MIB);
  expect(bytesHere + bytesMoved).toBe(bytesTotal);
  expect(bytesFetched).toBe(bytesMoved);
});

test("a quota that is used up ends the delivery with when it renews, and the next goes on", async () => {
  await using site = await openSite("{ quota: { bytes: 6MB, period: month } }");
  const first = await dray(site.args);
  expect(first.exitCode).toBe(1);
  expect(summaryOf(first.out).failures[0].code).toBe("link-quota");
  await writeFile(site.siteFile, "apiVersion: drayage/v1\nkind: Site\n");
  const second = await dray(site.args);
  expect(second.exitCode).toBe(0);
  expect(summaryOf(second.out).bytesHere).toBeGreaterThan(4 * MIB);
});

// A lower bound only: a line or machine that is slower than the cap is not what this is about.
test("a cap is kept by all connections together, whatever the line could give", async () => {
  const bytesPerSecond = 8_000_000;
  await using site = await openSite(`{ rate: ${bytesPerSecond / 1_000_000}MB }`);
  const { exitCode, out } = await dray(site.args);
  expect(exitCode).toBe(0);
  const { bytesFetched, elapsedMs } = summaryOf(out);
  expect(bytesFetched).toBeGreaterThan(16 * MIB);
  expect(elapsedMs).toBeGreaterThan((bytesFetched / bytesPerSecond) * 1000 * 0.85);
});

test("a window that is shut is told, and Ctrl-C ends the wait", async () => {
  const day = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"][(new Date().getUTCDay() + 3) % 7];
  await using site = await openSite(`{ timeZone: UTC, windows: [{ days: [${day}] }] }`);
  const child = startDray(site.args);
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.includes('"type":"waiting"')) {
    const { value, done } = await reader.read();
    if (done) break;
    text += value;
  }
  expect(text).toContain("link.windows");
  child.kill("SIGINT");
  expect(await child.exited).toBe(130);
  expect(site.registry.requests.filter(({ path }) => path.includes("/blobs/"))).toEqual([]);
});
