import { expect, test } from "bun:test";
import { DEFAULT_AGENT_SETTINGS } from "#daemon";
import { DEFAULT_SITE, type Site } from "#profile";
import { siteSettings } from "./site-settings.ts";

const MACHINE = { platform: "linux/amd64" };

/** As an agent has it that a process told it to. */
const overTheWire = <T>(value: T): T => JSON.parse(JSON.stringify(value));

test("what a site file does not say is as is usual, also once a process has told it", () => {
  const settings = siteSettings(DEFAULT_SITE, MACHINE, []);
  expect(settings.ways.settings).toEqual({
    ...DEFAULT_AGENT_SETTINGS,
    activation: DEFAULT_SITE.agent.activation,
  });
  expect(overTheWire(settings)).toEqual(settings);
});

test("what it says counts, also once a process has told it", () => {
  const site: Site = {
    ...DEFAULT_SITE,
    agent: { ...DEFAULT_SITE.agent, pollMs: 5_000, proveMs: 7_000 },
    link: { ...DEFAULT_SITE.link, bytesPerSecond: 1_000, quota: { bytes: 10, resetDay: 31 } },
  };
  const settings = overTheWire(siteSettings(site, MACHINE, ["registry.listen"]));
  expect(settings).toMatchObject({
    pollMs: 5_000,
    link: { bytesPerSecond: 1_000, quota: { bytes: 10, resetDay: 31 } },
    platform: { os: "linux", architecture: "amd64" },
    ways: { settings: { proveMs: 7_000 }, restart: ["registry.listen"] },
  });
  expect(settings.ways.link).not.toBe(siteSettings(DEFAULT_SITE, MACHINE, []).ways.link);
});
