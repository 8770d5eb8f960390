import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ageBlobs } from "#test-support/aged-store";
import { hasDockerRegistry, startDockerRegistry } from "#test-support/docker-registry";
import { startLoopbackRegistry } from "#test-support/loopback-registry";
import { dray, temporaryFolder } from "#test-support/program";
import { startRegistryProgram } from "#test-support/serving-program";

// Programs are started and images made: on a busy machine that takes its time.
setDefaultTimeout(60_000);

const LOGIN = { username: "publisher", password: "c4nary-password" };

/** A profile whose second pack lies in a folder beside it; images are those of a registry of the test. */
async function writeInputs(folder: string, address = "quay.io", more = ""): Promise<string> {
  await mkdir(join(folder, "profiles"), { recursive: true });
  await mkdir(join(folder, "packs", "app", "manifests"), { recursive: true });
  const profile = join(folder, "profiles", "store.yaml");
  await writeFile(
    profile,
    `metadata: { name: store }
spec:
  template:
    packs:
      - name: byoi
        layer: os
        values: |
          options: { system.uri: "${address}/k/os:v1" }
          ${more}
      - path: ../packs/app
`,
  );
  const pack = join(folder, "packs", "app");
  await writeFile(join(pack, "pack.json"), '{"name": "app", "layer": "addon"}');
  await writeFile(
    join(pack, "values.yaml"),
    `pack: { content: { images: [{ image: "${address}/team/app:1" }] } }\n`,
  );
  await writeFile(join(pack, "manifests", "empty.yaml"), "");
  return profile;
}

const IMAGES = {
  "k/os:v1": { seed: "os", layers: 2, layerBytes: 20_000 },
  "team/app:1": { seed: "app", layers: 2, layerBytes: 20_000 },
  "team/app:2": { seed: "app2", layers: 2, layerBytes: 20_000 },
};

/** Images at a registry of ours, a profile that names them, and what is published at another. */
async function openWorld() {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const images = stack.use(
    await startLoopbackRegistry(join(folder.path, "images"), { images: IMAGES }),
  );
  const steering = stack.use(await startRegistryProgram(join(folder.path, "steering")));
  const profile = await writeInputs(join(folder.path, "inputs"), images.address);
  const address = `oci://${steering.address}/sites/store:stable`;
  const to = `--to=${steering.address}/sites/store:stable`;
  const moved = stack.move();
  return {
    ...{ folder: folder.path, images, steering, profile, address, to },
    inputs: join(folder.path, "inputs"),
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}

describe("what is published", () => {
  test("is delivered from by its address alone, also without the registry that steers", async () => {
    await using world = await openWorld();
    const published = await dray([
      "publish",
      `--profile=${world.profile}`,
      world.to,
      "--version=1.4.0",
    ]);
    expect(published.err).toBe("");
    expect(published.exitCode).toBe(0);
    expect(published.out).toContain(`a site follows it with: profiles: [${world.address}]`);
    const site = join(world.folder, "site.yaml");
    const dataDir = join(world.folder, "data");
    await writeFile(site, `profiles: ["${world.address}"]\ndataDir: ${dataDir}\n`);
    const plan = await dray(["plan", `--site=${site}`, "--output=json"]);
    const direct = await dray(["plan", `--profile=${world.profile}`, "--output=json"]);
    const sources = (text: string) =>
      JSON.parse(text).stages.map(({ images }: { images: { source: string }[] }) =>
        images.map(({ source }) => source),
      );
    expect(sources(plan.out)).toEqual(sources(direct.out));
    expect(JSON.parse(plan.out).stages[0].images[0].at[0].file).toMatch(
      /^oci:\/\/127\.0\.0\.1:\d+\/sites\/store@sha256:[0-9a-f]{64}\/profiles\/store\.yaml$/,
    );
    const delivered = await dray(["deliver", `--site=${site}`, "--platform=linux/amd64"]);
    expect(delivered.exitCode).toBe(0);
    await world.steering.kill();
    const again = await dray(["deliver", `--site=${site}`, "--platform=linux/amd64"]);
    expect(again.err).toContain("warning: What came last stands.");
    expect(again.exitCode).toBe(0);
    await ageBlobs(dataDir);
    expect((await dray(["gc", `--data-dir=${dataDir}`])).exitCode).toBe(0);
    const kept = await dray(["plan", `--site=${site}`, "--output=json"]);
    expect(kept.out).toBe(plan.out);
  });

  test("is followed by other hosts at the one that has it, which serves it with the images", async () => {
    await using world = await openWorld();
    await dray(["publish", `--profile=${world.profile}`, world.to]);
    const dataDir = join(world.folder, "data");
    const words = [`--profile=${world.address}`, "--platform=linux/amd64"];
    expect((await dray(["deliver", ...words, `--data-dir=${dataDir}`])).exitCode).toBe(0);
    await world.steering.kill();
    await using host = await startRegistryProgram(dataDir);
    const path = `${world.steering.address.replace(":", "_")}/sites/store:stable`;
    const address = `oci://${host.address}/spectro-images/${path}`;
    const plan = await dray(["plan", `--profile=${address}`]);
    expect(plan.err).toBe("");
    expect(plan.out).toContain("/team/app:1");
  });

  test("is the same for the same files, wherever they lie and in whatever order they are named", async () => {
    await using world = await openWorld();
    const elsewhere = await writeInputs(join(world.folder, "else", "where"), world.images.address);
    const digestOf = async (...words: readonly string[]) => {
      const run = await dray(["publish", ...words, world.to, "--output=json", "--dry-run"], {
        env: { SOURCE_DATE_EPOCH: "" },
      });
      expect(run.exitCode).toBe(0);
      return JSON.parse(run.out).digest as string;
    };
    const digest = await digestOf(`--profile=${world.profile}`);
    expect(await digestOf(`--profile=${elsewhere}`)).toBe(digest);
    expect(await digestOf(`--profile=${elsewhere}`, "--version=2")).not.toBe(digest);
    expect(await digestOf(`--profile=${join(world.inputs, "profiles")}`)).toBe(digest);
  });

  test("moves with its tag, and only what changed is sent", async () => {
    await using world = await openWorld();
    const publish = () =>
      dray(["publish", `--profile=${world.profile}`, world.to, "--output=json"]);
    const first = JSON.parse((await publish()).out);
    expect(JSON.parse((await publish()).out)).toEqual({ ...first, bytesSent: 0 });
    const values = join(world.inputs, "packs", "app", "values.yaml");
    await writeFile(values, (await readFile(values, "utf8")).replace("app:1", "app:2"));
    const second = JSON.parse((await publish()).out);
    expect(second.digest).not.toBe(first.digest);
    expect(second.bytesSent).toBe((await readFile(values)).byteLength);
    const plan = await dray(["plan", `--profile=${world.address}`, "--output=json"]);
    expect(plan.out).toContain("/team/app:2");
  });

  test("carries user data, which a site's own replaces", async () => {
    await using world = await openWorld();
    const userData = join(world.inputs, "user-data.yaml");
    const registry = (domain: string) =>
      `#cloud-config\nstylus:\n  registryCredentials: { domain: "${domain}" }\n`;
    await writeFile(userData, registry("mirror.example/all"));
    await dray(["publish", `--profile=${world.profile}`, `--user-data=${userData}`, world.to]);
    const carried = await dray(["plan", `--profile=${world.address}`, "--output=json"]);
    expect(carried.out).toContain("mirror.example/all/app:1");
    await writeFile(userData, registry("own.example"));
    const own = await dray(["plan", `--profile=${world.address}`, `--user-data=${userData}`]);
    expect(own.out).toContain("own.example/app:1");
    expect(own.err).toContain("[user-data-unused]");
  });
});

describe("dray publish refuses", () => {
  test("inputs that hold secrets, all named with their places, and pushes nothing", async () => {
    await using world = await openWorld();
    const profile = await writeInputs(
      join(world.folder, "leaky"),
      world.images.address,
      `providerCredentials: { registry: "${world.images.address}", user: u, password: ${LOGIN.password} }`,
    );
    const values = join(world.folder, "leaky", "packs", "app", "values.yaml");
    await writeFile(values, `${await readFile(values, "utf8")}adminPassword: ${LOGIN.password}\n`);
    const run = await dray(["publish", `--profile=${profile}`, world.to]);
    expect(run.exitCode).toBe(2);
    expect(run.err.match(/\[secret-published\]/g)).toHaveLength(2);
    expect(run.err).toMatch(/store\.yaml:9:\d+: Cannot publish the value of "password"/);
    expect(run.err).toMatch(/values\.yaml:2:16: Cannot publish the value of "adminPassword"/);
    expect(run.err + run.out).not.toContain(LOGIN.password);
    const tags = await fetch(`http://${world.steering.address}/v2/sites/store/tags/list`);
    expect(tags.status).toBe(404);
  });

  test("inputs that no plan can be made of, with all faults", async () => {
    await using folder = await temporaryFolder();
    const profile = await writeInputs(folder.path, "quay.io", "pack: { content: { images: 1 } }");
    const run = await dray([
      "publish",
      `--profile=${profile}`,
      "--to=reg.example.com/a:1",
      "--output=json",
    ]);
    expect(run.exitCode).toBe(2);
    expect(JSON.parse(run.out).faults.length).toBeGreaterThan(0);
  });

  test("a profile that names a folder by an absolute path, which no site has", async () => {
    await using folder = await temporaryFolder();
    const profile = await writeInputs(folder.path);
    const text = await readFile(profile, "utf8");
    await writeFile(profile, text.replace("../packs/app", join(folder.path, "packs", "app")));
    const run = await dray(["publish", `--profile=${profile}`, "--to=reg.example.com/a:1"]);
    expect(run.exitCode).toBe(2);
    expect(run.err).toContain("the artifact has no such file");
  });

  test.each([
    ["standard input", ["--profile=-", "--to=reg.example.com/a:1"]],
    ["a digest to publish to", ["--profile=a", `--to=reg.example.com/a@sha256:${"0".repeat(64)}`]],
    ["no profile", ["--to=reg.example.com/a:1"]],
    ["no target", ["--profile=a"]],
    ["a time that is none", ["--profile=a", "--to=reg.example.com/a:1", "--created=yesterday"]],
  ])("%s", async (_, words) => {
    const run = await dray(["publish", ...words]);
    expect(run.exitCode).toBe(2);
    expect(run.out).toBe("");
  });
});

test.skipIf(!hasDockerRegistry)(
  "publishing to docker-registry with a password of the site file",
  async () => {
    await using folder = await temporaryFolder();
    await using registry = await startDockerRegistry({ htpasswd: LOGIN });
    const profile = await writeInputs(folder.path);
    const site = join(folder.path, "site.yaml");
    await writeFile(join(folder.path, "password"), `${LOGIN.password}\n`);
    await writeFile(
      site,
      `credentials:\n  - { registry: "${registry.address}/sites", username: ${LOGIN.username}, passwordFile: password }\n`,
    );
    const words = [`--to=${registry.address}/sites/store:1`, `--site=${site}`];
    const denied = await dray([
      "publish",
      `--profile=${profile}`,
      `--to=${registry.address}/sites/store:1`,
    ]);
    expect(denied.exitCode).toBe(1);
    const run = await dray(["publish", `--profile=${profile}`, ...words]);
    expect(run.err).not.toContain("error");
    expect(run.exitCode).toBe(0);
    const address = `oci://${registry.address}/sites/store:1`;
    const plan = await dray([
      "plan",
      `--profile=${address}`,
      `--site=${site}`,
      `--data-dir=${folder.path}/none`,
    ]);
    expect(plan.err).toContain("usage");
    const planned = await dray(["plan", `--profile=${address}`, `--site=${site}`]);
    expect(planned.exitCode).toBe(0);
    expect(planned.out + planned.err).not.toContain(LOGIN.password);
    expect((await dray(["plan", `--profile=${address}`])).err).toContain("registry-unauthorized");
  },
);
