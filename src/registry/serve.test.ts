import { expect, test } from "bun:test";
import { isFailure } from "#base";
import { createMemoryStore } from "#content";
import { createRegistry, serveRegistry } from "#registry";
import { testCertificates } from "#test-support/certificates";
import { buildImage } from "#test-support/images";

const registry = createRegistry({ store: createMemoryStore() });
const users = { verify: async () => true };
const closed = createRegistry({ store: createMemoryStore(), users });

function codeOf(act: () => unknown): string {
  try {
    act();
    return "none";
  } catch (error) {
    return isFailure(error) ? error.code : "no failure";
  }
}

test("serveRegistry() listens, says where, and stops", async () => {
  const server = serveRegistry({ registry, hostname: "127.0.0.1", port: 0 });
  expect(server.address).toMatch(/^127\.0\.0\.1:\d+$/);
  expect((await fetch(`http://${server.address}/v2/`)).status).toBe(200);
  await server.stop();
  await expect(fetch(`http://${server.address}/v2/`)).rejects.toThrow();
});

test("serveRegistry() sends heads and parts as the handler made them", async () => {
  const store = createMemoryStore();
  const root = await buildImage(store, "a.example/x:v1", { seed: "x" });
  const served = createRegistry({ store });
  await using server = serveRegistry({ registry: served, hostname: "127.0.0.1", port: 0 });
  const url = `http://${server.address}/v2/a.example/x`;
  const head = await fetch(`${url}/manifests/v1`, { method: "HEAD" });
  expect(head.headers.get("content-length")).toBe(String(root.size));
  const part = await fetch(`${url}/blobs/${root.digest}`, { headers: { range: "bytes=1-4" } });
  expect(part.status).toBe(206);
  expect(part.headers.get("accept-ranges")).toBe("bytes");
  expect(part.headers.get("content-range")).toBe(`bytes 1-4/${root.size}`);
  expect(await part.text()).toHaveLength(4);
});

test("serveRegistry() tells a client that pushes why it may not", async () => {
  await using server = serveRegistry({ registry, hostname: "127.0.0.1", port: 0 });
  const body = new Uint8Array(1024 * 1024);
  const response = await fetch(`http://${server.address}/v2/a/blobs/uploads/`, {
    method: "POST",
    body,
  });
  expect(response.status).toBe(405);
});

test("serveRegistry() shows nothing to other machines without TLS and users", () => {
  const tls = { cert: "", key: "" };
  for (const hostname of [
    "0.0.0.0",
    "::",
    "[::]",
    "10.0.0.5",
    "edge.example",
    "127.0.0.1.evil.example",
  ]) {
    expect(codeOf(() => serveRegistry({ registry, hostname, port: 0 }))).toBe("registry-exposed");
    expect(codeOf(() => serveRegistry({ registry, hostname, port: 0, tls }))).toBe(
      "registry-exposed",
    );
    expect(codeOf(() => serveRegistry({ registry: closed, hostname, port: 0 }))).toBe(
      "registry-exposed",
    );
  }
});

test("serveRegistry() says when an address is taken", async () => {
  await using first = serveRegistry({ registry, hostname: "127.0.0.1", port: 0 });
  const port = Number(first.address.split(":")[1]);
  expect(codeOf(() => serveRegistry({ registry, hostname: "127.0.0.1", port }))).toBe(
    "registry-address",
  );
});

test("serveRegistry() serves over TLS", async () => {
  const { ca, server: pair } = testCertificates();
  const tls = { cert: pair.certificate, key: pair.key };
  await using server = serveRegistry({ registry, hostname: "127.0.0.1", port: 0, tls });
  const response = await fetch(`https://${server.address}/v2/`, { tls: { ca } });
  expect(response.status).toBe(200);
});

test("serveRegistry() says when its certificate is none", () => {
  const tls = { cert: "x", key: "y" };
  expect(codeOf(() => serveRegistry({ registry, hostname: "127.0.0.1", port: 0, tls }))).toBe(
    "registry-certificate",
  );
});
