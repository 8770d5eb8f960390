import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { isFailure, Secret } from "#base";
import { createRobotSecretsFile, type RobotSecret } from "#harbor";
import { FUZZ_RUNS } from "#test-support/fuzz";

let folder: string;
let path: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "drayage-robots-"));
  path = join(folder, "harbor-robots.json");
});

afterEach(() => rm(folder, { recursive: true, force: true }));

const robot: RobotSecret = {
  ...{ harbor: "10.0.0.5:30003", project: "spectro-images", purpose: "push" },
  name: "drayage-push-1f",
  login: {
    username: "robot$spectro-images+drayage-push-1f",
    password: new Secret("canary-secret"),
  },
  madeAtMs: Date.UTC(2026, 0, 1),
};

test("what is written is read back, and only its owner can", async () => {
  const secrets = createRobotSecretsFile(path);
  expect(await secrets.read()).toEqual([]);
  const reserved = { ...robot, purpose: "nodes" as const, login: null };
  await secrets.write([robot, reserved]);
  const read = await createRobotSecretsFile(path).read();
  expect(read).toEqual([robot, reserved]);
  expect(read[0]?.login?.password.reveal()).toBe("canary-secret");
  expect((await stat(path)).mode & 0o777).toBe(0o600);
});

test("it is replaced by rename, also over a draft with other rights that a dead process left", async () => {
  await writeFile(path, "{}", { mode: 0o644 });
  await writeFile(`${path}.draft`, "half", { mode: 0o644 });
  await createRobotSecretsFile(path).write([robot]);
  expect(await readdir(folder)).toEqual(["harbor-robots.json"]);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(await readFile(path, "utf8")).toContain('"madeAt": "2026-01-01T00:00:00.000Z"');
});

test("a file that is no such thing counts as empty", () =>
  fc.assert(
    fc.asyncProperty(fc.oneof(fc.string(), fc.json()), async (text) => {
      await writeFile(path, text);
      expect(await createRobotSecretsFile(path).read()).toEqual([]);
    }),
    { numRuns: Math.min(FUZZ_RUNS, 500) },
  ));

test("an entry that lacks something is passed over, and the others are kept", async () => {
  const secrets = createRobotSecretsFile(path);
  await secrets.write([robot]);
  const { robots } = JSON.parse(await readFile(path, "utf8"));
  const broken = [{ ...robots[0], harbor: 7 }, { ...robots[0], purpose: "all" }, null, 1];
  await writeFile(path, JSON.stringify({ robots: [...broken, ...robots] }));
  expect(await secrets.read()).toEqual([robot]);
});

test("a folder that is not there is a failure that names the file, and shows no secret", async () => {
  const secrets = createRobotSecretsFile(join(folder, "absent", "harbor-robots.json"));
  const failure = await secrets.write([robot]).catch((error: unknown) => error);
  if (!isFailure(failure, "harbor-secrets")) throw failure;
  expect(failure.message).toContain("harbor-robots.json");
  expect(failure.message).not.toContain("canary");
});

test("what can't be read is a failure, and not an empty list that would make all robots anew", async () => {
  await mkdir(path);
  const failure = await createRobotSecretsFile(path)
    .read()
    .catch((error: unknown) => error);
  expect(isFailure(failure, "harbor-secrets")).toBe(true);
});
