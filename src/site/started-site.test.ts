import { expect, test } from "bun:test";
import { DEFAULT_SITE, type Site } from "#profile";
import { asStarted, changedSinceStart, startedSite } from "./started-site.ts";

const STARTED: Site = DEFAULT_SITE;
const moved: Site = {
  ...STARTED,
  dataDir: "/srv/store",
  attachments: false,
  listen: "127.0.0.1:6000",
  registry: { ...STARTED.registry, listen: "127.0.0.1:6000", certificates: ["PEM"] },
  agent: { ...STARTED.agent, operators: ["ana"], activation: "manual" },
};

test("what must not change while an agent runs is named, and nothing else", () => {
  expect(changedSinceStart(STARTED, STARTED)).toEqual([]);
  expect(changedSinceStart(moved, STARTED)).toEqual([
    ...["dataDir", "agent.operators", "registry.listen"],
  ]);
});

test("a site is served where it was, and all else of it is as it is meant now", () => {
  const site = asStarted(moved, STARTED);
  expect(site).toMatchObject({ dataDir: "/var/lib/drayage", listen: "127.0.0.1:5055" });
  expect(site.registry).toMatchObject({ listen: "127.0.0.1:5055", certificates: ["PEM"] });
  expect(site).toMatchObject({ attachments: false, agent: { activation: "manual" } });
});

/** As a process has it that works for an agent: JSON drops what has no value. */
const overTheWire = <T>(value: T): T => JSON.parse(JSON.stringify(value));

test("what was not set when the agent started stays unset for who works for it", () => {
  const started = overTheWire(startedSite(STARTED));
  const tls = { certFile: "/etc/cert.pem", keyFile: "/etc/key.pem" };
  const set: Site = {
    ...STARTED,
    registry: { ...STARTED.registry, address: "registry.site:443", tls, pushers: ["ana"] },
  };
  expect(asStarted(set, started).registry).toEqual(asStarted(set, startedSite(STARTED)).registry);
  expect(asStarted(set, started).registry).toMatchObject({ address: undefined, tls: undefined });
  expect(changedSinceStart(set, started)).toEqual([
    ...["registry.address", "registry.tls", "registry.pushers"],
  ]);
  expect(changedSinceStart(STARTED, started)).toEqual([]);
});

test("what was set when the agent started stays so when it is taken away", () => {
  const tls = { certFile: "/etc/cert.pem", keyFile: "/etc/key.pem" };
  const set: Site = { ...STARTED, registry: { ...STARTED.registry, address: "r.site:443", tls } };
  const started = overTheWire(startedSite(set));
  expect(asStarted(STARTED, started).registry).toMatchObject({ address: "r.site:443", tls });
  expect(changedSinceStart(STARTED, started)).toEqual(["registry.address", "registry.tls"]);
});
