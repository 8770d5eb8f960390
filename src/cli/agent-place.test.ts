import { describe, expect, test } from "bun:test";
import { isFailure } from "#base";
import type { InputFiles } from "#profile";
import { agentSocket } from "#site";
import { createMemoryFiles } from "#test-support/memory-files";
import { connectionFailure } from "./agent-failure.ts";
import type { AgentPlaceOptions } from "./agent-options.ts";
import { agentPlace } from "./agent-place.ts";

const UNIT_SITE = "/etc/drayage/site.yaml";

function siteWith(dataDir: string): string {
  return `apiVersion: drayage/v1\nkind: Site\ndataDir: ${dataDir}\n`;
}

/** Where the agent is looked for. */
function placeBy(options: AgentPlaceOptions, files: Readonly<Record<string, string>> = {}) {
  return agentPlace(options, { files: createMemoryFiles(files) });
}

describe("without words of where the agent is, it is looked for", () => {
  test("where the site file that its unit reads says", () => {
    expect(placeBy({}, { [UNIT_SITE]: siteWith("/srv/images") })).toMatchObject({
      path: agentSocket("/srv/images"),
      because: `dataDir of "${UNIT_SITE}"`,
    });
  });

  test("in the default folder where there is no such file, and that is said", () => {
    const place = placeBy({});
    expect(place).toMatchObject({ path: agentSocket("/var/lib/drayage") });
    const { message } = connectionFailure(place, { code: "ENOENT" });
    expect(message).toContain("/var/lib/drayage/agent.sock");
    expect(message).toContain(`there is no ${UNIT_SITE}`);
  });

  test("nowhere when the file can't be read, for it may name another folder", () => {
    const problem = { code: "input-unreadable", message: "this user may not read it" } as const;
    const files: InputFiles = { read: () => problem, list: () => problem };
    let found: unknown;
    try {
      agentPlace({}, { files });
    } catch (error) {
      found = error;
    }
    expect(isFailure(found, "input-unreadable") && found.message).toContain(UNIT_SITE);
    expect(isFailure(found) && found.hint).toContain("sudo");
  });
});

test("what is named on the command line is more than the site file of the unit", () => {
  const files = { [UNIT_SITE]: siteWith("/srv/images"), "/own.yaml": siteWith("/srv/own") };
  expect(placeBy({ dataDir: "/data" }, files)).toMatchObject({ path: agentSocket("/data") });
  expect(placeBy({ site: "/own.yaml" }, files)).toMatchObject({ path: agentSocket("/srv/own") });
  expect(placeBy({ agent: "https://10.0.0.5:8443" }, files)).toMatchObject({
    ...{ kind: "address", origin: "https://10.0.0.5:8443" },
  });
});

test("a login goes by https, or to this machine", () => {
  const login = { user: "ops", passwordFile: "/password" };
  const files = { "/password": "hunter2\n" };
  for (const agent of ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"]) {
    expect(placeBy({ agent, ...login }, files)).toMatchObject({ origin: agent });
  }
  expect(() => placeBy({ agent: "http://10.0.0.5:1", ...login }, files)).toThrow("plain http");
  expect(() => placeBy({ agent: "http://localhost.evil.example:1", ...login }, files)).toThrow(
    "plain http",
  );
});
