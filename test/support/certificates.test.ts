import { expect, test } from "bun:test";
import { systemErrorCode } from "#base";
import { type TestCertificate, testCertificates } from "./certificates.ts";

const { ca, server, expired, stranger } = testCertificates();

async function fetchFrom(certificate: TestCertificate, host: string): Promise<string> {
  using listener = Bun.serve({
    hostname: host === "[::1]" ? "::1" : "127.0.0.1",
    port: 0,
    tls: { cert: certificate.certificate, key: certificate.key },
    fetch: () => new Response("served"),
  });
  try {
    const response = await fetch(`https://${host}:${listener.port}/`, { tls: { ca } });
    return await response.text();
  } catch (error) {
    return systemErrorCode(error) ?? "no code";
  }
}

test("the server's certificate is good for every name that tests use", async () => {
  expect(await fetchFrom(server, "127.0.0.1")).toBe("served");
  expect(await fetchFrom(server, "localhost")).toBe("served");
});

test("the expired certificate and the stranger's are refused, each for its reason", async () => {
  expect(await fetchFrom(expired, "127.0.0.1")).toBe("CERT_HAS_EXPIRED");
  expect(await fetchFrom(stranger, "127.0.0.1")).toBe("UNABLE_TO_VERIFY_LEAF_SIGNATURE");
});
