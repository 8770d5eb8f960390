import { expect, test } from "bun:test";
import { Locality } from "./locality.ts";

test("a name is as local as any of its addresses, and one behind a proxy is not looked up (SEC-4)", async () => {
  const asked: string[] = [];
  const locality = new Locality({
    proxy: { httpsProxy: "http://proxy:3128", noProxy: "direct.example,10.0.0.0/8" },
    lookupAddresses: async (host) => {
      asked.push(host);
      return ["203.0.113.1", "10.0.0.1"];
    },
  });
  expect(await locality.isLocal(new URL("https://direct.example/"))).toBe(true);
  expect(await locality.isLocal(new URL("https://proxied.example/"))).toBe(false);
  expect(await locality.isLocal(new URL("https://10.0.0.1/"))).toBe(true);
  expect(await locality.isLocal(new URL("https://192.168.0.1/"))).toBe(true);
  expect(await locality.isLocal(new URL("https://203.0.113.1/"))).toBe(false);
  expect(asked).toEqual(["direct.example"]);
});
