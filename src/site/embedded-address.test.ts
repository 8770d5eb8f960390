import { expect, test } from "bun:test";
import { Secret } from "#base";
import { DEFAULT_SITE, type Site } from "#profile";
import { embeddedAsServed, type NamedEmbedded } from "./embedded-address.ts";

const TLS = { certFile: "/cert.pem", keyFile: "/key.pem" };

function originOf(registry: Partial<Site["registry"]>, named: NamedEmbedded = {}): string {
  return embeddedAsServed({ registry: { ...DEFAULT_SITE.registry, ...registry } }, named).origin;
}

test("nodes dial it where and as the site file has it served", () => {
  expect(originOf({})).toBe("http://127.0.0.1:5055");
  expect(originOf({ tls: TLS })).toBe("https://127.0.0.1:5055");
  expect(originOf({ certificates: ["PEM"] })).toBe("https://127.0.0.1:5055");
  expect(originOf({ listen: "0.0.0.0:5055", tls: TLS })).toBe("https://127.0.0.1:5055");
  expect(originOf({ listen: "0.0.0.0:5055", address: "10.0.0.9:5055" })).toBe(
    "https://10.0.0.9:5055",
  );
});

test("what is named says more than the site file", () => {
  for (const [address, origin] of [
    ["10.0.0.9:5055", "https://10.0.0.9:5055"],
    ["https://10.0.0.9:5055/", "https://10.0.0.9:5055"],
    ["http://10.0.0.9:5055", "http://10.0.0.9:5055"],
    ["127.0.0.1:6000", "http://127.0.0.1:6000"],
    ["0.0.0.0:6000", "http://127.0.0.1:6000"],
  ] as const) {
    expect(originOf({}, { address })).toBe(origin);
  }
  expect(originOf({ tls: TLS }, { address: "127.0.0.1:6000" })).toBe("https://127.0.0.1:6000");
  expect(originOf({}, { certificates: ["PEM"] })).toBe("https://127.0.0.1:5055");
  const credential = { username: "node", password: new Secret("hunter2") };
  const { access } = embeddedAsServed(DEFAULT_SITE, { credential, certificates: ["PEM"] });
  expect(access).toEqual({ credential, certificates: ["PEM"], insecure: false });
});

test.each(["https://a/b", "ftp://a", "a b", "user@host:1", ""])("%p is no address", (address) => {
  expect(() => originOf({}, { address })).toThrow("expected https://host:port");
});
