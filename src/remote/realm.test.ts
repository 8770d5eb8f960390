import { expect, test } from "bun:test";
import { failureOf } from "#test-support/remote-world";
import { Locality } from "./locality.ts";
import { safeRealm } from "./realm.ts";

/** All other names have one public address, as behind a CDN: sharing that proves nothing. */
const ADDRESSES: Readonly<Record<string, readonly string[]>> = {
  "harbor.corp.example": ["10.0.0.5"],
  "rebound.evil.example": ["203.0.113.1", "10.9.9.9"],
  "registry.corp.example": ["10.0.0.7"],
};

interface Case {
  readonly registry: string;
  readonly realm: string;
  readonly hasCredential?: boolean;
  readonly trustedTokenHosts?: readonly string[];
}

function ask({
  registry,
  realm,
  hasCredential = true,
  trustedTokenHosts = [],
}: Case): Promise<URL> {
  const lookupAddresses = async (host: string) => ADDRESSES[host] ?? ["203.0.113.7"];
  return safeRealm(realm, {
    registry: new URL(registry),
    trustedTokenHosts,
    locality: new Locality({ lookupAddresses, proxy: {} }),
    hasCredential,
    subject: '"x"',
  });
}

test.each<Case>([
  { registry: "https://registry-1.docker.io", realm: "https://auth.docker.io/token" },
  { registry: "https://quay.io", realm: "https://quay.io/v2/auth" },
  { registry: "https://quay.io:8443", realm: "https://quay.io/v2/auth" },
  { registry: "https://quay.io", realm: "/v2/auth" },
  { registry: "https://registry.co.uk.example.co.uk", realm: "https://auth.example.co.uk/t" },
  { registry: "http://10.0.0.5:5000", realm: "http://10.0.0.5/service/token" },
  { registry: "https://10.0.0.5", realm: "https://harbor.corp.example/service/token" },
  {
    registry: "https://other.example",
    realm: "https://keycloak.example.net/t",
    trustedTokenHosts: ["Keycloak.example.net"],
  },
  {
    registry: "https://other.example",
    realm: "https://10.1.1.1:8443/t",
    trustedTokenHosts: ["10.1.1.1:8443"],
  },
  {
    registry: "https://other.example",
    realm: "https://anywhere.example.net/t",
    hasCredential: false,
  },
  { registry: "https://registry.corp.example", realm: "https://auth.corp.example/t" },
])("a credential may go from $registry to $realm (C-21)", async (asked) => {
  expect((await ask(asked)).pathname).toStartWith("/");
});

test.each<Case>([
  { registry: "https://other.example", realm: "http://other.example/token" },
  { registry: "https://other.example", realm: "file:///etc/passwd" },
  { registry: "https://other.example", realm: "https://edge:canary@other.example/" },
  { registry: "https://other.example", realm: "https://[" },
  { registry: "https://other.example", realm: "https://evil.example.net/token" },
  { registry: "https://a.co.uk", realm: "https://b.co.uk/token" },
  { registry: "https://a.azurecr.io", realm: "https://b.azurecr.io/token" },
  { registry: "https://ghcr.io", realm: "https://cr.io/token" },
  { registry: "https://ghcr.io", realm: "https://ghcr.io.evil.example/token" },
  { registry: "http://10.0.0.5", realm: "http://10.0.0.6/token" },
  ...[
    "169.254.169.254",
    "127.0.0.1",
    "[::1]",
    "[fd00::1]",
    "0.0.0.0",
    "2130706433",
    "0x7f.1",
    "localhost",
  ].flatMap((host) =>
    [true, false].map((hasCredential) => ({
      registry: "https://other.example",
      realm: `https://${host}/token`,
      hasCredential,
    })),
  ),
  { registry: "https://evil.example", realm: "https://rebound.evil.example/token" },
  {
    registry: "https://other.example",
    realm: "https://rebound.evil.example/token",
    hasCredential: false,
  },
])("nothing goes from $registry to $realm (SEC-2)", async (asked) => {
  const failure = await failureOf(ask(asked));
  expect(failure.code).toBe("token-realm-refused");
});

test("the failure for a foreign host says where to declare it good", async () => {
  const failure = await failureOf(
    ask({ registry: "https://other.example", realm: "https://keycloak.example.net/t" }),
  );
  expect(failure.hint).toContain("keycloak.example.net");
  expect(failure.hint).toContain("trustedTokenHosts");
});
