import { expect, test } from "bun:test";
import { failureOf } from "#test-support/remote-world";
import { proxyFor } from "./proxy.ts";

const settings = { httpProxy: "http://plain:1", httpsProxy: "http://secure:2" };
const isProxied = (url: string, noProxy: string) =>
  proxyFor(new URL(url), { ...settings, noProxy }) !== undefined;

test("proxyFor() goes by the scheme, and takes a proxy without scheme for http", () => {
  expect(proxyFor(new URL("https://quay.io/"), settings)?.host).toBe("secure:2");
  expect(proxyFor(new URL("http://quay.io/"), settings)?.host).toBe("plain:1");
  expect(proxyFor(new URL("https://quay.io/"), { httpsProxy: "proxy:3128" })?.href).toBe(
    "http://proxy:3128/",
  );
  expect(
    proxyFor(new URL("https://quay.io/"), { httpProxy: "proxy:3128", httpsProxy: "" }),
  ).toBeUndefined();
});

test("proxyFor() never proxies this machine (C-162)", () => {
  for (const url of [
    "https://localhost/",
    "https://x.localhost/",
    "https://127.0.0.1:5000/",
    "https://[::1]/",
  ]) {
    expect(isProxied(url, "")).toBe(false);
  }
});

test.each([
  ["*", "https://quay.io/"],
  ["quay.io", "https://quay.io/"],
  ["QUAY.IO", "https://quay.io/"],
  ["quay.io", "https://cdn.quay.io/"],
  [".quay.io", "https://cdn.quay.io/"],
  ["*.quay.io", "https://cdn.quay.io/"],
  ["a, quay.io:443 b", "https://quay.io/"],
  ["quay.io:5000", "https://quay.io:5000/"],
  ["10.0.0.5", "https://10.0.0.5:5000/"],
  ["10.0.0.0/8", "https://10.1.2.3/"],
  ["10.0.0.5:5000", "https://10.0.0.5:5000/"],
  ["fd00::/8", "https://[fd12::1]/"],
  ["fd00::1", "https://[fd00::1]/"],
  ["[fd00::1]:5000", "https://[fd00::1]:5000/"],
])("NO_PROXY=%s exempts %s (C-162)", (noProxy, url) => {
  expect(isProxied(url, noProxy)).toBe(false);
});

test.each([
  ["quay.io", "https://notquay.io/"],
  [".quay.io", "https://quay.io/"],
  ["quay.io:5000", "https://quay.io/"],
  ["10.0.0.0/8", "https://11.0.0.1/"],
  ["10.0.0.0/99", "https://10.0.0.1/"],
  ["10.0.0.0/8", "https://10.example.com/"],
  ["0.5", "https://10.0.0.5/"],
  ["fd00::/8", "https://[fe00::1]/"],
  ["", "https://quay.io/"],
])("NO_PROXY=%s does not exempt %s", (noProxy, url) => {
  expect(isProxied(url, noProxy)).toBe(true);
});

test.each([
  "http://edge:canary@",
  "socks5://edge:canary@proxy:1080",
  "http://edge:canary@proxy:port",
])("proxyFor() refuses a broken address without showing it", async (httpsProxy) => {
  const failure = await failureOf(
    Promise.try(() => proxyFor(new URL("https://quay.io/"), { httpsProxy })),
  );
  expect(failure.code).toBe("proxy-invalid");
});
