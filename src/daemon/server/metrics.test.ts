import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { printable } from "#base";
import { serveAgentApi } from "#test-support/api-world";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { deliveryState, siteState } from "#test-support/page-states";
import type { AgentCounters } from "../control.ts";
import type { SiteState } from "../state.ts";
import { exposition, expositionFormat, type Metric } from "./exposition.ts";
import { siteMetrics } from "./metrics.ts";
import { processMetrics } from "./process-metrics.ts";

const COUNTERS: AgentCounters = {
  uplinkBytes: [{ registry: "quay.io", stage: "provider", bytes: 3e9 }],
  uploadBytes: 5,
  deliveries: { done: 1, failed: 2, interrupted: 3 },
  failures: [{ code: "registry-unauthorized", count: 7 }],
  ...{ retries: 8, resumes: 9 },
};

/** A site of which everything is known. */
const FULL = siteState({
  delivery: deliveryState([1, 0, 0]),
  link: { capBytesPerSecond: 1, untilMs: null, quota: { bytes: 1, usedBytes: 1, renewsMs: 1 } },
});

const API = { readers: 1, requests: new Map([[200, 12]]), failedLogins: 2 };

function text(state: SiteState, counters = COUNTERS): string {
  return exposition(siteMetrics(state, counters, API), "prometheus");
}

function report(patch: object): SiteState["credentials"][number] {
  return {
    ...{ registry: "quay.io", role: "provider", origin: "os-pack:providerCredentials" },
    ...{ atMs: 1, image: null, outcome: { kind: "accepted" }, expiries: [] },
    ...{ state: "ok", why: "", hint: undefined, sinceMs: 1 },
    ...patch,
  } as SiteState["credentials"][number];
}

test("what is told of a site is in its metrics, in base units", () => {
  const lines = text(
    siteState({
      delivery: { ...deliveryState([1, 0, 0]), bytesTotal: 100, bytesHere: 10, bytesMoved: 30 },
      link: {
        capBytesPerSecond: 2e6,
        untilMs: null,
        quota: { bytes: 9, usedBytes: 4, renewsMs: 5e3 },
      },
    }),
  ).split("\n");
  for (const line of [
    'drayage_build_info{version="0.7.0"} 1',
    'drayage_uplink_bytes_total{registry="quay.io",stage="provider"} 3000000000',
    "drayage_delivery_remaining_bytes 60",
    "drayage_upload_bytes_total 5",
    'drayage_deliveries_total{outcome="interrupted"} 3',
    'drayage_failures_total{code="registry-unauthorized"} 7',
    "drayage_link_cap_bytes_per_second 2000000",
    "drayage_link_quota_renewal_timestamp_seconds 5",
    'drayage_api_requests_total{status="200"} 12',
  ]) {
    expect(lines).toContain(line);
  }
});

test("what is not known has no value, rather than one that looks like nothing", () => {
  const lines = text(
    siteState({ delivery: null, proof: null, link: null, disk: null, credentials: [] }),
  );
  expect(lines).not.toMatch(/^drayage_(proof|link|store|disk|credential|delivery_remaining)/m);
  expect(lines).toMatch(/^drayage_delivery_running 0$/m);
});

test("without a cap the cap is infinite, and with no window open it is nothing", () => {
  const cap = (capBytesPerSecond: number | null) =>
    text(siteState({ link: { capBytesPerSecond, untilMs: null, quota: null } }));
  expect(cap(null)).toMatch(/^drayage_link_cap_bytes_per_second \+Inf$/m);
  expect(cap(0)).toMatch(/^drayage_link_cap_bytes_per_second 0$/m);
  expect(cap(null)).not.toContain("quota");
});

test("a credential ends with what of it ends first, and is bad if any of its uses is", () => {
  const ends = (endsMs: number) => [{ what: "token", name: "x", endsMs }];
  const lines = text(
    siteState({
      credentials: [
        report({ expiries: [...ends(9_000), ...ends(7_000)] }),
        report({ role: "packs", state: "refused", expiries: ends(8_000) }),
        report({ registry: "ghcr.io", origin: null }),
      ],
    }),
  );
  const quay = '{registry="quay.io",origin="os-pack:providerCredentials"}';
  expect(lines).toContain(`drayage_credential_expiry_timestamp_seconds${quay} 7\n`);
  expect(lines).toContain(`drayage_credential_ok${quay} 0\n`);
  expect(lines).toContain('drayage_credential_ok{registry="ghcr.io",origin=""} 1\n');
  expect(lines).not.toContain('expiry_timestamp_seconds{registry="ghcr.io"');
});

test("a profile with a thousand registries makes a hundred series and one for the rest, which only grow", () => {
  const uplinkBytes = (n: number) =>
    Array.from({ length: n }, (_, i) => ({
      ...{ registry: `r${i}.example`, stage: i % 2 ? "application" : "provider", bytes: 1 },
    }));
  const failures = Array.from({ length: 150 }, (_, i) => ({ code: `code-${i}`, count: 1 }));
  const seriesOf = (n: number) => {
    const all = text(siteState(), { ...COUNTERS, uplinkBytes: uplinkBytes(n), failures });
    return all.split("\n").filter((line) => line.startsWith("drayage_uplink_bytes_total{"));
  };
  expect(seriesOf(1_000)).toHaveLength(102);
  expect(seriesOf(1_000)).toContain(
    'drayage_uplink_bytes_total{registry="other",stage="provider"} 450',
  );
  expect(seriesOf(1_000).slice(0, 100)).toEqual(seriesOf(200).slice(0, 100));
  const all = text(siteState(), { ...COUNTERS, failures });
  expect(all).toContain('drayage_failures_total{code="other"} 50\n');
});

describe("the format", () => {
  const tricky = fc.constantFrom('"', "\\", "\n", "\r", "}", " ", "n", "\u2028", "é");
  const counter: Metric = {
    ...{ name: "a_bytes", type: "counter", help: "All of it." },
    samples: [{ labels: { x: "1" }, value: 2 }],
  };

  test("of Prometheus names a counter as its samples, that of OpenMetrics without _total, and ends", () => {
    expect(exposition([counter], "prometheus")).toBe(
      '# HELP a_bytes_total All of it.\n# TYPE a_bytes_total counter\na_bytes_total{x="1"} 2\n',
    );
    expect(exposition([counter], "openmetrics")).toBe(
      '# HELP a_bytes All of it.\n# TYPE a_bytes counter\na_bytes_total{x="1"} 2\n# EOF\n',
    );
  });

  test.each([
    [null, "prometheus"],
    ["*/*", "prometheus"],
    ["text/plain;version=0.0.4", "prometheus"],
    ["application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "openmetrics"],
    ["text/plain, application/openmetrics-text; q=0", "prometheus"],
  ])("is what the scraper takes: %j is %s", (accept, format) => {
    expect(expositionFormat(accept)).toBe(format as "prometheus");
  });

  // The table that fast-check has of all of them takes a second to make.
  const anyCharacter = fc
    .oneof(fc.integer({ min: 0, max: 0xd7ff }), fc.integer({ min: 0xe000, max: 0x10ffff }))
    .map((code) => String.fromCodePoint(code));

  test("is whole whatever a label says: one line for each sample, and the value comes back", () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string({ unit: anyCharacter, maxLength: 40 }), fc.string({ unit: tricky })),
        (value) => {
          const samples = [{ labels: { x: value }, value: 1 }];
          const lines = exposition([{ ...counter, samples }], "prometheus").split("\n");
          expect(lines).toHaveLength(4);
          const [, label] =
            /^a_bytes_total\{x="((?:[^"\\\n]|\\["\\n])*)"\} 1$/.exec(lines[2] ?? "") ?? [];
          const read = label?.replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
          expect(read).toBe(printable(value));
        },
      ),
      { numRuns: FUZZ_RUNS },
    );
  });
});

test("the process tells of itself under the names that every dashboard knows", () => {
  const all = new Map(processMetrics(Date.now()).map((metric) => [metric.name, metric]));
  for (const name of [
    ...["process_cpu_seconds", "process_resident_memory_bytes", "process_virtual_memory_bytes"],
    ...["process_open_fds", "process_max_fds", "process_start_time_seconds"],
  ]) {
    expect([name, all.get(name)?.samples[0]?.value]).toEqual([name, expect.any(Number)]);
  }
  const rss = all.get("process_resident_memory_bytes")?.samples[0]?.value ?? 0;
  expect(Math.abs(rss - process.memoryUsage.rss())).toBeLessThan(200e6);
});

test("docs/metrics.md tells of every metric that there is, in its words, and of no other", () => {
  const page = readFileSync(join(import.meta.dir, "../../../docs/metrics.md"), "utf8");
  const told = [...page.matchAll(/^\| `((?:drayage|process)_\w+)` \|[^|]*\| ([^|]+) \|$/gm)];
  const there = [...siteMetrics(FULL, COUNTERS, API), ...processMetrics(0)].map(
    ({ name, type, help }) => [type === "counter" ? `${name}_total` : name, help],
  );
  expect(Object.fromEntries(told.map(([, name = "", help = ""]) => [name, help]))).toEqual(
    Object.fromEntries(there),
  );
});

test("/metrics answers in the format that was asked for", async () => {
  await using world = await serveAgentApi();
  const plain = await world.ask("/metrics");
  expect(plain.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  expect(plain.text).toMatch(/^drayage_proof_ok 1$/m);
  expect(plain.text).toMatch(
    /^drayage_uplink_bytes_total\{registry="quay.io",stage="provider"\} 1000000$/m,
  );
  const open = await world.ask("/metrics", { headers: { accept: "application/openmetrics-text" } });
  expect(open.headers.get("content-type")).toStartWith(
    "application/openmetrics-text; version=1.0.0",
  );
  expect(open.text).toEndWith("# EOF\n");
});
