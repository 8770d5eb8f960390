import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { hasDockerRegistry, startDockerRegistry } from "#test-support/docker-registry";
import { haveClients, runClient } from "#test-support/foreign-client";
import { dray, temporaryFolder } from "#test-support/program";
import { startRegistryProgram } from "#test-support/serving-program";

setDefaultTimeout(60_000);

const FILES = {
  "profiles/store.yaml": `metadata: { name: store }
spec:
  template:
    packs:
      - { name: byoi, layer: os, values: "options: { system.uri: quay.io/k/os:v1 }" }
      - { path: ../packs/app }
`,
  "packs/app/pack.json": '{"name": "app", "layer": "addon"}',
  "packs/app/values.yaml": "pack: { content: { images: [{ image: quay.io/team/app:1 }] } }\n",
  "packs/app/manifests/empty.yaml": "",
};

async function writeInputs(folder: string): Promise<void> {
  for (const [path, text] of Object.entries(FILES)) {
    await mkdir(join(folder, path, ".."), { recursive: true });
    await writeFile(join(folder, path), text);
  }
}

const registries = [
  {
    name: "the embedded registry",
    isHere: true,
    start: (folder: string) => startRegistryProgram(join(folder, "registry")),
  },
  {
    name: "docker-registry 2.8",
    isHere: hasDockerRegistry,
    start: (_: string) => startDockerRegistry(),
  },
];

describe.skipIf(!haveClients("oras")).each(registries)("oras and $name", ({ isHere, start }) => {
  test.skipIf(!isHere)("oras pulls what dray publishes, file by file", async () => {
    await using folder = await temporaryFolder();
    await using registry = await start(folder.path);
    await writeInputs(folder.path);
    const to = `${registry.address}/sites/store:1`;
    const profile = join(folder.path, "profiles", "store.yaml");
    const run = await dray(["publish", `--profile=${profile}`, `--to=${to}`, "--output=json"]);
    expect(run.exitCode).toBe(0);
    const out = join(folder.path, "pulled");
    await runClient(folder.path, ["oras", "pull", "--plain-http", "-o", out, to]);
    for (const [path, text] of Object.entries(FILES)) {
      expect([path, await readFile(join(out, path), "utf8")]).toEqual([path, text]);
    }
    const shown = await runClient(folder.path, [
      ...["oras", "manifest", "fetch", "--plain-http", "--descriptor", to],
    ]);
    expect(JSON.parse(shown)).toMatchObject({ digest: JSON.parse(run.out).digest });
  });

  test.skipIf(!isHere)("a site plans from what oras pushes as the documentation says", async () => {
    await using folder = await temporaryFolder();
    await using registry = await start(folder.path);
    await writeInputs(folder.path);
    const to = `${registry.address}/sites/store:1`;
    const documented = await readFile(
      join(import.meta.dir, "..", "..", "docs", "steering.md"),
      "utf8",
    );
    const [, command = ""] = /```sh\n(oras push [\s\S]*?)```/.exec(documented) ?? [];
    const words = command
      .replaceAll("\\\n", " ")
      .replace("registry.example.com/sites/store:1.4.0", to)
      .trim()
      .split(/\s+/);
    await runClient(folder.path, [...words, "--plain-http"]);
    const plan = await dray(["plan", `--profile=oci://${to}`, "--output=json"]);
    expect(plan.err).toBe("");
    expect(plan.exitCode).toBe(0);
    expect(plan.out).toContain('"declared": "quay.io/team/app:1"');
  });

  test.skipIf(!isHere)("a folder that oras packed is refused, and what to do is said", async () => {
    await using folder = await temporaryFolder();
    await using registry = await start(folder.path);
    await writeInputs(folder.path);
    const to = `${registry.address}/sites/store:1`;
    const type = "application/vnd.drayage.profile.v1+yaml";
    await runClient(folder.path, [
      ...["oras", "push", "--plain-http", to, "packs", `profiles/store.yaml:${type}`],
      ...["--artifact-type", "application/vnd.drayage.site.v1"],
    ]);
    const plan = await dray(["plan", `--profile=oci://${to}`]);
    expect(plan.exitCode).toBe(1);
    expect(plan.err).toContain('"packs" is a packed folder');
  });
});
