import { afterEach, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, isFailure, Secret, systemClock } from "#base";
import { createManualClock } from "#test-support/clock";
import { readyScript } from "#test-support/page-states";
import { AgentClient } from "./agent-client.ts";
import { connectionFailure } from "./agent-failure.ts";
import type { AgentPlace } from "./agent-place.ts";

/** What was opened by a test, the newest last. */
const opened: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

const SIGNAL = new AbortController().signal;

/** A client of what answers so on a socket. */
async function clientOf(
  answer: (request: Request) => Response | Promise<Response>,
  clock: Clock = systemClock,
): Promise<AgentClient> {
  const folder = await mkdtemp(join(tmpdir(), "dray-"));
  opened.push(() => rm(folder, { recursive: true }));
  const path = join(folder, "agent.sock");
  const server = Bun.serve({ unix: path, fetch: answer });
  opened.push(() => server.stop(true));
  return new AgentClient({ kind: "socket", path, because: "a test" }, { clock, signal: SIGNAL });
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  const error: unknown = await work.then(
    () => "it did not fail",
    (error: unknown) => error,
  );
  return isFailure(error) ? error.code : String(error);
}

async function all<T>(items: AsyncIterable<T>): Promise<readonly T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

function streamOf(...pieces: readonly string[]): Response {
  const body = new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(new TextEncoder().encode(piece));
      controller.close();
    },
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

describe("AgentClient", () => {
  test("what changes something carries the header and the type that the API demands", async () => {
    const seen: unknown[] = [];
    const client = await clientOf(async (request) => {
      const { method, url, headers } = request;
      seen.push([method, new URL(url).pathname, headers.get("x-drayage"), await request.text()]);
      seen.push(headers.get("content-type"));
      return Response.json({}, { status: 202 });
    });
    await client.act("activate");
    expect(seen).toEqual([["POST", "/api/v1/actions/activate", "1", "{}"], "application/json"]);
  });

  test("follows states and lines of the journal, and leaves the rest to others", async () => {
    const { state } = readyScript();
    const client = await clientOf(() =>
      streamOf(
        `event: state\ndata: ${JSON.stringify(state)}\n`,
        `\n: still here\n\nevent: delivery\ndata: {"type":"waiting"}\n\n`,
      ),
    );
    expect(await all(client.follow())).toEqual([
      { type: "state", state: JSON.parse(JSON.stringify(state)) },
    ]);
  });

  test("a state that is none is refused, in an answer and in a stream", async () => {
    const client = await clientOf(({ url }) =>
      url.endsWith("/events") ? streamOf("event: state\ndata: {}\n\n") : Response.json({}),
    );
    expect(await codeOf(client.site())).toBe("agent-answer-invalid");
    expect(await codeOf(all(client.follow()))).toBe("agent-answer-invalid");
  });

  test("who does not answer in time is silent, also in the middle of a stream", async () => {
    const never = () => new Promise<Response>(() => {});
    expect(await codeOf((await clientOf(never, createManualClock())).site())).toBe("agent-silent");
    const begun = () => new Response(new ReadableStream({ start: (it) => it.enqueue(":\n") }));
    const clock: Clock = {
      ...systemClock,
      // Time for an answer is real; of the silence of a stream nothing is waited for.
      sleep: (ms, signal) => (ms > 10_000 ? Promise.resolve() : systemClock.sleep(ms, signal)),
    };
    const client = await clientOf(begun, clock);
    expect(await codeOf(all(client.follow()))).toBe("agent-silent");
  });

  test("an answer without an end is refused before it fills the memory", async () => {
    const mebibyte = new Uint8Array(1024 * 1024);
    let sent = 0;
    const client = await clientOf(
      () =>
        new Response(
          new ReadableStream({
            pull(controller) {
              sent += 1;
              controller.enqueue(mebibyte);
            },
          }),
        ),
    );
    expect(await codeOf(client.site())).toBe("agent-answer-invalid");
    expect(sent).toBeLessThan(100);
  });

  test("a refusal is told in the agent's words, which can't steer the terminal", async () => {
    const error = { code: "action-refused", message: "Nothing is staged\u001b[2J", hint: "" };
    const client = await clientOf(() => Response.json({ error }, { status: 409 }));
    const refusal: unknown = await client.act("activate").catch((thrown: unknown) => thrown);
    expect(refusal).toMatchObject({
      ...{ code: "action-refused", message: "Nothing is staged\\u001b[2J" },
      hint: "Look into the journal with `dray journal`",
    });
  });

  test("what refuses without a reason of ours is no agent", async () => {
    const bodies = ["<html>", '{"error":"no"}', '{"error":{"code":"A B","message":"x"}}', ""];
    for (const body of bodies) {
      const client = await clientOf(() => new Response(body, { status: 404 }));
      expect([body, await codeOf(client.site())]).toEqual([body, "agent-answer-invalid"]);
    }
  });

  test("a login goes to the agent that was named, and follows no redirect", async () => {
    const logins: (string | null)[] = [];
    const other = serveOn(({ headers }) => {
      logins.push(headers.get("authorization"));
      return Response.json({});
    });
    const named = serveOn(() => Response.redirect(`${other}/api/v1/site`, 307));
    const place: AgentPlace = {
      ...{ kind: "address", origin: named, ca: undefined },
      login: { user: "ops", password: new Secret("open sesame") },
    };
    const client = new AgentClient(place, { clock: systemClock, signal: SIGNAL });
    expect(await codeOf(client.site())).toBe("agent-answer-invalid");
    expect(logins).toEqual([]);
  });

  test("an interruption is none of the agent's failures", async () => {
    const interruption = new AbortController();
    const folder = await mkdtemp(join(tmpdir(), "dray-"));
    opened.push(() => rm(folder, { recursive: true }));
    const path = join(folder, "agent.sock");
    const server = createServer(() => interruption.abort(new Error("interrupted"))).listen(path);
    opened.push(() => server.close());
    const place = { kind: "socket", path, because: "a test" } as const;
    const client = new AgentClient(place, { clock: systemClock, signal: interruption.signal });
    expect(await codeOf(client.site())).toBe("Error: interrupted");
  });
});

function serveOn(answer: (request: Request) => Response): string {
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, reusePort: false, fetch: answer });
  opened.push(() => server.stop(true));
  return server.url.origin;
}

describe("connectionFailure()", () => {
  const socket: AgentPlace = {
    ...{ kind: "socket", path: "/run/agent.sock", because: "a test" },
  };
  const https: AgentPlace = {
    ...{ kind: "address", origin: "https://10.0.0.5" },
    ...{ login: undefined, ca: undefined },
  };

  test.each([
    [socket, "ENOENT", "agent-missing"],
    [socket, "ECONNREFUSED", "agent-missing"],
    [socket, "EACCES", "agent-forbidden"],
    [socket, "ECONNRESET", "agent-unreachable"],
    [https, "ECONNREFUSED", "agent-unreachable"],
    [https, "ENOTFOUND", "agent-unreachable"],
    [https, "UNABLE_TO_VERIFY_LEAF_SIGNATURE", "agent-untrusted"],
    [https, "ERR_TLS_CERT_ALTNAME_INVALID", "agent-untrusted"],
    [https, "CERT_HAS_EXPIRED", "agent-untrusted"],
    [https, "DEPTH_ZERO_SELF_SIGNED_CERT", "agent-untrusted"],
  ] as const)("%j, %s: %s", (place, code, expected) => {
    const failure = connectionFailure(place, Object.assign(new Error("x"), { code }));
    expect(failure.code).toBe(expected);
  });
});
