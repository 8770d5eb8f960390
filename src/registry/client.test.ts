import { expect, test } from "bun:test";
import fc from "fast-check";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { clientOf, isLoopback } from "./client.ts";

test("clientOf() takes an IPv4 address for a client, however it is written, and a network of IPv6", () => {
  const clients: readonly (readonly [string, string])[] = [
    ["10.0.0.5", "10.0.0.5"],
    ["::ffff:10.0.0.5", "10.0.0.5"],
    ["::1", "::1"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:db8:1:2::6", "2001:db8:1:2::/64"],
    ["2001:db8::6", "2001:db8:0:0::/64"],
    ["fe80::1", "fe80:0:0:0::/64"],
    ["::5:6:7:8:9", "0:0:0:5::/64"],
    ["unknown", "unknown"],
  ];
  for (const [address, client] of clients) expect(clientOf(address)).toBe(client);
});

test("clientOf() takes all addresses of a network for one client", () => {
  const group = fc.integer({ min: 0, max: 0xffff }).map((n) => n.toString(16));
  fc.assert(
    fc.property(fc.array(group, { minLength: 12, maxLength: 12 }), (groups) => {
      const network = ["2001", ...groups.slice(0, 3)];
      const [one, other] = [groups.slice(4, 8), groups.slice(8, 12)];
      const client = clientOf([...network, ...one].join(":"));
      expect(clientOf([...network, ...other].join(":"))).toBe(client);
      expect(client).toBe(`${network.join(":")}::/64`);
    }),
    { numRuns: FUZZ_RUNS },
  );
});

test("isLoopback() knows what only this machine can reach", () => {
  for (const host of ["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"]) {
    expect(isLoopback(host)).toBe(true);
  }
  for (const host of ["0.0.0.0", "::", "10.0.0.1", "127.0.0.1.evil.example", "localhost.x", ""]) {
    expect(isLoopback(host)).toBe(false);
  }
});
