import { describe, expect, test } from "bun:test";
import { resolve } from "node:path";
import { Failure, Findings } from "#base";
import {
  createMemoryRegistry,
  createMemoryStore,
  resolveAndFetch,
  type Source,
  type Target,
} from "#content";
import { type InputFiles, isProblem, readClusterInputs } from "#profile";
import { formatReference } from "#reference";
import { createMemoryFiles } from "#test-support/memory-files";
import { parseArtifactAddress } from "./address.ts";
import { type InputFile, type WrittenArtifact, writeArtifact } from "./artifact.ts";
import { artifactFiles } from "./artifact-files.ts";
import { collectInputs } from "./collect-inputs.ts";
import { fetchArtifact, keepArtifact, pollDelayMs } from "./fetch-artifact.ts";

const { signal } = new AbortController();
const ADDRESS = "oci://registry.example.com/sites/store:stable";
const REFERENCE = parseArtifactAddress(ADDRESS);

const OS_PACK = `
metadata: { name: store }
spec:
  template:
    packs:
      - { name: byoi, layer: os, values: "options: { system.uri: quay.io/k/os:v1 }" }
      - { path: ../packs/app }
`;
const INPUTS = {
  "profiles/store.yaml": OS_PACK,
  "packs/app/pack.json": '{"name": "app", "layer": "addon"}',
  "packs/app/values.yaml": "pack:\n  content:\n    images:\n      - image: quay.io/team/app:1\n",
  "packs/app/README.md": "Not read, so not published.",
  "/etc/site-password": "pass",
};

function written(contents: Readonly<Record<string, string>> = INPUTS): WrittenArtifact {
  const files = createMemoryFiles(contents);
  const { files: collected } = collectInputs({ profiles: ["profiles/store.yaml"] }, files, (name) =>
    resolve("/home/ana", name),
  );
  return writeArtifact(collected);
}

async function push(target: Target, artifact: WrittenArtifact): Promise<void> {
  for (const { descriptor, bytes } of artifact.blobs) {
    const content = { fetch: async () => new Blob([new Uint8Array(bytes)]).stream() };
    await target.pushBlob(descriptor, content, { signal });
  }
  const { descriptor, bytes } = artifact.manifest;
  await target.pushManifest(descriptor, bytes, { signal, tag: "stable" });
}

/** A repository that takes down what it is asked for, and can be cut off. */
async function openWorld(artifact = written()) {
  const target = createMemoryRegistry().target("sites/store");
  await push(target, artifact);
  const asked: string[] = [];
  const stale: string[] = [];
  const store = createMemoryStore();
  const world = {
    target,
    asked,
    stale,
    store,
    isCut: false,
    source: {
      async resolve(tag, options) {
        if (world.isCut) throw unreachable();
        asked.push(`resolve ${tag}`);
        return target.resolve(tag, options);
      },
      fetchManifest(tag, options) {
        return resolveAndFetch(this, tag, options);
      },
      async fetch(descriptor, options) {
        if (world.isCut) throw unreachable();
        asked.push(`fetch ${descriptor.size}`);
        return target.fetch(descriptor, options);
      },
    } satisfies Source as Source,
    fetch: () =>
      fetchArtifact(REFERENCE, {
        source: world.source,
        store,
        signal,
        onStale: ({ message }) => stale.push(message),
      }),
  };
  return world;
}

function unreachable(): Failure {
  return new Failure({
    code: "registry-unreachable",
    message: "Cannot reach it",
    hint: "Wait",
    transient: true,
  });
}

const NO_FILES: InputFiles = createMemoryFiles({});

describe("a site artifact", () => {
  test("is planned from as the files that it was made of", async () => {
    const world = await openWorld();
    const artifact = await world.fetch();
    expect(artifact.files.map(({ path, role }) => `${role} ${path}`)).toEqual([
      "file packs/app/pack.json",
      "file packs/app/values.yaml",
      "profile profiles/store.yaml",
    ]);
    const findings = new Findings();
    const files = artifactFiles(NO_FILES, [artifact]);
    const { images } = readClusterInputs({ profiles: [ADDRESS] }, files, findings);
    expect(findings.faults).toEqual([]);
    expect(images.map(({ reference }) => formatReference(reference))).toEqual([
      "quay.io/k/os:v1",
      "quay.io/team/app:1",
    ]);
    const digest = artifact.manifest.descriptor.digest;
    expect(images[0]?.place).toMatchObject({
      file: `oci://registry.example.com/sites/store@${digest}/profiles/store.yaml`,
      line: 6,
    });
  });

  test("that has not changed costs one request, and one of which a file changed that file", async () => {
    const world = await openWorld();
    await keepArtifact(world.store, await world.fetch());
    world.asked.length = 0;
    await world.fetch();
    expect(world.asked).toEqual(["resolve stable"]);
    const changed = written({
      ...INPUTS,
      "packs/app/pack.json": '{"name": "app2", "layer": "addon"}',
    });
    await push(world.target, changed);
    world.asked.length = 0;
    await keepArtifact(world.store, await world.fetch());
    expect(world.asked).toEqual([
      "resolve stable",
      `fetch ${changed.manifest.bytes.byteLength}`,
      "fetch 34",
    ]);
  });

  test("that came once is there without a link, and why is told", async () => {
    const world = await openWorld();
    const first = await world.fetch();
    await keepArtifact(world.store, first);
    world.isCut = true;
    expect(await world.fetch()).toEqual(first);
    expect(world.stale).toEqual(["Cannot reach it"]);
    await expect(
      fetchArtifact(REFERENCE, { source: world.source, signal, onStale: () => {} }),
    ).rejects.toMatchObject({ code: "registry-unreachable" });
  });

  test("that is refused is not given up for the last one: nothing hides that it is wrong", async () => {
    const world = await openWorld();
    await keepArtifact(world.store, await world.fetch());
    const evil: InputFile = { path: "p.yaml", role: "profile", bytes: new Uint8Array() };
    const { manifest, ...rest } = writeArtifact([evil]);
    const text = new TextDecoder().decode(manifest.bytes).replace("p.yaml", "../p.yaml");
    const bytes = new TextEncoder().encode(text);
    const digest = `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}` as const;
    const descriptor = { ...manifest.descriptor, digest, size: bytes.byteLength } as never;
    await push(world.target, { ...rest, manifest: { descriptor, bytes } });
    await expect(world.fetch()).rejects.toMatchObject({
      code: "artifact-invalid",
      message: expect.stringContaining(ADDRESS),
    });
    expect(world.stale).toEqual([]);
  });

  test("of which a file is not what its digest says is refused", async () => {
    const world = await openWorld();
    const { source } = world;
    const lie: Source = {
      ...source,
      async fetch(descriptor, options) {
        if (descriptor.size !== 33) return source.fetch(descriptor, options);
        return new Blob(["x".repeat(33)]).stream();
      },
    };
    await expect(
      fetchArtifact(REFERENCE, { source: lie, signal, onStale: () => {} }),
    ).rejects.toMatchObject({ code: "digest-mismatch" });
  });

  test("of which a file is missing is refused", async () => {
    const { blobs, ...rest } = written();
    const world = await openWorld();
    const target = createMemoryRegistry().target("sites/store");
    await push(target, { ...rest, blobs });
    const holed: Source = {
      ...target,
      async fetch(descriptor, options) {
        if (descriptor.size === 33) throw missing();
        return target.fetch(descriptor, options);
      },
    };
    await expect(
      fetchArtifact(REFERENCE, { source: holed, store: world.store, signal, onStale: () => {} }),
    ).rejects.toMatchObject({ code: "content-missing" });
  });

  test("of a digest is what that digest says, whatever the registry gives", async () => {
    const world = await openWorld();
    const pinned = parseArtifactAddress(
      `oci://registry.example.com/sites/store@sha256:${"0".repeat(64)}`,
    );
    const source: Source = {
      ...world.source,
      resolve: (_, o) => world.source.resolve("stable", o),
    };
    await expect(
      fetchArtifact(pinned, { source, signal, onStale: () => {} }),
    ).rejects.toMatchObject({ code: "artifact-moved" });
  });

  test("reads no file of the site", async () => {
    const world = await openWorld(
      written({
        ...INPUTS,
        "profiles/store.yaml": OS_PACK.replace("../packs/app", "../../../../packs/app"),
        "/packs/app/pack.json": INPUTS["packs/app/pack.json"],
      }),
    );
    const site = createMemoryFiles({ ...INPUTS, "/packs/app/pack.json": '{"name": "own"}' });
    const files = artifactFiles(site, [await world.fetch()]);
    const findings = new Findings();
    readClusterInputs({ profiles: [ADDRESS] }, files, findings);
    expect(findings.faults[0]?.message).toContain("it lies outside of the artifact");
    expect(isProblem(files.read("/etc/site-password"))).toBe(false);
  });

  test("that was not fetched is a fault, also for a command that asks nobody", () => {
    const findings = new Findings();
    readClusterInputs({ profiles: [ADDRESS] }, artifactFiles(NO_FILES, []), findings);
    expect(findings.faults).toMatchObject([{ code: "input-missing", file: ADDRESS }]);
  });
});

describe("a file of an artifact that names another", () => {
  const files = (profile: string) =>
    createMemoryFiles({ "p/profile.yaml": profile, "/opt/app/pack.json": '{"name": "app"}' });

  test("by an absolute path does not reach a file of the site", async () => {
    const profile = OS_PACK.replace("../packs/app", "/opt/app");
    const { files: collected } = collectInputs(
      { profiles: ["p/profile.yaml"] },
      files(profile),
      (name) => resolve("/home", name),
    );
    const world = await openWorld(writeArtifact(collected));
    const findings = new Findings();
    const site = artifactFiles(files(profile), [await world.fetch()]);
    readClusterInputs({ profiles: [ADDRESS] }, site, findings);
    expect(findings.faults[0]?.message).toContain("/opt/app/pack.json");
    expect(findings.faults[0]?.message).toContain("the artifact has no such file");
  });
});

test("polls are spread over a tenth of the period", () => {
  expect([0, 0.5, 0.999].map((random) => pollDelayMs(60_000, random))).toEqual([
    60_000, 63_000, 65_994,
  ]);
});

function missing(): Failure {
  return new Failure({ code: "content-missing", message: "It is not there", hint: "Push it" });
}
