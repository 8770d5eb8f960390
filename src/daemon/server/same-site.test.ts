import { describe, expect, test } from "bun:test";
import { request } from "node:http";
import { type ApiWorld, serveAgentApi } from "#test-support/api-world";

/** Sends a request with any headers, `Host` too, which `fetch` keeps to itself. */
function send(
  { url }: Pick<ApiWorld, "url">,
  path: string,
  { method = "GET", headers = {} }: { method?: string; headers?: Record<string, string> },
): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = request(`${url}${path}`, { method, headers }, (answer) => {
      resolve(answer.statusCode ?? 0);
      answer.destroy();
    });
    sent.on("error", reject);
    sent.end(method === "POST" ? "{}" : undefined);
  });
}

const OURS = { "x-drayage": "1", "content-type": "application/json" };
const PAUSE = "/api/v1/actions/pause";

describe("a name that is not the agent's is not answered for: it may be one that was rebound", () => {
  test.each([
    ["127.0.0.1", 200],
    ["127.0.0.1:5056", 200],
    ["localhost:80", 200],
    ["LOCALHOST", 200],
    ["[::1]:5056", 200],
    ["127.8.8.8", 200],
    ["edge-1.example:5056", 421],
    ["evil.example", 421],
    ["evil.example:5056", 421],
    ["127.0.0.1.evil.example", 421],
    ["localhost.evil.example", 421],
    ["127.0.0.1@evil.example", 421],
    ["10.0.0.5", 421],
  ])("%s: %i", async (host, status) => {
    await using world = await serveAgentApi();
    for (const path of ["/", "/api/v1/site", "/metrics", "/healthz"]) {
      expect([path, await send(world, path, { headers: { host } })]).toEqual([path, status]);
    }
    const asked = await send(world, PAUSE, { method: "POST", headers: { ...OURS, host } });
    expect(asked).toBe(status === 200 ? 202 : 421);
  });

  test("where a login is asked for, any name will do: a rebound one has no cookie", async () => {
    await using world = await serveAgentApi({ isLoopbackOnly: false });
    expect(await send(world, "/healthz", { headers: { host: "edge.example" } })).toBe(200);
  });
});

describe("what a page of another site has the browser send changes nothing", () => {
  const origin = "https://evil.example";
  test.each<[string, Record<string, string>, number]>([
    ["a program's request", OURS, 202],
    ["without the header", { "content-type": "application/json" }, 403],
    ["with another value of it", { ...OURS, "x-drayage": "0" }, 403],
    ["a form's type", { ...OURS, "content-type": "text/plain" }, 415],
    ["a form's type that hides", { ...OURS, "content-type": "text/plain; application/json" }, 415],
    ["a type that begins alike", { ...OURS, "content-type": "application/jsonx" }, 415],
    ["no type", { "x-drayage": "1" }, 415],
    ["with parameters", { ...OURS, "content-type": "application/json; charset=utf-8" }, 202],
    ["from another origin", { ...OURS, origin }, 403],
    ["from no origin", { ...OURS, origin: "null" }, 403],
    ["from another port", { ...OURS, origin: "http://127.0.0.1:1" }, 403],
    ["as a browser says cross-site", { ...OURS, "sec-fetch-site": "cross-site" }, 403],
    ["as a browser says same-site", { ...OURS, "sec-fetch-site": "same-site" }, 403],
    ["as a browser says same-origin", { ...OURS, "sec-fetch-site": "same-origin" }, 202],
    ["as a browser says none", { ...OURS, "sec-fetch-site": "none" }, 202],
  ])("%s", async (_, headers, status) => {
    await using world = await serveAgentApi();
    expect(await send(world, PAUSE, { method: "POST", headers })).toBe(status);
    const { json } = await world.ask("/api/v1/site");
    expect(json.paused !== null).toBe(status === 202);
  });

  test("the page's own requests are taken, with its origin", async () => {
    await using world = await serveAgentApi();
    const headers = { ...OURS, origin: world.url, "sec-fetch-site": "same-origin" };
    expect(await send(world, PAUSE, { method: "POST", headers })).toBe(202);
  });
});

test("another site's page can't read or keep busy what it may not see, but may link to the page", async () => {
  await using world = await serveAgentApi();
  const headers = { "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" };
  for (const path of ["/api/v1/site", "/api/v1/events", "/metrics"]) {
    expect([path, await send(world, path, { headers })]).toEqual([path, 403]);
  }
  expect(await send(world, "/", { headers: { ...headers, "sec-fetch-mode": "navigate" } })).toBe(
    200,
  );
});
