import { describe, expect, test } from "bun:test";
import { tmpdir } from "node:os";
import { isFailure } from "#base";
import { ANONYMOUS } from "#credential";
import { DEFAULT_LOCAL_SETTINGS } from "#profile";
import { parseReference } from "#reference";
import { createManualClock } from "#test-support/clock";
import { type HttpServer, type Reply, startHttpServer } from "#test-support/http-server";
import { remoteWith, signal } from "#test-support/remote-world";
import { openLocalRegistry } from "./local-registry.ts";

/** What answers at an address: to `/v2/`, and to everything else. */
function startAnswering(base: Reply, other: Reply): Promise<HttpServer> {
  return startHttpServer(async ({ target }) => (target === "/v2/" ? base : other));
}

async function prepared(address: string): Promise<string> {
  const registry = openLocalRegistry({
    local: {
      ...{ kind: "oci", address, project: "spectro-images" },
      ...{ indexes: "one-platform", access: ANONYMOUS, authenticated: false },
    },
    ...{ settings: DEFAULT_LOCAL_SETTINGS, remote: remoteWith(), dataDir: tmpdir() },
    context: { clock: createManualClock(), random: () => 0 },
    onNotice: () => undefined,
  });
  const names = [parseReference(`${address}/spectro-images/quay.io/app:1`)];
  try {
    await registry?.prepare({ names, blobs: [] }, { signal });
    return "ready";
  } catch (error) {
    if (!isFailure(error)) throw error;
    return error.transient ? `not yet: ${error.code}` : error.code;
  }
}

describe("a registry of any kind, asked whether it can be pushed to,", () => {
  const none: Reply = { status: 404, body: "default backend - 404" };
  const cases: readonly (readonly [string, Reply, Reply, string])[] = [
    ["is ready when it has no image yet", { status: 200 }, none, "ready"],
    ["is ready when it tells strangers nothing", { status: 401 }, none, "ready"],
    ["is waited for while an ingress answers in its place", none, none, "not yet: registry-absent"],
    ["is waited for while it starts", none, { status: 503 }, "not yet: registry-error"],
  ];
  test.each(cases)("%s", async (_, base, other, found) => {
    await using server = await startAnswering(base, other);
    expect(await prepared(server.address)).toBe(found);
  });

  test("is waited for while nobody is there", async () => {
    const server = await startAnswering({ status: 200 }, none);
    await server[Symbol.asyncDispose]();
    expect(await prepared(server.address)).toBe("not yet: registry-unreachable");
  });
});
