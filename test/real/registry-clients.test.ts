import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "#base";
import { openStore } from "#store";
import { hasDockerRegistry, startDockerRegistry } from "#test-support/docker-registry";
import { haveClients, runClient } from "#test-support/foreign-client";
import { buildImage } from "#test-support/images";
import { dray, temporaryFolder } from "#test-support/program";
import { type ServingProgram, startRegistryProgram } from "#test-support/serving-program";

/** A layout of two images, one for several platforms, that clients push from. */
let images: Awaited<ReturnType<typeof temporaryFolder>>;

const SINGLE = "single:v1";
const MULTI = "multi:v1";
const LAYER_BYTES = 1_500_000;

/** The root digests of the images. */
const roots: Record<string, string> = {};

beforeAll(async () => {
  images = await temporaryFolder();
  await using store = await openStore(join(images.path, "layout"), { clock: systemClock });
  const platforms = ["linux/amd64", "linux/arm64"];
  const options = { sharedBase: "base", layerBytes: LAYER_BYTES };
  roots[SINGLE] = (await buildImage(store, SINGLE, { seed: "single", ...options })).digest;
  roots[MULTI] = (await buildImage(store, MULTI, { seed: "multi", platforms, ...options })).digest;
});

afterAll(() => images[Symbol.asyncDispose]());

interface Site extends AsyncDisposable {
  readonly folder: string;
  readonly dataDir: string;
  readonly registry: ServingProgram;
  readonly run: (...command: readonly string[]) => Promise<string>;
}

/** An empty registry. */
async function openSite(): Promise<Site> {
  const folder = await temporaryFolder();
  const dataDir = join(folder.path, "data");
  const registry = await startRegistryProgram(dataDir);
  return {
    folder: folder.path,
    dataDir,
    registry,
    run: (...command) => runClient(folder.path, command),
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** The blobs of an OCI layout, sorted by digest; each must be what its name says. */
async function blobsOf(layout: string): Promise<readonly string[]> {
  const folder = join(layout, "blobs", "sha256");
  const names = (await readdir(folder)).sort();
  for (const name of names) {
    const bytes = await readFile(join(folder, name));
    expect(createHash("sha256").update(bytes).digest("hex")).toBe(name);
  }
  return names;
}

async function expectSound({ dataDir }: Site): Promise<void> {
  const { exitCode, out } = await dray(["verify", "-d", dataDir]);
  expect(out).toContain("all as they should be");
  expect(exitCode).toBe(0);
}

/** Copies with skopeo, which is the way in for clients that can't read the layout as it is. */
async function fill(site: Site): Promise<void> {
  for (const name of [SINGLE, MULTI]) {
    await site.run(
      ...["skopeo", "--insecure-policy", "copy", "--all", "--dest-tls-verify=false"],
      `oci:${join(images.path, "layout")}:${name}`,
      `docker://${site.registry.address}/team/${name}`,
    );
  }
}

describe.skipIf(!haveClients("skopeo"))("skopeo", () => {
  test("pushes images, finds them, pulls the same bytes, and deletes them", async () => {
    await using site = await openSite();
    await fill(site);
    const { address } = site.registry;
    for (const name of [SINGLE, MULTI]) {
      const remote = `docker://${address}/team/${name}`;
      const raw = await site.run("skopeo", "inspect", "--tls-verify=false", "--raw", remote);
      expect(`sha256:${createHash("sha256").update(raw).digest("hex")}`).toBe(roots[name] ?? "");
      const insecure = ["skopeo", "--insecure-policy", "copy", "--all", "--src-tls-verify=false"];
      await site.run(...insecure, remote, `oci:${join(site.folder, "pulled")}:${name}`);
    }
    expect(await blobsOf(join(site.folder, "pulled"))).toEqual(
      await blobsOf(join(images.path, "layout")),
    );
    const list = await site.run(
      ...["skopeo", "list-tags", "--tls-verify=false", `docker://${address}/team/single`],
    );
    expect(JSON.parse(list).Tags).toEqual(["v1"]);
    await expectSound(site);
    await site.run("skopeo", "delete", "--tls-verify=false", `docker://${address}/team/${SINGLE}`);
    const gone = site.run(
      ...["skopeo", "inspect", "--tls-verify=false", `docker://${address}/team/${SINGLE}`],
    );
    await expect(gone).rejects.toThrow(/manifest unknown|not found/i);
  });

  test("converts on the way, and what the registry then has is what was pushed", async () => {
    await using site = await openSite();
    const to = `docker://${site.registry.address}/team/docker:v1`;
    await site.run(
      ...["skopeo", "--insecure-policy", "copy", "--format=v2s2", "--dest-tls-verify=false"],
      `oci:${join(images.path, "layout")}:${SINGLE}`,
      to,
    );
    const raw = await site.run("skopeo", "inspect", "--tls-verify=false", "--raw", to);
    expect(JSON.parse(raw).mediaType).toContain("docker.distribution.manifest.v2");
    await expectSound(site);
  });

  test.skipIf(!hasDockerRegistry)("copies to docker-registry and back from it", async () => {
    await using site = await openSite();
    await using peer = await startDockerRegistry();
    await fill(site);
    const copy = ["skopeo", "--insecure-policy", "copy", "--all", "--src-tls-verify=false"];
    const there = `docker://${peer.address}/mirror/${MULTI}`;
    const ours = `docker://${site.registry.address}`;
    await site.run(...copy, "--dest-tls-verify=false", `${ours}/team/${MULTI}`, there);
    await site.run(...copy, "--dest-tls-verify=false", there, `${ours}/back/${MULTI}`);
    const raw = await site.run(
      ...["skopeo", "inspect", "--tls-verify=false", "--raw", `${ours}/back/${MULTI}`],
    );
    expect(`sha256:${createHash("sha256").update(raw).digest("hex")}`).toBe(roots[MULTI] ?? "");
  });
});

describe.skipIf(!haveClients("crane"))("crane", () => {
  test("copies between repositories, validates, lists, tags, and deletes", async () => {
    await using site = await openSite();
    await fill(site);
    const at = (name: string) => `${site.registry.address}/team/${name}`;
    const crane = (...words: readonly string[]) => site.run("crane", "--insecure", ...words);
    await crane("copy", at(MULTI), at("copy/of/multi:v2"));
    expect(await crane("digest", at("copy/of/multi:v2"))).toBe(roots[MULTI] ?? "");
    for (const platform of ["linux/amd64", "linux/arm64"]) {
      await crane("validate", "--platform", platform, "--remote", at("copy/of/multi:v2"));
    }
    await crane("tag", at(SINGLE), "v2");
    expect((await crane("ls", at("single"))).split("\n").sort()).toEqual(["v1", "v2"]);
    await crane("delete", `${at("single")}@${roots[SINGLE]}`);
    await expect(crane("manifest", at(SINGLE))).rejects.toThrow(/MANIFEST_UNKNOWN|404/);
    await expectSound(site);
  });

  test("pushes what it builds on the fly: an image with a file appended", async () => {
    await using site = await openSite();
    await fill(site);
    await writeFile(join(site.folder, "motd"), "hello\n");
    await site.run("tar", "-cf", "layer.tar", "motd");
    const at = (name: string) => `${site.registry.address}/team/${name}`;
    await site.run(
      ...[
        "crane",
        "--insecure",
        "append",
        "-b",
        at(SINGLE),
        "-f",
        "layer.tar",
        "-t",
        at("more:v1"),
      ],
    );
    await site.run("crane", "--insecure", "validate", "--remote", at("more:v1"));
    await site.run("crane", "--insecure", "export", at("more:v1"), "all.tar");
    expect(await site.run("tar", "-xOf", "all.tar", "motd")).toBe("hello");
  });
});

describe.skipIf(!haveClients("regctl"))("regctl", () => {
  const regctl = async (site: Site) => {
    await site.run("regctl", "registry", "set", "--tls=disabled", site.registry.address);
    return (...words: readonly string[]) => site.run("regctl", ...words);
  };

  test("pushes a layout, and copies, lists, deletes tags alone", async () => {
    await using site = await openSite();
    const call = await regctl(site);
    const at = (name: string) => `${site.registry.address}/team/${name}`;
    const layout = `ocidir://${join(images.path, "layout")}`;
    for (const name of [SINGLE, MULTI]) {
      await call("image", "copy", `${layout}@${roots[name]}`, at(name));
      expect(await call("image", "digest", at(name))).toBe(roots[name] ?? "");
    }
    await call("image", "copy", at(MULTI), at("multi:v2"));
    expect((await call("tag", "ls", at("multi"))).split("\n")).toEqual(["v1", "v2"]);
    await call("tag", "delete", at("multi:v2"));
    expect(await call("tag", "ls", at("multi"))).toBe("v1");
    expect(await call("image", "digest", at(MULTI))).toBe(roots[MULTI] ?? "");
    await expectSound(site);
  });

  test("uploads a blob in chunks", async () => {
    await using site = await openSite();
    const { address } = site.registry;
    await site.run(
      ...[
        "regctl",
        "registry",
        "set",
        "--tls=disabled",
        "--blob-chunk=300000",
        "--blob-max=1",
        address,
      ],
    );
    const bytes = new Uint8Array(1_000_001).map((_, i) => i % 251);
    await writeFile(join(site.folder, "blob"), bytes);
    const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    const put = ["sh", "-c", `regctl blob put ${address}/team/blobs < blob`];
    expect(await site.run(...put)).toBe(digest);
    const get = `regctl blob get ${address}/team/blobs ${digest} > back`;
    await site.run("sh", "-c", get);
    expect(await Bun.file(join(site.folder, "back")).bytes()).toEqual(bytes);
  });

  test("attaches an artifact to an image, and finds it among the referrers", async () => {
    await using site = await openSite();
    const call = await regctl(site);
    const image = `${site.registry.address}/team/${SINGLE}`;
    await call("image", "copy", `ocidir://${join(images.path, "layout")}@${roots[SINGLE]}`, image);
    await writeFile(join(site.folder, "sbom.json"), '{"packages":[]}');
    const type = "application/example.sbom";
    const put = ["artifact", "put", "--artifact-type", type, "--subject", image, "-f", "sbom.json"];
    await call(...put);
    const list = JSON.parse(await call("artifact", "list", image, "--format", "{{json .}}"));
    expect(JSON.stringify(list)).toContain(type);
    const none = ["artifact", "list", image, "--filter-artifact-type", "application/other"];
    expect(await call(...none, "--format", "{{json .Descriptors}}")).toMatch(/^(null|\[\])$/);
  });
});

describe.skipIf(!haveClients("oras"))("oras", () => {
  test("pushes files, pulls them, attaches to them, and discovers what is attached", async () => {
    await using site = await openSite();
    const image = `${site.registry.address}/team/files:v1`;
    await writeFile(join(site.folder, "a.txt"), "a\n");
    await writeFile(join(site.folder, "b.json"), "{}\n");
    const plain = "--plain-http";
    await site.run("oras", "push", plain, image, "a.txt:text/plain", "b.json:application/json");
    await site.run("oras", "pull", plain, image, "-o", "pulled");
    expect(await readFile(join(site.folder, "pulled", "a.txt"), "utf8")).toBe("a\n");
    const type = "application/example.signature";
    await site.run("oras", "attach", plain, "--artifact-type", type, image, "b.json");
    const found = await site.run("oras", "discover", plain, "--format", "json", image);
    expect(found).toContain(type);
    const copy = `${site.registry.address}/team/elsewhere:v1`;
    await site.run("oras", "cp", "-r", "--from-plain-http", "--to-plain-http", image, copy);
    const there = await site.run("oras", "discover", plain, "--format", "json", copy);
    expect(there).toContain(type);
    expect(await site.run("oras", "repo", "tags", plain, copy.replace(/:v1$/, ""))).toBe("v1");
    await expectSound(site);
  });
});
