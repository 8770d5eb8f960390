import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Secret } from "#base";
import { type ApiWorld, serveAgentApi, testUsers } from "#test-support/api-world";
import { freePort } from "#test-support/docker-registry";
import { haveClients, runClient } from "#test-support/foreign-client";
import { deliveryState, siteState } from "#test-support/page-states";
import { temporaryFolder } from "#test-support/program";

setDefaultTimeout(60_000);

const TOKEN = "0123456789abcdef0123456789abcdef";

/** A site of which everything is known, with a name that needs escaping. */
const STATE = siteState({
  version: '0.7.0 "beta" \\ \n',
  delivery: deliveryState([1, 0.4, 0]),
  link: { capBytesPerSecond: null, untilMs: null, quota: { bytes: 9, usedBytes: 4, renewsMs: 5 } },
});

const COUNTERS = {
  uplinkBytes: [{ registry: "quay.io", stage: "provider", bytes: 3e9 }],
  ...{ uploadBytes: 5, retries: 8, resumes: 9 },
  deliveries: { done: 1, failed: 2, interrupted: 3 },
  failures: [{ code: "registry-unauthorized", count: 7 }],
};

describe.if(haveClients("promtool"))("promtool", () => {
  test("has nothing to say of the metrics: names, units, types and the text itself", async () => {
    const control = { state: () => STATE, counters: () => COUNTERS };
    await using world = await serveAgentApi({ control });
    await using folder = await temporaryFolder();
    const { text } = await world.ask("/metrics");
    expect(text).toContain("drayage_delivery_remaining_bytes");
    expect(await runClient(folder.path, ["promtool", "check", "metrics"], text)).toBe("");
  });
});

describe.if(haveClients("prometheus"))("Prometheus", () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let world: ApiWorld;
  let program: ReturnType<typeof Bun.spawn> | undefined;
  let address = "";

  beforeAll(async () => {
    const users = testUsers({ metricsToken: () => new Secret(TOKEN) });
    const control = { state: () => STATE, counters: () => COUNTERS };
    world = await serveAgentApi({ control, access: users.access, isLoopbackOnly: false });
    folder = await temporaryFolder();
    address = `127.0.0.1:${await freePort()}`;
    await mkdir(join(folder.path, "data"));
    await writeFile(join(folder.path, "token"), `${TOKEN}\n`);
    await writeFile(join(folder.path, "prometheus.yml"), configuration(new URL(world.url).host));
    program = Bun.spawn(
      [
        ...["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data"],
        ...[`--web.listen-address=${address}`, "--log.level=error"],
      ],
      { cwd: folder.path, stdout: "ignore", stderr: "ignore" },
    );
  });

  afterAll(async () => {
    program?.kill();
    await program?.exited;
    await world[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });

  test("scrapes the agent with the token, and reads what it was told", async () => {
    expect(await query(address, "up")).toEqual(["1"]);
    expect(await query(address, "drayage_uplink_bytes_total")).toEqual(["3000000000"]);
    expect(await query(address, "drayage_link_cap_bytes_per_second")).toEqual(["+Inf"]);
    expect(await query(address, 'drayage_build_info{version=~".*beta.*"}')).toEqual(["1"]);
    expect(await query(address, "process_open_fds > 3")).toHaveLength(1);
    const types = await metadata(address);
    expect(types["drayage_store_bytes"]).toBe("gauge");
    // Prometheus asks for OpenMetrics first, in which a counter goes without its ending.
    expect(types["drayage_uplink_bytes"]).toBe("counter");
  });
});

function configuration(target: string): string {
  return [
    "global: { scrape_interval: 1s, scrape_timeout: 1s }",
    "scrape_configs:",
    "  - job_name: drayage",
    "    authorization: { credentials_file: token }",
    `    static_configs: [{ targets: ["${target}"] }]`,
    "",
  ].join("\n");
}

interface Answer {
  readonly data?: { readonly result: readonly { readonly value: readonly [number, string] }[] };
}

/** Values of a query, once there are any. */
async function query(address: string, promql: string): Promise<readonly string[]> {
  const url = `http://${address}/api/v1/query?query=${encodeURIComponent(promql)}`;
  for (let attempt = 0; attempt < 300; attempt += 1) {
    // While it starts, it does not answer, or answers that it starts.
    const response = await fetch(url).catch(() => undefined);
    const answer = response?.ok ? ((await response.json()) as Answer) : undefined;
    const values = answer?.data?.result.map(({ value: [, text] }) => text) ?? [];
    if (values.length > 0) return values;
    await Bun.sleep(100);
  }
  throw new Error(`Prometheus knows nothing of ${promql}`);
}

async function metadata(address: string): Promise<Readonly<Record<string, string>>> {
  const response = await fetch(`http://${address}/api/v1/metadata`);
  const { data } = (await response.json()) as { data: Record<string, { type: string }[]> };
  return Object.fromEntries(
    Object.entries(data).map(([name, [first]]) => [name, first?.type ?? ""]),
  );
}
