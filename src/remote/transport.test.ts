import { describe, expect, test } from "bun:test";
import { type AddressInfo, connect, createServer } from "node:net";
import { type Access, ANONYMOUS } from "#credential";
import { parseReference } from "#reference";
import type { RemoteNotice } from "#remote";
import { testCertificates } from "#test-support/certificates";
import {
  failureOf,
  fetchText,
  openRegistry,
  remoteWith,
  signal,
  sourceAt,
  user,
} from "#test-support/remote-world";
import { startScriptedServer, startTunnelProxy } from "#test-support/scripted-registry";

const { ca, server: serverCertificate, expired, stranger } = testCertificates();

describe("https and http", () => {
  const trusting: Access = { ...ANONYMOUS, certificates: [ca] };

  test("a certificate given for the registry is trusted", async () => {
    await using registry = await startScriptedServer(openRegistry, serverCertificate);
    expect(await fetchText(sourceAt(registry.address, trusting))).toBe("a layer");
  });

  test("a certificate of an unknown authority, or an old one, is refused and never got round by http (C-154)", async () => {
    for (const [certificate, access] of [
      [serverCertificate, ANONYMOUS],
      [stranger, trusting],
      [expired, trusting],
    ] as const) {
      await using registry = await startScriptedServer(openRegistry, certificate);
      const failure = await failureOf(sourceAt(registry.address, access).resolve("1", { signal }));
      expect([failure.code, failure.transient]).toEqual(["registry-certificate", false]);
      expect(failure.hint).toMatch(/caFile|renewed/);
      expect(registry.requests).toEqual([]);
    }
  });

  test("a certificate for another name is refused, and what it is good for is said", async () => {
    await using registry = await startScriptedServer(openRegistry, serverCertificate);
    const address = registry.address.replace("127.0.0.1", "other.localhost");
    const failure = await failureOf(sourceAt(address, trusting).resolve("1", { signal }));
    expect([failure.code, failure.transient]).toEqual(["registry-certificate", false]);
    expect(failure.message).toContain(`the certificate of ${address}`);
    expect(failure.hint).toContain("for other names");
    expect(registry.requests).toEqual([]);
  });

  test("an insecure registry needs no good certificate", async () => {
    await using registry = await startScriptedServer(openRegistry, stranger);
    expect(await fetchText(sourceAt(registry.address, { ...ANONYMOUS, insecure: true }))).toBe(
      "a layer",
    );
  });

  test("an insecure registry without TLS is spoken to over http, and a notice says so once", async () => {
    await using registry = await startScriptedServer(openRegistry);
    const notices: RemoteNotice[] = [];
    const remote = remoteWith({ onNotice: (notice) => notices.push(notice) });
    const source = sourceAt(registry.address, { ...ANONYMOUS, insecure: true }, remote);
    expect(await fetchText(source)).toBe("a layer");
    expect(await fetchText(source)).toBe("a layer");
    expect(notices).toHaveLength(1);
    expect(notices[0]?.message).toContain("plain http");
  });

  test("a connection for http is opened while https is tried", async () => {
    await using registry = await startScriptedServer(openRegistry);
    const { hostname, port } = new URL(`http://${registry.address}`);
    let accepted = 0;
    // Whoever opens one connection after the other waits for ever.
    const second = Promise.withResolvers<void>();
    const gate = createServer((socket) => {
      accepted += 1;
      if (accepted === 2) second.resolve();
      socket.on("error", () => undefined);
      void second.promise.then(() => {
        const onward = connect({ host: hostname, port: Number(port) });
        onward.on("error", () => socket.destroy());
        socket.pipe(onward).pipe(socket);
      });
    });
    await new Promise<void>((resolve) => gate.listen(0, "127.0.0.1", resolve));
    const { port: gatePort } = gate.address() as AddressInfo;
    const source = sourceAt(`127.0.0.1:${gatePort}`, { ...ANONYMOUS, insecure: true });
    expect(await fetchText(source)).toBe("a layer");
    gate.close();
  });

  test("certificates that are none are refused by name of the registry", async () => {
    const access = {
      ...ANONYMOUS,
      certificates: ["-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"],
    };
    const failure = await failureOf(sourceAt("registry.test", access).resolve("1", { signal }));
    expect(failure.code).toBe("registry-certificate");
    expect(failure.message).toContain("registry.test");
  });

  test("a registry elsewhere that speaks no TLS is refused, credentials unsent (C-154)", async () => {
    await using registry = await startScriptedServer(openRegistry);
    await using proxy = await startTunnelProxy(registry.address);
    const remote = remoteWith({ proxy: { httpsProxy: proxy.url, httpProxy: proxy.url } });
    const failure = await failureOf(
      sourceAt("registry.test", user, remote).resolve("1", { signal }),
    );
    expect(failure.code).toBe("registry-protocol");
    expect(failure.hint).toContain("insecure");
    expect(registry.requests).toEqual([]);
  });

  test("Docker Hub is asked where it answers (C-153)", async () => {
    await using registry = await startScriptedServer(openRegistry, serverCertificate);
    await using proxy = await startTunnelProxy(registry.address);
    const remote = remoteWith({ proxy: { httpsProxy: proxy.url } });
    const source = remote.repository(parseReference("busybox"), trusting);
    const failure = await failureOf(source.resolve("1", { signal }));
    expect(failure.message).toContain("the certificate of registry-1.docker.io");
    expect(proxy.asked[0]).toStartWith("CONNECT registry-1.docker.io:443 ");
  });

  test("a proxy is used with its password, which is never shown (C-162)", async () => {
    await using registry = await startScriptedServer(openRegistry, serverCertificate);
    await using proxy = await startTunnelProxy(registry.address);
    const httpsProxy = proxy.url.replace("http://", "http://edge:canary-proxy@");
    const remote = remoteWith({ proxy: { httpsProxy } });
    expect(await fetchText(sourceAt("registry.test", trusting, remote))).toBe("a layer");
    expect(proxy.asked[0]).toStartWith("CONNECT registry.test:443 ");
    expect(proxy.asked[0]).toContain(Buffer.from("edge:canary-proxy").toString("base64"));
    const dead = remoteWith({ proxy: { httpsProxy: "http://edge:canary-proxy@127.0.0.1:1" } });
    const failure = await failureOf(
      sourceAt("registry.test", trusting, dead).resolve("1", { signal }),
    );
    expect(failure.message).toContain("the proxy 127.0.0.1:1 to registry.test refused");
  });
});
