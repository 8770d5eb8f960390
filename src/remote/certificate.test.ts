import { describe, expect, test } from "bun:test";
import { createServer, type Server } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { testCertificates } from "#test-support/certificates";
import { certificateEnd, readServerCertificate } from "./certificate.ts";

const { ca, server, expired, stranger } = testCertificates();
const signal = new AbortController().signal;

/** Listens on a free port of loopback until the test is over. */
async function listening(open: Server): Promise<AsyncDisposable & { readonly address: string }> {
  const { promise, resolve } = Promise.withResolvers<void>();
  open.listen(0, "127.0.0.1", resolve);
  await promise;
  const bound = open.address();
  const port = typeof bound === "object" && bound !== null ? bound.port : 0;
  return {
    address: `127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      open.close();
    },
  };
}

describe("readServerCertificate()", () => {
  test.each([
    ["in order", server, 2100],
    ["over since 2001", expired, 2001],
    ["from an authority that nobody trusts", stranger, 2100],
  ])("reads the end of one that is %s", async (_, { certificate, key }, year) => {
    await using site = await listening(createTlsServer({ cert: certificate, key }));
    const end = await readServerCertificate(site.address, { proxy: {}, signal });
    expect(new Date(end?.endsMs ?? 0).getUTCFullYear()).toBe(year);
    expect(end?.subject).toContain("CN=");
  });

  test("is none where plain http is spoken, nobody listens, or nothing is said", async () => {
    await using plain = await listening(
      createServer((socket) => socket.end("HTTP/1.1 400\r\n\r\n")),
    );
    expect(await readServerCertificate(plain.address, { proxy: {}, signal })).toBeUndefined();
    const gone = await listening(createServer());
    await gone[Symbol.asyncDispose]();
    expect(await readServerCertificate(gone.address, { proxy: {}, signal })).toBeUndefined();
    await using silent = await listening(createServer());
    const options = { proxy: {}, timeoutMs: 20, signal };
    expect(await readServerCertificate(silent.address, options)).toBeUndefined();
    expect(await readServerCertificate("no host", options)).toBeUndefined();
  });

  test("asks nobody behind a proxy, valid or not", async () => {
    const { certificate, key } = server;
    await using site = await listening(createTlsServer({ cert: certificate, key }));
    // It leads to the same place, and is no loopback address, which no proxy is asked for.
    const address = site.address.replace("127.0.0.1", "0.0.0.0");
    expect(await readServerCertificate(address, { proxy: {}, signal })).toBeDefined();
    for (const httpsProxy of ["http://127.0.0.1:9", "ftp://x"]) {
      const options = { proxy: { httpsProxy }, signal };
      expect(await readServerCertificate(address, options)).toBeUndefined();
    }
  });

  test("ends with the signal's reason", async () => {
    const giveUp = new AbortController();
    await using silent = await listening(createServer(() => giveUp.abort(new Error("given up"))));
    const ended = readServerCertificate(silent.address, { proxy: {}, signal: giveUp.signal });
    await expect(ended).rejects.toThrow("given up");
  });
});

describe("certificateEnd()", () => {
  test("reads subject and end", () => {
    expect(certificateEnd(ca)).toEqual({
      subject: "O=Drayage tests, CN=Drayage test authority",
      endsMs: Date.UTC(2100, 0, 1),
    });
  });

  test.each(["", "hunter2", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"])(
    "is none for %j",
    (text) => expect(certificateEnd(text)).toBeUndefined(),
  );
});
