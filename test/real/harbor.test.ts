import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { Secret, systemClock } from "#base";
import { type Access, ANONYMOUS } from "#credential";
import {
  createRobotSecretsFile,
  HarborClient,
  type HarborWishes,
  type PreparedHarbor,
  prepareHarbor,
} from "#harbor";
import { parseReference } from "#reference";
import { dnsAddresses, type Remote } from "#remote";
import { type Harbor, startHarbor } from "#test-support/harbor";
import { foreignAccess, foreignHarbor, HarborOperator } from "#test-support/harbor-operator";
import { temporaryFolder } from "#test-support/program";
import { imageToPush, pushImage } from "#test-support/push-world";
import { failureOf, remoteWith, signal } from "#test-support/remote-world";

const KIB = 1024;

/** All that is pushed lies below it. */
const BELOW = "drayage-test";

const foreign = foreignHarbor();
const made = `drayage-test-${randomBytes(4).toString("hex")}`;
const project = foreign?.project ?? made;

let standIn: Harbor | undefined;
let address: string;
let admin: Access;
let remote: Remote;
let operator: HarborOperator;
let folder: string;
let id: number;
const undo = new AsyncDisposableStack();

beforeAll(async () => {
  folder = undo.use(await temporaryFolder()).path;
  const world = { clock: systemClock, random: Math.random, lookupAddresses: dnsAddresses };
  remote = remoteWith(foreign === undefined ? {} : world);
  undo.defer(() => remote.close());
  if (foreign === undefined) standIn = undo.use(await startHarbor());
  address = foreign?.address ?? standIn?.address ?? "";
  admin = foreign === undefined ? adminOf(standIn) : foreignAccess(foreign);
  operator = new HarborOperator(remote, address, admin);
  await prepare();
  id = (await projectOf()).id;
}, 60_000);

afterAll(async () => {
  if (foreign !== undefined) await cleanUp();
  await undo.disposeAsync();
}, 60_000);

function adminOf(harbor: Harbor | undefined): Access {
  const password = new Secret(harbor?.adminPassword ?? "");
  return {
    ...{ origin: "site:localRegistry", insecure: false, certificates: [harbor?.ca ?? ""] },
    credential: { kind: "password", username: "admin", password },
  };
}

const clientFor = (access: Access) => new HarborClient(remote.api(address, access), access);

async function projectOf() {
  const found = await clientFor(admin).project(project, signal);
  if (found === undefined) throw new Error(`There is no project ${project}`);
  return found;
}

function prepare(changed: Partial<HarborWishes> = {}, access = admin): Promise<PreparedHarbor> {
  const secrets = createRobotSecretsFile(join(folder, "harbor-robots.json"));
  const ports = { clientFor, access, secrets, clock: systemClock, random: Math.random };
  const wishes = { project, isPublic: false, needBytes: 1, images: [], ...changed };
  return prepareHarbor(ports, wishes, { signal });
}

const targetAt = (repository: string, access: Access) =>
  remote.target(parseReference(`${address}/${project}/${BELOW}/${repository}:1`), access);

const sourceAt = (repository: string, access: Access) =>
  remote.repository(parseReference(`${address}/${project}/${BELOW}/${repository}:1`), access);

async function robotLogins(): Promise<readonly string[]> {
  const robots = await clientFor(admin).robots(await projectOf(), signal);
  return robots.map(({ login }) => login);
}

async function cleanUp(): Promise<void> {
  const harbor = clientFor(admin);
  const found = await harbor.project(project, signal);
  if (found === undefined) return;
  const ours = (await createRobotSecretsFile(join(folder, "harbor-robots.json")).read()).map(
    ({ name }) => name,
  );
  for (const robot of await harbor.robots(found, signal)) {
    if (ours.some((name) => robot.login.endsWith(`+${name}`))) {
      await operator.removeRobot(robot.id);
    }
  }
  await operator.removeImmutableRules(found.id, `${BELOW}/fixed`);
  await operator.removeRepositories(project, `${BELOW}/`);
  if (foreign?.project === undefined) await operator.removeProject(found.id);
}

const without = (access: Access): Access => ({ ...ANONYMOUS, certificates: access.certificates });

describe(foreign === undefined ? "a stand-in for Harbor" : `Harbor ${foreign.address}`, () => {
  test("is prepared once: another time finds all in order", async () => {
    const first = await prepare();
    const logins = await robotLogins();
    const second = await prepare();
    expect(second).toEqual(first);
    expect(await robotLogins()).toEqual(logins);
    expect(first.push.isRobot).toBe(true);
  });

  test("takes an image of the agent's robot, and gives it to the nodes'", async () => {
    const { push, nodes } = await prepare();
    const image = await imageToPush([300 * KIB, 5 * KIB], { seed: "app" });
    const name = "quay.io/team/app";
    await pushImage(targetAt(name, push.access), image, "v1");
    const source = sourceAt(name, nodes?.access ?? ANONYMOUS);
    const manifest = await source.resolve("v1", { signal });
    expect(manifest.digest).toBe(image.manifest.digest);
    for (const blob of image.blobs) {
      const bytes = await new Response(await source.fetch(blob, { signal })).arrayBuffer();
      expect(bytes.byteLength).toBe(blob.size);
    }
  });

  test("is sent nothing that it has", async () => {
    const { push } = await prepare();
    const image = await imageToPush([300 * KIB, 5 * KIB], { seed: "again" });
    const target = targetAt("quay.io/team/again", push.access);
    expect(await pushImage(target, image, "v1")).toBeGreaterThan(0);
    expect(await pushImage(target, image, "v1")).toBe(0);
  });

  test("mounts what another repository of the project holds", async () => {
    const { push } = await prepare();
    const image = await imageToPush([300 * KIB], { seed: "mounted" });
    const from = targetAt("mount/from", push.access);
    await pushImage(from, image);
    const target = targetAt("mount/to", push.access);
    for (const blob of image.blobs) {
      const options = { signal, mountFrom: [from.repository] };
      expect(await target.pushBlob(blob, image.content, options)).toEqual({
        ...{ outcome: "mounted", bytesSent: 0 },
      });
    }
  });

  test("keeps signatures: what refers to an image is found by it", async () => {
    const { push, nodes } = await prepare();
    const image = await imageToPush([KIB], { seed: "signed" });
    const target = targetAt("signed", push.access);
    await pushImage(target, image);
    const more = { artifactType: "application/vnd.test.signature", subject: image.manifest };
    const signature = await imageToPush([KIB], { seed: "signature", more });
    for (const blob of signature.blobs) await target.pushBlob(blob, signature.content, { signal });
    await target.pushManifest(signature.manifest, signature.manifestBytes, { signal });
    const source = sourceAt("signed", nodes?.access ?? ANONYMOUS);
    const found = await source.referrers?.(image.manifest.digest, { signal });
    expect(found?.map(({ digest }) => digest)).toEqual([signature.manifest.digest]);
  });

  test("gives a private project to nobody, and takes nothing of the nodes' robot", async () => {
    const { nodes } = await prepare();
    const image = await imageToPush([KIB], { seed: "refused" });
    const nobody = await failureOf(
      sourceAt("quay.io/team/app", without(admin)).resolve("v1", { signal }),
    );
    expect(nobody.code).toBe("registry-unauthorized");
    const target = targetAt("refused", nodes?.access ?? ANONYMOUS);
    const failure = await failureOf(pushImage(target, image));
    expect(["push-denied", "registry-unauthorized"]).toContain(failure.code);
  });

  test("says which project is not there", async () => {
    const { push } = await prepare();
    const reference = parseReference(`${address}/${made}-absent/app:1`);
    const image = await imageToPush([KIB], { seed: "absent" });
    const failure = await failureOf(pushImage(remote.target(reference, push.access), image));
    expect(["project-missing", "push-denied", "registry-unauthorized"]).toContain(failure.code);
    expect(failure.message).toContain(`${made}-absent`);
  });

  test("refuses what is over the quota, by that name, and takes it when there is room", async () => {
    const { push } = await prepare();
    const before = await operator.quotaOf(id);
    const image = await imageToPush([700 * KIB], { seed: "large" });
    await operator.setQuota(id, (await operator.usedBytes(id)) + 100 * KIB);
    try {
      const failure = await failureOf(pushImage(targetAt("large", push.access), image));
      expect([failure.code, failure.transient]).toEqual(["registry-full", false]);
      const known = await failureOf(prepare({ needBytes: 1024 ** 4 }));
      expect(known.code).toBe("registry-full");
    } finally {
      await operator.setQuota(id, before);
    }
    await pushImage(targetAt("large", push.access), image);
  });

  test("refuses to move an immutable tag, by that name, which was told before", async () => {
    const { push } = await prepare();
    const target = targetAt("fixed", push.access);
    await pushImage(target, await imageToPush([KIB], { seed: "fixed" }), "v1");
    await operator.addImmutableRule(id, `${BELOW}/fixed`, "v*");
    const images = [{ repository: `${BELOW}/fixed`, tag: "v1" }];
    const { warnings } = await prepare({ images });
    expect(warnings.map(({ code }) => code)).toContain("harbor-tag-immutable");
    const other = await imageToPush([KIB], { seed: "moved" });
    expect((await failureOf(pushImage(target, other, "v1"))).code).toBe("tag-immutable");
  });

  test("a renewed secret is let in, and the one before is not", async () => {
    const before = await prepare();
    const after = await prepare({ rotateAfterMs: 0 });
    expect(await clientFor(before.push.access).isLetIn(signal)).toBe(false);
    expect(await clientFor(after.push.access).isLetIn(signal)).toBe(true);
    const image = await imageToPush([KIB], { seed: "renewed" });
    await pushImage(targetAt("renewed", after.push.access), image);
  });

  test("a robot that is gone is made anew", async () => {
    const before = await prepare();
    const harbor = clientFor(admin);
    const robots = await harbor.robots(await projectOf(), signal);
    const { credential } = before.push.access;
    const login = credential?.kind === "password" ? credential.username : "";
    for (const robot of robots) if (robot.login === login) await operator.removeRobot(robot.id);
    const after = await prepare();
    expect(await robotLogins()).toContain(login);
    const image = await imageToPush([KIB], { seed: "anew" });
    await pushImage(targetAt("anew", after.push.access), image);
  });

  test("a wrong password stops nothing while the robot is let in, and is refused without one", async () => {
    const credential = { kind: "password", username: "drayage-nobody", password: new Secret("x") };
    const wrong = { ...admin, credential } as Access;
    await prepare();
    const { push, warnings } = await prepare({}, wrong);
    expect(warnings.map(({ code }) => code)).toEqual(["harbor-admin-refused"]);
    const image = await imageToPush([KIB], { seed: "without an admin" });
    await pushImage(targetAt("without-admin", push.access), image);
    const failure = await failureOf(prepare({ project: "drayage-none" }, wrong));
    expect([failure.code, failure.transient]).toEqual(["registry-unauthorized", false]);
  });
});

describe.skipIf(foreign !== undefined)("what is not done to a Harbor of others", () => {
  const harbor = (): Harbor => {
    if (standIn === undefined) throw new Error("There is no stand-in");
    return standIn;
  };

  test("read-only mode is named, by the API and by a push", async () => {
    const { push } = await prepare();
    const image = await imageToPush([KIB], { seed: "read-only" });
    harbor().setReadOnly(true);
    try {
      expect((await failureOf(prepare())).code).toBe("registry-read-only");
      const failure = await failureOf(pushImage(targetAt("ro", push.access), image));
      expect(failure.code).toBe("registry-read-only");
    } finally {
      harbor().setReadOnly(false);
    }
    await pushImage(targetAt("ro", push.access), image);
  });

  test("a core that is away behind its front is waited for by whoever asks", async () => {
    const { push } = await prepare();
    const image = await imageToPush([200 * KIB, KIB], { seed: "away" });
    const away = new Set([3, 7, 8, 13]);
    try {
      harbor().interrupt((_, number) => (number <= 2 ? 502 : undefined));
      await prepare();
      harbor().interrupt((_, number) => (away.has(number) ? 503 : undefined));
      await pushImage(targetAt("away", push.access), image);
    } finally {
      harbor().interrupt(undefined);
    }
  }, 60_000);

  test("a Harbor that is gone is a failure that may pass; when it is back, all is as it was", async () => {
    const { push } = await prepare();
    await harbor().stop();
    const quick = remoteWith({ patience: QUICK });
    const gone = await failureOf(new HarborClient(quick.api(address, admin), admin).health(signal));
    expect([gone.code, gone.transient]).toEqual(["registry-unreachable", true]);
    await harbor().start();
    expect((await prepare()).push).toEqual(push);
  });
});

const QUICK = { attempts: 1, firstMs: 1, maxMs: 1, headerTimeoutMs: 1000, stallMs: 1000 };
