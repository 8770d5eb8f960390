import { expect, test } from "bun:test";
import { symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "#test-support/program";
import { machineTimeZone } from "./time-zone.ts";

const ASKED = Intl.DateTimeFormat().resolvedOptions().timeZone;

test("the machine's time zone is what its link leads to", async () => {
  await using folder = await temporaryFolder();
  const zones = {
    "../usr/share/zoneinfo/Europe/Berlin": "Europe/Berlin",
    "/usr/share/zoneinfo/posix/America/Argentina/Ushuaia": "America/Argentina/Ushuaia",
    "/usr/share/zoneinfo/right/Etc/GMT+5": "Etc/GMT+5",
    "/nix/store/x-tzdata/share/zoneinfo/UTC": "UTC",
  };
  for (const [i, [target, zone]] of Object.entries(zones).entries()) {
    const link = join(folder.path, `${i}`);
    await symlink(target, link);
    expect(machineTimeZone({}, link)).toBe(zone);
  }
});

test("the engine is asked where there is no such link, or the environment names a zone", async () => {
  await using folder = await temporaryFolder();
  const at = (name: string) => join(folder.path, name);
  await writeFile(at("file"), "TZif2");
  await symlink("/etc/zones/Mars", at("elsewhere"));
  await symlink("/usr/share/zoneinfo/Asia/Tokyo", at("link"));
  for (const name of ["file", "elsewhere", "absent"]) {
    expect(machineTimeZone({}, at(name))).toBe(ASKED);
  }
  expect(machineTimeZone({ TZ: "Europe/Oslo" }, at("link"))).toBe(ASKED);
});
