import { expect, test } from "bun:test";
import { DEFAULT_SITE, type Site } from "#profile";
import { asStarted, changedSinceStart } from "./started-site.ts";

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
