import { describe, expect, test } from "bun:test";
import { Findings, Secret } from "#base";
import type { RobotSecret } from "#harbor";
import { type CredentialUse, credentialUses, makePlan } from "#plan";
import { readClusterInputs } from "#profile";
import { app, OS, writeCluster } from "#test-support/plan-inputs";
import { robotUses } from "./credential-trials.ts";

const ADDRESS = "10.0.0.5:30003";

function robotsOf(kind: string, robots: readonly Partial<RobotSecret>[], images = ["a.io/x:1"]) {
  const site = { localRegistry: { kind, address: ADDRESS } };
  const { names, files } = writeCluster({ packs: [OS, app("app", ...images)], site });
  const findings = new Findings();
  const inputs = readClusterInputs(names, files, findings);
  const plan = makePlan(inputs, findings);
  const secrets = robots.map((robot) => ({ ...ROBOT, ...robot }));
  return robotUses(plan.registries.local, credentialUses(plan, inputs), secrets);
}

const ROBOT: RobotSecret = {
  harbor: ADDRESS,
  project: "spectro-images",
  purpose: "push",
  name: "drayage-push",
  login: { username: "robot$drayage", password: new Secret("canary") },
  madeAtMs: 0,
};

/** `origin user:password`, or without a login where it is not tried. */
function shown({ origin, trial }: CredentialUse): string {
  const credential = trial?.access.credential;
  const login = credential?.kind === "password" ? credential : undefined;
  return `${origin}${login === undefined ? "" : ` ${login.username}:${login.password.reveal()}`}`;
}

describe("robotUses()", () => {
  test("tries each robot of this Harbor and project with its own login", () => {
    const nodes = { username: "robot$nodes", password: new Secret("other") };
    const uses = robotsOf("harbor", [{}, { purpose: "nodes", login: nodes }]);
    expect(uses.map(shown)).toEqual([
      "harbor-robot:robot$drayage robot$drayage:canary",
      "harbor-robot:robot$nodes robot$nodes:other",
    ]);
    expect(uses[0]).toMatchObject({ registry: ADDRESS, role: "local" });
    expect(uses[0]?.trial?.access.origin).toBe("harbor-robot:robot$drayage");
  });

  test.each<[string, string, Partial<RobotSecret>]>([
    ["of another Harbor", "harbor", { harbor: "10.0.0.6:30003" }],
    ["of another project", "harbor", { project: "other" }],
    ["that is not made yet", "harbor", { login: null }],
    ["where the local registry is none", "none", {}],
    ["where the local registry is another one now", "oci", {}],
  ])("leaves a robot out %s", (_, kind, robot) => expect(robotsOf(kind, [robot])).toEqual([]));

  test("says of a robot without work that there is nothing to try it with", () => {
    const uses = robotsOf("harbor", [{}], []);
    expect(uses.map(({ trial }) => trial)).toEqual([undefined]);
  });
});
