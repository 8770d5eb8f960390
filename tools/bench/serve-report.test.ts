import { expect, test } from "bun:test";
import { canLoad, openLoadGenerator } from "./load.ts";
import type { ServeCell, ServeResult, ServeRun } from "./serve.ts";
import { formatServe, plotServe, summariseCell } from "./serve-report.ts";

const GB = 1e9;

function runOf(bytes: number, answers: number, cpuMs: number): ServeRun {
  const times = { wallMs: 2_000, ownCpuMs: 500, medianMs: 1.25, slowMs: 9.5, connections: 4 };
  return { ...times, bytes, answers, cpuMs, peakBytes: 70e6 };
}

const cell = (title: string, counts: ServeCell["counts"]): ServeCell => ({
  ...{ title, counts, clients: 200, method: "GET", status: 200 },
  paths: () => [],
});

const RESULT: ServeResult = {
  versions: [{ name: "drayage", version: "0.1.0" }],
  cells: [
    {
      cell: cell("blobs of 16 MB", "bytes"),
      results: [
        {
          server: "drayage",
          runs: [runOf(2 * GB, 125, 400), runOf(6 * GB, 375, 600), runOf(4 * GB, 250, 1_200)],
        },
        { server: "zot", runs: [runOf(2 * GB, 125, 1_000)] },
      ],
    },
    {
      cell: cell("GET manifest by tag", "answers"),
      results: [
        { server: "drayage", runs: [runOf(0, 40_000, 1_000)] },
        { server: "zot", runs: [runOf(0, 4_000, 2_000)] },
      ],
    },
  ],
  pushes: [{ server: "drayage", peakBytes: 77e6 }],
};

test("summariseCell() takes the middle of each figure by itself, cost by what was served", () => {
  const [ours] = RESULT.cells.map(summariseCell)[0] ?? [];
  expect(ours).toMatchObject({ bytesPerSecond: 2 * GB, answersPerSecond: 125, clientsLoad: 0.25 });
  expect(ours?.cpuMsPerGigabyte).toBe(200);
});

test("formatServe() has a line for each registry at each cell, bytes and answers apart", () => {
  const text = formatServe(RESULT);
  expect(text).toContain("| blobs of 16 MB | 200 | drayage | 2000 | 200 ms | 70 MB |\n");
  expect(text).toContain(
    "| GET manifest by tag | 200 | zot | 2000 | 500 µs | 1.25 ms | 9.50 ms |\n",
  );
  expect(text).toContain("In each of 3 rounds");
  expect(text).toContain("drayage 77 MB.");
});

test("plotServe() draws each registry in each panel, ours told apart", () => {
  const svg = plotServe(RESULT);
  expect(svg.match(/<rect /g)).toHaveLength(8);
  expect(svg.match(/class="bar ours"/g)).toHaveLength(4);
  expect(svg).toContain("2000 MB/s");
  expect(svg).toContain("20000/s");
});

test.skipIf(!canLoad)(
  "the clients count what they get, and nothing of what they did not expect",
  async () => {
    await using load = await openLoadGenerator();
    const served = new Map<string, number>();
    await using server = Bun.serve({
      ...{ hostname: "127.0.0.1", port: 0, reusePort: false },
      fetch({ url, method }) {
        const { pathname } = new URL(url);
        served.set(pathname, (served.get(pathname) ?? 0) + 1);
        if (pathname === "/none") return new Response("gone", { status: 404 });
        return new Response(method === "HEAD" ? null : new Uint8Array(100_000));
      },
    });
    const { port = 0 } = server;
    const asked = { port, clients: 8, seconds: 0.2, status: 200 };
    const got = await load.run({ ...asked, method: "GET", paths: ["/a", "/b"] });
    expect(got.connections).toBe(8);
    expect(got.answers).toBeGreaterThan(8);
    const requests = (served.get("/a") ?? 0) + (served.get("/b") ?? 0);
    // Those under way at the end are served and count by their bytes at most.
    expect(requests - got.answers).toBeLessThanOrEqual(8);
    expect(got.bytes).toBeGreaterThanOrEqual(got.answers * 100_000);
    expect(got.bytes).toBeLessThanOrEqual(requests * 100_000);
    expect(Math.abs((served.get("/a") ?? 0) - (served.get("/b") ?? 0))).toBeLessThanOrEqual(8);

    const heads = await load.run({ ...asked, method: "HEAD", paths: ["/a"] });
    expect(heads.answers).toBeGreaterThan(8);
    expect(heads.bytes).toBe(0);
    const wrong = load.run({ ...asked, method: "GET", paths: ["/none"] });
    await expect(wrong).rejects.toThrow("404");
  },
);
