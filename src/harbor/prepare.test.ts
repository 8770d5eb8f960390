import { beforeEach, describe, expect, test } from "bun:test";
import { Failure, isFailure, Secret } from "#base";
import { type Access, ANONYMOUS } from "#credential";
import {
  HarborClient,
  type HarborWishes,
  type PreparedHarbor,
  prepareHarbor,
  type RobotSecret,
} from "#harbor";
import { createManualClock, type ManualClock } from "#test-support/clock";
import {
  type ApiFault,
  createHarbor,
  type HarborHandler,
  type HarborOptions,
  harborApi,
} from "#test-support/harbor";

const PROJECT = "spectro-images";
const DAY_MS = 24 * 3_600_000;
const signal = new AbortController().signal;

let harbor: HarborHandler;
let clock: ManualClock;
let kept: readonly RobotSecret[];
/** Which request of a preparation fails, counted from 1. */
let fault: (request: Request) => ApiFault | undefined;

beforeEach(() => open());

function open(options: HarborOptions = {}): void {
  harbor = createHarbor(options);
  clock = createManualClock(Date.now());
  kept = [];
  fault = () => undefined;
}

function accessOf(username: string, password: string): Access {
  const credential = { kind: "password", username, password: new Secret(password) } as const;
  return { ...ANONYMOUS, origin: "site:localRegistry", credential };
}

const wishes: HarborWishes = {
  project: PROJECT,
  isPublic: false,
  needBytes: 1000,
  images: [{ repository: "quay.io/calico/node", tag: "v3.27.0" }],
};

const clientFor = (access: Access) =>
  new HarborClient(
    harborApi(harbor, access, (request) => fault(request)),
    access,
  );

async function prepare(
  changed: Partial<HarborWishes> = {},
  access = accessOf("admin", harbor.adminPassword),
): Promise<PreparedHarbor> {
  const secrets = {
    read: async () => kept,
    write: async (written: readonly RobotSecret[]) => {
      kept = written;
    },
  };
  const ports = { clientFor, access, secrets, clock, random: () => 0.123 };
  return prepareHarbor(ports, { ...wishes, ...changed }, { signal });
}

async function failureOf(promise: Promise<unknown>): Promise<Failure> {
  const thrown = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!isFailure(thrown)) throw new Error("It did not fail", { cause: thrown });
  expect(`${thrown.message} ${thrown.hint}`).not.toContain("Canary1");
  expect(thrown.message).toMatch(/^Cannot .+: .+, expected .+$/s);
  return thrown;
}

function loginOf(access: Access | undefined): string {
  return access?.credential?.kind === "password" ? access.credential.username : "nobody";
}

function passwordOf(access: Access | undefined): string {
  return access?.credential?.kind === "password" ? access.credential.password.reveal() : "";
}

const isLetIn = (access: Access | undefined) => clientFor(access ?? ANONYMOUS).isLetIn(signal);
const codes = ({ warnings }: PreparedHarbor) => warnings.map(({ code }) => code);
const changes = () => harbor.requests.filter(({ method }) => method !== "GET");

describe("a Harbor as it was installed", () => {
  test("gets a private project, and robots for the agent and the nodes that are let in", async () => {
    const prepared = await prepare();
    expect(harbor.projects().at(-1)).toEqual({ name: PROJECT, isPublic: false, usedBytes: 0 });
    expect(loginOf(prepared.push.access)).toMatch(/^robot\$spectro-images\+drayage-push-/);
    expect(loginOf(prepared.nodes?.access)).toMatch(/^robot\$spectro-images\+drayage-nodes-/);
    expect(await isLetIn(prepared.push.access)).toBe(true);
    expect(await isLetIn(prepared.nodes?.access)).toBe(true);
    expect([prepared.version, codes(prepared)]).toEqual(["v2.11.1-6b7ecba1", []]);
    expect(JSON.stringify(prepared)).not.toContain("Canary1");
  });

  test("the agent's robot may pull and push, the nodes' may pull, and nothing else", async () => {
    await prepare();
    const client = clientFor(accessOf("admin", harbor.adminPassword));
    const project = await client.project(PROJECT, signal);
    const robots = await client.robots(project ?? raise(), signal);
    const permissions = robots.map((robot) => [robot.permissions, robot.expiresAtMs]);
    expect(permissions).toEqual([
      [[{ project: PROJECT, actions: ["pull", "push"] }], null],
      [[{ project: PROJECT, actions: ["pull"] }], null],
    ]);
  });

  test("is left alone the second time, and the same secrets are used", async () => {
    const first = await prepare();
    const before = changes().length;
    const second = await prepare();
    expect(changes()).toHaveLength(before);
    expect(passwordOf(second.push.access)).toBe(passwordOf(first.push.access));
  });

  test("a public project needs no robot for the nodes", async () => {
    const { nodes } = await prepare({ isPublic: true });
    expect([harbor.projects().at(-1)?.isPublic, loginOf(nodes?.access)]).toEqual([true, "nobody"]);
    expect(harbor.robots()).toHaveLength(1);
  });
});

describe("secrets", () => {
  test("are renewed when they are older than is wished, and the old ones are refused", async () => {
    const first = await prepare({ rotateAfterMs: DAY_MS });
    clock.advance(DAY_MS - 1);
    expect(passwordOf((await prepare({ rotateAfterMs: DAY_MS })).push.access)).toBe(
      passwordOf(first.push.access),
    );
    clock.advance(1);
    const later = await prepare({ rotateAfterMs: DAY_MS });
    expect(await isLetIn(first.push.access)).toBe(false);
    expect(await isLetIn(later.push.access)).toBe(true);
    expect(harbor.robots()).toHaveLength(2);
  });

  test("are renewed when a clock that was set back hides how old they are", async () => {
    const first = await prepare();
    clock.advance(-400 * DAY_MS);
    expect(passwordOf((await prepare()).push.access)).not.toBe(passwordOf(first.push.access));
  });

  test("are made anew when Harbor refuses what is kept", async () => {
    const first = await prepare();
    kept = kept.map((robot) => ({
      ...robot,
      login: { username: loginOf(first.push.access), password: new Secret("Wrong1234") },
    }));
    const { push } = await prepare();
    expect(await isLetIn(push.access)).toBe(true);
    expect(harbor.robots()).toHaveLength(2);
  });

  test("come with a new robot when Harbor no longer knows the old one", async () => {
    const first = await prepare();
    harbor.revokeRobot(loginOf(first.push.access));
    const { push } = await prepare();
    expect(await isLetIn(push.access)).toBe(true);
    expect(harbor.robots()).toHaveLength(2);
  });

  test("a robot that ends soon gets no end", async () => {
    const first = await prepare();
    harbor.expireRobot(loginOf(first.push.access), 3600);
    const { push } = await prepare();
    const admin = clientFor(accessOf("admin", harbor.adminPassword));
    const project = await admin.project(PROJECT, signal);
    const robots = await admin.robots(project ?? raise(), signal);
    expect(robots.map(({ expiresAtMs }) => expiresAtMs)).toEqual([null, null]);
    expect(await isLetIn(push.access)).toBe(true);
  });

  test("a robot that somebody disabled is not enabled behind their back", async () => {
    const first = await prepare();
    harbor.disableRobot(loginOf(first.nodes?.access));
    const second = await prepare();
    expect([second.nodes, codes(second)]).toEqual([null, ["harbor-robot-disabled"]]);
    harbor.disableRobot(loginOf(first.push.access));
    const failure = await failureOf(prepare());
    expect([failure.code, failure.transient]).toEqual(["harbor-robot-disabled", false]);
  });

  test("of two sites at one Harbor do not get in each other's way", async () => {
    const one = await prepare();
    kept = [];
    const secrets = {
      read: async () => kept,
      write: async (written: readonly RobotSecret[]) => {
        kept = written;
      },
    };
    const access = accessOf("admin", harbor.adminPassword);
    const ports = { clientFor, access, secrets, clock, random: () => 0.987 };
    const other = await prepareHarbor(ports, wishes, { signal });
    expect(await isLetIn(one.push.access)).toBe(true);
    expect(await isLetIn(other.push.access)).toBe(true);
  });
});

describe("a Harbor that is not ready", () => {
  test.each(["core", "database", "redis", "registry"])(
    "for want of its %s: it is waited for",
    async (component) => {
      harbor.setHealthy(component, false);
      const failure = await failureOf(prepare());
      expect([failure.code, failure.transient]).toEqual(["harbor-starting", true]);
      expect(failure.message).toContain(component);
    },
  );

  test("for want of what pushing does not need: it is told, and pushed to", async () => {
    harbor.setHealthy("jobservice", false);
    const prepared = await prepare();
    expect(codes(prepared)).toEqual(["harbor-unhealthy"]);
    expect(prepared.warnings[0]?.message).toContain("jobservice");
  });

  test("behind an ingress that does not know it yet: it is waited for", async () => {
    harbor.interrupt(() => 404);
    const failure = await failureOf(prepare());
    expect([failure.code, failure.transient]).toEqual(["harbor-absent", true]);
  });

  test("in read-only mode: nothing is changed, and it is waited for", async () => {
    harbor.setReadOnly(true);
    const failure = await failureOf(prepare());
    expect([failure.code, failure.transient]).toEqual(["registry-read-only", true]);
    expect(changes()).toEqual([]);
  });
});

describe("who may not do all", () => {
  test("a wrong password, and none, are refused at once with where it was written", async () => {
    const wrong = await failureOf(prepare({}, accessOf("admin", "Wrong1234")));
    expect([wrong.code, wrong.transient]).toEqual(["registry-unauthorized", false]);
    expect(wrong.hint).toContain("site:localRegistry");
    const none = await failureOf(prepare({}, ANONYMOUS));
    expect(none.code).toBe("registry-unauthorized");
    expect(none.hint).toContain("passwordFile");
  });

  test("an admin of the project: robots are made, and what only admins see is told", async () => {
    harbor.createProject(PROJECT);
    harbor.addUser("pa", "Secret123", { [PROJECT]: "projectAdmin" });
    const prepared = await prepare({}, accessOf("pa", "Secret123"));
    expect([prepared.push.isRobot, codes(prepared)]).toEqual([true, ["harbor-unchecked"]]);
  });

  test("a developer: the given credential pushes, and a warning says so", async () => {
    harbor.createProject(PROJECT);
    harbor.addUser("dev", "Secret123", { [PROJECT]: "developer" });
    const prepared = await prepare({}, accessOf("dev", "Secret123"));
    expect([prepared.push.isRobot, loginOf(prepared.push.access)]).toEqual([false, "dev"]);
    expect(prepared.nodes).toBeNull();
    expect(codes(prepared)).toContain("harbor-without-robots");
    expect(kept).toEqual([]);
  });

  test("somebody who may not create the missing project is told what an admin must do", async () => {
    open({ projectCreation: "adminonly" });
    harbor.addUser("dev", "Secret123");
    const failure = await failureOf(prepare({}, accessOf("dev", "Secret123")));
    expect([failure.code, failure.transient]).toEqual(["harbor-denied", false]);
    expect(failure.hint).toContain(`create the project "${PROJECT}"`);
  });

  test("somebody who does not see the project that is there is told so", async () => {
    harbor.createProject(PROJECT);
    harbor.addUser("dev", "Secret123");
    const failure = await failureOf(prepare({}, accessOf("dev", "Secret123")));
    expect(failure.code).toBe("harbor-denied");
    expect(failure.hint).toContain("maintainer");
  });
});

describe("a credential that was good once", () => {
  const stale = accessOf("admin", "Wrong1234");
  const daily = { rotateAfterMs: DAY_MS };

  test.each([
    ["was changed in Harbor", stale],
    ["was taken out of the site file", ANONYMOUS],
    ["is empty", accessOf("admin", "")],
  ])("%s: images go up with the robot, and nothing is changed", async (_, access) => {
    const first = await prepare(daily);
    const before = changes().length;
    clock.advance(2 * DAY_MS);
    const prepared = await prepare(daily, access);
    expect(prepared.push.isRobot).toBe(true);
    expect(await isLetIn(prepared.push.access)).toBe(true);
    expect(loginOf(prepared.nodes?.access)).toBe(loginOf(first.nodes?.access));
    expect([prepared.version, changes().length]).toEqual([first.version, before]);
    expect(codes(prepared)).toEqual(["harbor-admin-refused"]);
  });

  test("the warning names the credential and what is not looked after", async () => {
    await prepare();
    const [warning] = (await prepare({}, stale)).warnings;
    expect(warning?.message).toMatch(/credential of site:localRegistry: .*answered 401/);
    expect(warning?.message).toMatch(/secrets .* not renewed, and .*quota and .*rules/);
    expect(warning?.hint).toContain("site:localRegistry");
    expect(JSON.stringify(warning)).not.toMatch(/Canary1|Wrong1234/);
  });

  test.each([
    ["a guest of the project", { [PROJECT]: "guest" } as const],
    ["no member of it", {}],
  ])("of somebody who is %s: the robot is taken, and not that user", async (_, roles) => {
    await prepare();
    harbor.addUser("was", "Secret123", roles);
    const prepared = await prepare({}, accessOf("was", "Secret123"));
    expect(prepared.push.isRobot).toBe(true);
    expect(codes(prepared)).toContain("harbor-admin-refused");
  });

  test("is refused as ever once the robot is refused too", async () => {
    const first = await prepare();
    harbor.revokeRobot(loginOf(first.push.access));
    expect((await failureOf(prepare({}, stale))).code).toBe("registry-unauthorized");
  });

  test("is no reason to push to a Harbor in read-only mode", async () => {
    await prepare();
    harbor.setReadOnly(true);
    const failure = await failureOf(prepare({}, stale));
    expect([failure.code, failure.transient]).toEqual(["registry-read-only", true]);
  });
});

test("a project that is there and public, where a private one was wished, is told and left so", async () => {
  harbor.createProject(PROJECT, { isPublic: true });
  expect(codes(await prepare())).toEqual(["harbor-project-public"]);
  expect(harbor.projects().at(-1)?.isPublic).toBe(true);
});

describe("old Harbors", () => {
  test.each(["v2.0.0-aaaa", "v2.1.6"])("%s: no robots, with the reason", async (version) => {
    open({ version });
    const prepared = await prepare();
    expect([prepared.push.isRobot, codes(prepared)]).toEqual([false, ["harbor-without-robots"]]);
    expect(prepared.warnings[0]?.message).toContain(version);
    expect(harbor.requests.filter(({ path }) => path.includes("robots"))).toEqual([]);
  });

  test("v2.5.3, as the pack harbor 1.9.3 brings it, has all that is needed", async () => {
    open({ version: "v2.5.3-797c00bc" });
    expect((await prepare()).push.isRobot).toBe(true);
  });

  test("Harbor 3, which is not known, is refused before anything is changed", async () => {
    open({ version: "v3.0.0" });
    expect((await failureOf(prepare())).code).toBe("harbor-version");
    expect(changes()).toEqual([]);
  });
});

describe("room", () => {
  beforeEach(() => harbor.createProject(PROJECT));

  test("a quota that can never hold what is needed is refused, with how much to raise it", async () => {
    harbor.setQuota(PROJECT, 600e6);
    const failure = await failureOf(prepare({ needBytes: 1e9 }));
    expect([failure.code, failure.transient]).toEqual(["registry-full", false]);
    expect(failure.message).toContain("400.0 MB more");
    expect(failure.hint).toContain("at least 400.0 MB");
  });

  test("a quota that holds it exactly is enough", async () => {
    harbor.setQuota(PROJECT, 1000);
    expect(codes(await prepare())).toEqual([]);
  });

  describe("of a project that holds something", () => {
    beforeEach(() => fill(harbor, 500));

    test("what is there counts once: the caller knows how much of it is", async () => {
      harbor.setQuota(PROJECT, 1000);
      expect(codes(await prepare({ presentBytes: async () => 500 }))).toEqual([]);
      const failure = await failureOf(prepare({ presentBytes: async () => 499 }));
      expect(failure.code).toBe("registry-full");
      expect(failure.message).toContain("1 B more");
    });

    test("a caller who does not know is warned", async () => {
      harbor.setQuota(PROJECT, 1000);
      expect(codes(await prepare())).toEqual(["harbor-quota-near"]);
      harbor.setQuota(PROJECT, 1500);
      expect(codes(await prepare())).toEqual([]);
    });
  });

  test("little free storage is a warning: Harbor may look at another disk than its registry's", async () => {
    harbor.setFreeBytes(999);
    expect(codes(await prepare())).toEqual(["harbor-storage-low"]);
    harbor.setFreeBytes(1000);
    expect(codes(await prepare())).toEqual([]);
  });
});

describe("rules of the project", () => {
  beforeEach(() => harbor.createProject(PROJECT));

  test("tags of ours that are immutable are named, with the rule", async () => {
    harbor.addImmutableRule(PROJECT, { repository: "docker.io/**", tag: "**" });
    harbor.addImmutableRule(PROJECT, { repository: "quay.io/*/node", tag: "v*" });
    const prepared = await prepare();
    expect(codes(prepared)).toEqual(["harbor-tag-immutable"]);
    expect(prepared.warnings[0]?.message).toContain("rule 2");
    expect(prepared.warnings[0]?.message).toContain('"quay.io/calico/node:v3.27.0"');
  });

  test("a retention policy that will remove ours is told", async () => {
    const rule = { repository: "**", tag: "**", template: "nDaysSinceLastPull" };
    harbor.addRetentionRule(PROJECT, { ...rule, params: { nDaysSinceLastPull: 7 } });
    const prepared = await prepare();
    expect(codes(prepared)).toEqual(["harbor-retention"]);
    expect(prepared.warnings[0]?.message).toContain('"quay.io/calico/node:v3.27.0"');
  });

  test("a retention policy that keeps ours is not", async () => {
    harbor.addRetentionRule(PROJECT, { repository: "**", tag: "v*", template: "always" });
    expect(codes(await prepare())).toEqual([]);
  });
});

describe("whatever request fails", () => {
  test.each(["before", "after"] as const)(
    "%s it is carried out: the next preparation completes, with one robot for each",
    async (when) => {
      const failure = new Failure({ code: "x", message: "x", hint: "x", transient: true });
      await prepare();
      const all = harbor.requests.length;
      expect(all).toBeGreaterThan(10);
      for (let n = 1; n <= all; n += 1) {
        open();
        let number = 0;
        fault = () => {
          number += 1;
          return number === n ? { when, failure } : undefined;
        };
        expect(await prepare().catch((error: unknown) => error)).toBe(failure);
        const prepared = await prepare();
        expect(await isLetIn(prepared.push.access)).toBe(true);
        expect(await isLetIn(prepared.nodes?.access)).toBe(true);
        expect([harbor.robots().length, harbor.projects().length]).toEqual([2, 2]);
      }
    },
  );

  test("a full disk under the secrets: no robot is left that nobody can log in as", async () => {
    const failure = new Failure({ code: "harbor-secrets", message: "x", hint: "x" });
    for (let n = 1; n <= 4; n += 1) {
      open();
      let number = 0;
      const secrets = {
        read: async () => kept,
        write: async (written: readonly RobotSecret[]) => {
          number += 1;
          if (number === n) throw failure;
          kept = written;
        },
      };
      const access = accessOf("admin", harbor.adminPassword);
      const ports = { clientFor, access, secrets, clock, random: () => 0.5 };
      const first = prepareHarbor(ports, wishes, { signal });
      expect(await first.catch((error: unknown) => error)).toBe(failure);
      const prepared = await prepareHarbor(ports, wishes, { signal });
      expect(await isLetIn(prepared.push.access)).toBe(true);
      expect(harbor.robots()).toHaveLength(2);
    }
  });
});

function raise(): never {
  throw new Error("It is not there");
}

/** Pushes a blob of so many bytes to the project. */
async function fill(to: HarborHandler, bytes: number): Promise<void> {
  const blob = new Uint8Array(bytes);
  const digest = `sha256:${new Bun.CryptoHasher("sha256").update(blob).digest("hex")}`;
  const admin = Buffer.from(`admin:${to.adminPassword}`).toString("base64");
  const headers = { authorization: `Basic ${admin}`, "content-length": String(bytes) };
  const url = `https://harbor.test/v2/${PROJECT}/app/blobs/uploads/`;
  const begun = await to.fetch(
    new Request(url, { method: "POST", headers: { ...headers, "content-length": "0" } }),
  );
  const at = new URL(begun.headers.get("location") ?? "", url);
  at.searchParams.set("digest", digest);
  const put = await to.fetch(new Request(at.href, { method: "PUT", headers, body: blob }));
  expect(put.status).toBe(201);
}
