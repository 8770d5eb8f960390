import { expect, test } from "bun:test";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { digestOf, readImageGraph } from "#content";
import { OCI_MANIFEST, parsePlatform } from "#oci";
import { openStore } from "#store";
import { createManualClock } from "#test-support/clock";
import { buildImage, putBytes, putJson } from "#test-support/images";
import { temporaryFolder } from "#test-support/program";
import { type TarSample, tarOf } from "#test-support/tar";
import { openCoreImages } from "./core-images.ts";

const { signal } = new AbortController();
const platform = parsePlatform("linux/amd64");
const PROVIDER = "quay.io/kairos/os:v1";
const LAYER = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIG = "application/vnd.oci.image.config.v1+json";

/** An archive as crane and `docker save` write it, of one image under several names. */
function archive(path: string, ...names: string[]): TarSample {
  const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  const layer = tarOf([{ path: "app", body: names.join(" ") }]);
  const config = json({
    ...{ os: "linux", architecture: "amd64" },
    rootfs: { type: "layers", diff_ids: [digestOf(layer)] },
  });
  const manifest = [{ Config: "c.json", RepoTags: names, Layers: ["l.tar"] }];
  const body = tarOf([
    { path: "c.json", body: config },
    { path: "l.tar", body: layer },
    { path: "manifest.json", body: json(manifest) },
  ]);
  return { path, body };
}

async function openSite() {
  const folder = await temporaryFolder();
  const store = await openStore(join(folder.path, "store"), { clock: createManualClock() });
  return {
    store,
    names: async () => (await store.names()).map(({ name }) => name),
    async load(files: readonly TarSample[], declared: readonly string[] = [], diffId?: string) {
      const tar = tarOf(files);
      const layer = await putBytes(store, LAYER, new Uint8Array(gzipSync(tar)));
      const config = await putJson(store, CONFIG, {
        ...{ os: "linux", architecture: "amd64" },
        rootfs: { type: "layers", diff_ids: [diffId ?? digestOf(tar)] },
      });
      const document = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [layer] };
      const root = await putJson(store, OCI_MANIFEST, document);
      await store.name(PROVIDER, root);
      const graph = await readImageGraph(store, root, platform, { signal });
      const core = openCoreImages({ enabled: true, folders: ["/images"] }, store);
      const options = { signal, platform, declared: new Set([PROVIDER, ...declared]) };
      return core?.load({ name: PROVIDER, graph }, options);
    },
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

test("images get the names that clusters ask for, also where an archive leaves the host out", async () => {
  await using site = await openSite();
  const loading = await site.load([
    archive("images/a.tar", "rancher/pause:3.6", "registry.k8s.io/pause:3.9"),
    archive("images/b.tar", "coredns", "NOT a name"),
  ]);
  const names = [
    ...["docker.io/library/coredns:latest", "docker.io/rancher/pause:3.6"],
    "registry.k8s.io/pause:3.9",
  ];
  expect(loading).toEqual({ outcome: "loaded", archives: 2, names, warnings: [] });
  expect(await site.names()).toEqual([...names.slice(0, 2), PROVIDER, ...names.slice(2)]);
});

test("what the plan declares itself is the plan's to bring, and stays what it was", async () => {
  await using site = await openSite();
  const declared = "registry.k8s.io/pause:3.9";
  const { digest } = await buildImage(site.store, declared, { seed: "verified" });
  const files = [archive("images/a.tar", declared, "registry.k8s.io/other:1")];
  const names = ["registry.k8s.io/other:1", declared];
  expect(await site.load(files, [declared])).toMatchObject({ outcome: "loaded", names });
  expect((await site.store.lookup(declared))?.digest).toBe(digest);
  expect(await site.load(files, [declared])).toMatchObject({ outcome: "present", names });
  // Once no plan declares it any more, what stands stays; once it is gone, it comes from the image.
  expect(await site.load(files)).toMatchObject({ outcome: "present" });
});

test("an image that can't be looked through is a warning, and is looked through again", async () => {
  await using site = await openSite();
  const files = [archive("images/a.tar", "pause:1")];
  const wrong = await site.load(files, [], `sha256:${"0".repeat(64)}`);
  expect(wrong).toMatchObject({ outcome: "loaded", archives: 0, names: [] });
  expect(wrong?.warnings).toHaveLength(1);
  expect(wrong?.warnings[0]).toStartWith("It was not looked through for core images. Cannot ");
  const again = await site.load(files, [], `sha256:${"0".repeat(64)}`);
  expect(again).toMatchObject({ outcome: "loaded", warnings: wrong?.warnings ?? [] });
  expect(await site.load(files)).toMatchObject({ outcome: "loaded", archives: 1, warnings: [] });
});

test("switched off, nobody looks", async () => {
  await using site = await openSite();
  expect(openCoreImages({ enabled: false, folders: undefined }, site.store)).toBeUndefined();
});
