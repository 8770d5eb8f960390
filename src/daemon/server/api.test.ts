import { describe, expect, test } from "bun:test";
import { connect } from "node:net";
import fc from "fast-check";
import { Failure } from "#base";
import { START_MS } from "#test-support/agent-world";
import {
  type ApiWorld,
  basic,
  documentedPaths,
  serveAgentApi,
  stateProblems,
  testUsers,
} from "#test-support/api-world";
import { createEventClock } from "#test-support/event-clock";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { createMemorySite, type MemorySite } from "#test-support/memory-operations";
import { deliveryState, siteState } from "#test-support/page-states";
import { pageAssets } from "../page/page.ts";
import { ROUTES } from "./routes.ts";

/** Where everything that can be read is. */
const READS = [
  ...["/api/v1/site", "/api/v1/plan", "/api/v1/plan?revision=active", "/api/v1/images"],
  ...["/api/v1/proof", "/api/v1/journal", "/api/v1/journal?limit=2&before=4", "/api/v1/uplink"],
  ...["/api/v1/uplink?hours=720", "/api/v1/me", "/api/openapi.json", "/metrics", "/healthz"],
  "/readyz",
];

/** Where the script of the page is. */
const SCRIPT = pageAssets().find(({ path }) => path.endsWith(".js"))?.path ?? "";

async function firstImage(world: ApiWorld): Promise<string> {
  return (await world.ask("/api/v1/images")).json[0].declared;
}

test("every answer of an agent at work is as the OpenAPI document says", async () => {
  await using world = await serveAgentApi();
  for (const path of READS) {
    const { status } = await world.ask(path);
    expect([path, status]).toEqual([path, 200]);
  }
  const reference = encodeURIComponent(await firstImage(world));
  const explained = await world.ask(`/api/v1/images/explain?reference=${reference}`);
  expect(explained.json.reference).toBe(decodeURIComponent(reference));
  const { json: entries } = await world.ask("/api/v1/journal?limit=2");
  const older = await world.ask(`/api/v1/journal?limit=1&before=${entries[1].id}`);
  expect(older.json[0].id).toBe(entries[1].id - 1);
});

test("the document has every path and verb of the server, and no other", () => {
  const served = ROUTES.map(({ method, path }) => `${method} ${path}`);
  expect([...served].sort()).toEqual([...documentedPaths()].sort());
});

test("the document's SiteState has every field that a site can have", () => {
  const step = { name: "load", outcome: "failed", text: "no", trouble: TROUBLE } as const;
  const done = { ok: false, text: "1 blob is wrong", blobs: 1, bytes: 2, trouble: [TROUBLE] };
  const full = siteState({
    delivery: deliveryState([1, 1, 0.5]),
    activation: { outcome: "failed", steps: [step], atMs: 1 },
    refused: { source: "profile.yaml", atMs: 1, faults: [FINDING] },
    paused: { sinceMs: 1, by: "anna" },
    upkeep: { verified: { ...done, atMs: 1 }, collected: { ...done, atMs: 2 } },
    parts: [
      { name: "api", state: "restarting", sinceMs: 1, restarts: 2, trouble: TROUBLE, nextMs: 3 },
      { name: "socket", state: "running", sinceMs: 1, restarts: 0, address: "/agent.sock" },
    ],
  });
  expect(stateProblems(full)).toEqual([]);
  expect(stateProblems({ ...full, host: 1 } as never)).not.toEqual([]);
  expect(stateProblems({ ...full, brandNew: 1 } as never)).not.toEqual([]);
});

const TROUBLE = { code: "a", message: "b", hint: "c" };
const FINDING = {
  ...{ file: "f", line: 1, column: 2, path: "p", code: "c" },
  ...{ message: "m", remedy: "r" },
};

test("an agent that was never told what is wanted has no revision to show, and says so", async () => {
  await using world = await serveAgentApi();
  for (const path of ["/api/v1/plan", "/api/v1/images", "/api/v1/images/explain"]) {
    const { status, json } = await world.ask(`${path}?revision=previous&reference=a`);
    expect([path, status, json.error.code]).toEqual([path, 404, "revision-missing"]);
  }
  const unknown = await world.ask("/api/v1/images/explain?reference=nobody/knows:it");
  expect([unknown.status, unknown.json.error.code]).toEqual([404, "image-unknown"]);
});

test("who has the state already gets 304 until it changes", async () => {
  await using world = await serveAgentApi();
  const first = await world.ask("/api/v1/site");
  const etag = first.headers.get("etag") ?? "";
  const again = () => world.ask("/api/v1/site", { headers: { "if-none-match": etag } });
  expect(etag).not.toBe("");
  expect([(await again()).status, (await again()).text]).toEqual([304, ""]);
  await world.agent.agent.act("pause", "a test");
  const changed = await again();
  expect([changed.status, changed.json.paused.by]).toEqual([200, "a test"]);
  expect(changed.headers.get("etag")).not.toBe(etag);
});

describe("what is asked wrongly is refused, and why is told", () => {
  test.each([
    ["GET", "/api/v1/images?revision=newest", 400],
    ["GET", "/api/v1/images/explain", 400],
    ["GET", "/api/v1/journal?limit=0", 400],
    ["GET", "/api/v1/journal?limit=1001", 400],
    ["GET", "/api/v1/journal?before=-1", 400],
    ["GET", "/api/v1/journal?before=1e3", 400],
    ["GET", "/api/v1/uplink?hours=1.5", 400],
    ["GET", "/api/v1/uplink?hours=99999", 400],
    ["GET", "/api/v1/sites", 404],
    ["GET", "/api/v2/site", 404],
    ["GET", "/api/v1/actions/stage/now", 404],
    ["GET", "/../etc/passwd", 404],
    ["POST", "/api/v1/site", 405],
    ["DELETE", "/api/v1/journal", 405],
    ["OPTIONS", "/api/v1/site", 405],
    ["GET", "/api/v1/actions/stage", 405],
    ["HEAD", "/api/v1/events", 405],
    ["POST", SCRIPT, 405],
    ["POST", "/api/v1/actions/reboot", 400],
  ])("%s %s", async (method, path, status) => {
    await using world = await serveAgentApi();
    const reply = await world.ask(path, { method });
    expect(reply.status).toBe(status);
    if (method !== "HEAD") {
      expect(reply.json.error).toEqual({
        code: expect.stringMatching(/^[a-z-]+$/),
        message: expect.stringMatching(/^Cannot .*expected/),
        hint: expect.stringMatching(/./),
      });
    }
  });
});

test("a reference that is too long for one is not looked for", async () => {
  await using world = await serveAgentApi();
  const { status } = await world.ask(`/api/v1/images/explain?reference=${"a".repeat(2_000)}`);
  expect(status).toBe(400);
});

describe("actions", () => {
  test("one that is allowed is begun, and is in the journal with the one who asked", async () => {
    await using world = await serveAgentApi();
    const reply = await world.ask("/api/v1/actions/pause", { method: "POST", body: {} });
    expect([reply.status, reply.json]).toEqual([202, { action: "pause" }]);
    const { json } = await world.ask("/api/v1/site");
    expect(json.paused.by).toBe("127.0.0.1");
    const { json: entries } = await world.ask("/api/v1/journal?limit=1");
    expect([entries[0].kind, entries[0].by]).toEqual(["action", "127.0.0.1"]);
  });

  test("one that can't be done now is refused with the reason", async () => {
    await using world = await serveAgentApi();
    const { status, json } = await world.ask("/api/v1/actions/rollback", { method: "POST" });
    expect([status, json.error.code]).toEqual([409, "action-refused"]);
  });

  test.each([
    ["collect", { dryRun: true }, 202],
    ["prove", { full: true }, 202],
    ["collect", { dry_run: true }, 400],
    ["collect", { dryRun: "yes" }, 400],
    ["collect", { full: true }, 400],
    ["activate", { dryRun: true }, 400],
    ["pause", "[]", 400],
    ["pause", "{", 400],
    ["pause", "null", 400],
    ["pause", "", 202],
  ] as const)("%s with %j is answered %i: what it does not know it does not do", async (...row) => {
    const [action, body, expected] = row;
    await using world = await serveAgentApi();
    const { status } = await world.ask(`/api/v1/actions/${action}`, { method: "POST", body });
    expect(status).toBe(expected);
    const { json } = await world.ask("/api/v1/journal");
    const kinds = json.map(({ kind }: { kind: string }) => kind);
    expect(kinds.includes("action")).toBe(expected === 202);
  });

  test("what they were given reaches the agent", async () => {
    const told: unknown[] = [];
    await using world = await serveAgentApi({
      control: { act: async (...args) => void told.push(args) },
    });
    await world.ask("/api/v1/actions/collect", { method: "POST", body: { dryRun: true } });
    expect(told).toEqual([["collect", "127.0.0.1", { dryRun: true }]]);
  });
});

test("a body that is too large is refused before it is read to its end", async () => {
  await using world = await serveAgentApi();
  const body = { x: "a".repeat(20_000) };
  const told = await world.ask("/api/v1/actions/pause", { method: "POST", body });
  expect([told.status, told.json.error.code]).toEqual([413, "body-too-large"]);

  let sent = 0;
  const endless = new ReadableStream<Uint8Array>({
    pull(controller) {
      sent += 1;
      controller.enqueue(new Uint8Array(8 * 1024).fill(0x20));
      if (sent > 8) controller.close();
    },
  });
  const headers = { "content-type": "application/json", "x-drayage": "1" };
  const init = { method: "POST", headers, body: endless, duplex: "half" } as RequestInit;
  const reply = await fetch(`${world.url}/api/v1/actions/pause`, init);
  // The server would cut what is much larger; this is the API's own answer.
  const { error } = (await reply.json()) as { error: { code: string } };
  expect([reply.status, error.code]).toEqual([413, "body-too-large"]);
});

test("a body that says it is too large is refused before any of it comes", async () => {
  await using world = await serveAgentApi();
  const { hostname, port } = new URL(world.url);
  const head = [
    ...["POST /api/v1/actions/pause HTTP/1.1", `host: ${hostname}`, "x-drayage: 1"],
    ...["content-type: application/json", "content-length: 20000", "", ""],
  ];
  expect(await statusOf(hostname, Number(port), head.join("\r\n"))).toBe(413);
});

test("of a fault in the program nothing is told but that it is one", async () => {
  await using world = await serveAgentApi({
    control: {
      uplink: () => {
        throw new Error("hunter2 at /home/anna");
      },
      images: async () => {
        throw new Failure({ code: "store-broken", message: "Cannot read", hint: "Look" });
      },
    },
  });
  const { status, text, json } = await world.ask("/api/v1/uplink");
  expect([status, json.error.code]).toEqual([500, "internal-error"]);
  expect(text).not.toContain("hunter2");
  expect(world.errors).toEqual([expect.objectContaining({ message: "hunter2 at /home/anna" })]);
  const failed = await world.ask("/api/v1/images");
  expect([failed.status, failed.json.error.code]).toEqual([500, "store-broken"]);
});

test("the page says its state to who may read it, and is bare for others", async () => {
  const users = testUsers();
  await using world = await serveAgentApi({ access: users.access, isLoopbackOnly: false });
  const { sentence } = world.agent.agent.state().verdict;
  const page = async (headers: Record<string, string>) => {
    const reply = await fetch(`${world.url}/`, { headers });
    return [
      reply.status,
      (await reply.text()).includes(sentence),
      reply.headers.get("cache-control"),
    ];
  };
  expect(await page({})).toEqual([200, false, "no-cache"]);
  expect(await page({ cookie: `drayage=${"a".repeat(43)}` })).toEqual([200, false, "no-cache"]);
  // Who guesses passwords does it where that is counted, and gets the page whatever they are.
  for (const name of ["anna", "nobody"]) {
    expect(await page({ authorization: basic(name) })).toEqual([200, false, "no-cache"]);
  }
  expect([users.compared(), users.failed]).toEqual([0, []]);
  const login = await world.ask("/api/v1/login", {
    method: "POST",
    body: { user: "rita", password: "rita" },
  });
  const cookie = login.headers.get("set-cookie")?.split(";")[0] ?? "";
  expect(await page({ cookie })).toEqual([200, true, "no-store"]);
});

test("the page is served whole, with validators, packed for who takes gzip", async () => {
  const { access } = testUsers();
  await using world = await serveAgentApi({ access, isLoopbackOnly: false });
  for (const { path, body, etag, contentType, cacheControl } of pageAssets()) {
    const plain = await fetch(`${world.url}${path}`, {
      headers: { "accept-encoding": "identity" },
    });
    expect([path, plain.status, plain.headers.get("etag")]).toEqual([path, 200, etag]);
    expect(plain.headers.get("content-type")).toBe(contentType);
    expect(plain.headers.get("cache-control")).toBe(cacheControl);
    expect(new Uint8Array(await plain.arrayBuffer())).toEqual(body);
    const packed = await fetch(`${world.url}${path}`, { headers: { "accept-encoding": "gzip" } });
    expect(new Uint8Array(await packed.arrayBuffer())).toEqual(body);
    const known = packed.headers.get("etag") ?? "";
    // Packed it is other bytes, so the strong validator is not of them.
    expect([path, known]).toEqual([path, body.length < 1_024 ? etag : `W/${etag}`]);
    for (const tag of [etag, known, `"x", ${known}`, "*"]) {
      const again = await fetch(`${world.url}${path}`, { headers: { "if-none-match": tag } });
      expect([path, tag, again.status]).toEqual([path, tag, 304]);
    }
  }
});

test.each([
  ["gzip", true],
  ["br, gzip;q=0.5", true],
  ["gzip;q=0", false],
  ["identity", false],
  ["xgzip", false],
])("who accepts %j gets gzip: %p", async (accept, isPacked) => {
  await using world = await serveAgentApi();
  const headers = { "accept-encoding": accept };
  const reply = await fetch(`${world.url}${SCRIPT}`, { headers, decompress: false } as RequestInit);
  expect(reply.headers.get("content-encoding") === "gzip").toBe(isPacked);
  expect(reply.headers.get("vary")).toBe("accept-encoding");
});

test("every answer keeps a browser from framing, sniffing, embedding and running it", async () => {
  await using world = await serveAgentApi();
  for (const path of ["/", ...READS, "/nothing", "/api/v1/journal?limit=x"]) {
    const { headers } = await fetch(`${world.url}${path}`);
    expect([path, headers.get("x-content-type-options")]).toEqual([path, "nosniff"]);
    expect(headers.get("x-frame-options")).toBe("DENY");
    expect(headers.get("referrer-policy")).toBe("no-referrer");
    expect(headers.get("cross-origin-resource-policy")).toBe("same-origin");
    expect(headers.get("cross-origin-opener-policy")).toBe("same-origin");
    expect(headers.get("content-security-policy")).toMatch(
      /^default-src 'none';.*frame-ancestors 'none'/,
    );
    expect(headers.get("access-control-allow-origin")).toBeNull();
    expect(headers.get("cache-control")).toMatch(/no-store|no-cache/);
  }
  const { headers } = await fetch(`${world.url}/`);
  expect(headers.get("content-security-policy")).toContain("script-src 'self'");
});

test("HEAD is answered as GET is, without the body", async () => {
  await using world = await serveAgentApi();
  const headers = { "accept-encoding": "identity" };
  const head = await world.ask("/api/v1/site", { method: "HEAD", headers });
  const whole = await world.ask("/api/v1/site", { headers });
  expect([head.status, head.text]).toEqual([200, ""]);
  for (const name of ["etag", "content-length", "content-type"]) {
    expect([name, head.headers.get(name)]).toEqual([name, whole.headers.get(name)]);
  }
});

describe("health", () => {
  const withState = (patch: Parameters<typeof siteState>[0]) =>
    serveAgentApi({ control: { state: () => siteState(patch) } });

  test("is bad while the agent's loop does not run", async () => {
    const part = { name: "reconcile", sinceMs: 1, restarts: 1 } as const;
    await using sick = await withState({ parts: [{ ...part, state: "restarting" }] });
    expect((await sick.ask("/healthz")).status).toBe(503);
    await using well = await withState({ parts: [{ ...part, state: "running" }] });
    expect((await well.ask("/healthz")).status).toBe(200);
  });

  const withSite = (script: MemorySite["script"]) => {
    const clock = createEventClock(START_MS);
    const site = createMemorySite(clock);
    Object.assign(site.script, script);
    return serveAgentApi({ agent: { clock, site } });
  };

  test("is ready once the site is proven and served, and only then", async () => {
    await using ready = await withSite({});
    expect((await ready.ask("/readyz")).status).toBe(200);
    await using unserved = await withSite({
      serveRegistry: async () => {
        throw new Failure({ code: "registry-address", message: "Taken", hint: "Look" });
      },
    });
    expect((await unserved.ask("/readyz")).status).toBe(503);
    expect((await unserved.ask("/api/v1/site")).json.proof.ok).toBe(true);
    const held = createMemorySite(createEventClock(START_MS));
    await using wanting = await withSite({
      // Of a site that has nothing.
      prove: (revision, options, signal) => held.prove(revision, options, signal),
    });
    expect((await wanting.ask("/readyz")).status).toBe(503);
  });
});

test("whatever is sent, the agent answers with something else than a fault of its own", async () => {
  await using world = await serveAgentApi({ isLoopbackOnly: false });
  const { hostname, port } = new URL(world.url);
  // The arbitraries that fast-check has for URLs take a second to make.
  const inTarget = fc.string({
    unit: fc.constantFrom(..."aZ09-_.~%2fEe/?&=+;:@!$'()*,[]{}|^`\\\"<>\u00e9"),
    maxLength: 60,
  });
  const path = fc.oneof(
    fc.constantFrom(...READS, "/api/v1/actions/", "/api/v1/events/", "//", "*"),
    inTarget.map((text) => `/${text}`),
    fc.tuple(fc.constantFrom(...READS), inTarget).map(([a, b]) => `${a}?${b}`),
  );
  const header = fc.tuple(
    fc.constantFrom("host", "origin", "cookie", "authorization", "if-none-match", "accept"),
    fc.string({ unit: "grapheme-ascii", maxLength: 60 }),
  );
  const asked = fc.record({
    method: fc.constantFrom("GET", "HEAD", "POST", "PUT", "OPTIONS", "TRACE"),
    path,
    headers: fc.array(header, { maxLength: 4 }),
  });
  await fc.assert(
    fc.asyncProperty(asked, async ({ method, path: target, headers }) => {
      const lines = headers.map(([name, value]) => `${name}: ${value}`);
      const head = [`${method} ${target} HTTP/1.1`, ...lines, "connection: close", "", ""];
      const status = await statusOf(hostname, Number(port), head.join("\r\n"));
      expect(world.errors).toEqual([]);
      expect([101, 500]).not.toContain(status);
    }),
    { numRuns: Math.ceil(FUZZ_RUNS / 10) },
  );
});

/** The status that raw bytes are answered with; 0 when the server hangs up. */
function statusOf(hostname: string, port: number, bytes: string): Promise<number> {
  return new Promise((resolve) => {
    const socket = connect(port, hostname, () => socket.write(bytes));
    socket.on("data", (chunk) => {
      resolve(Number(/^HTTP\/1.1 (\d+)/.exec(chunk.toString("latin1"))?.[1] ?? 0));
      socket.destroy();
    });
    socket.on("close", () => resolve(0));
    socket.on("error", () => resolve(0));
  });
}
