import { describe, expect, test } from "bun:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { createMemoryStore, digestOf, fetchVerified, readImageGraph, writeContent } from "#content";
import { type Descriptor, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, parsePlatform } from "#oci";
import { header, padded, paxRecord, streamOf, type TarSample, tarOf } from "#test-support/tar";
import { archiveMembers, openImageArchive } from "./image-archive.ts";
import { type FindArchivesOptions, findImageArchives, loadImages } from "./image-archives.ts";
import type { ImageLayer } from "./layers.ts";

const { signal } = new AbortController();
const platform = parsePlatform("linux/amd64");
const IMAGES = "var/lib/rancher/rke2/agent/images";

/** The parts of a small image, in all the forms that archives have them in. */
function sampleImage(seed: string) {
  const layer = tarOf([{ path: "bin/app", body: seed.repeat(3000) }]);
  const packed = new Uint8Array(gzipSync(layer));
  const config = json({
    os: "linux",
    architecture: "amd64",
    rootfs: { type: "layers", diff_ids: [digestOf(layer)] },
  });
  const describe = (mediaType: string, bytes: Uint8Array): Descriptor => {
    return { mediaType, digest: digestOf(bytes), size: bytes.byteLength };
  };
  const document = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: describe("application/vnd.oci.image.config.v1+json", config),
    layers: [describe("application/vnd.oci.image.layer.v1.tar+gzip", packed)],
  };
  const manifest = json(document);
  return { layer, packed, config, manifest, root: describe(OCI_MANIFEST, manifest) };
}

type Sample = ReturnType<typeof sampleImage>;

function json(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

const hex = (bytes: Uint8Array) => digestOf(bytes).slice("sha256:".length);
const blob = (bytes: Uint8Array): TarSample => ({
  path: `blobs/sha256/${hex(bytes)}`,
  body: bytes,
});

/** What `docker save` wrote before version 25; a second image shares its layer by a link. */
function dockerSave({ layer, config }: Sample, name: string): TarSample[] {
  const entry = (tag: string, path: string) => {
    return { Config: `${hex(config)}.json`, RepoTags: [tag], Layers: [path] };
  };
  return [
    { path: "abc/", type: "folder" },
    { path: "abc/VERSION", body: "1.0" },
    { path: "abc/layer.tar", body: layer },
    { path: "def/layer.tar", type: "symlink", linkPath: "../abc/layer.tar" },
    { path: `${hex(config)}.json`, body: config },
    { path: "repositories", body: "{}" },
    {
      path: "manifest.json",
      body: json([entry(name, "abc/layer.tar"), entry(`${name}-2`, "def/layer.tar")]),
    },
  ];
}

/** What crane writes: layers packed, the config named by its digest. */
function craneSave({ packed, config }: Sample, name: string): TarSample[] {
  const layer = `${hex(packed)}.tar.gz`;
  const manifest = [{ Config: digestOf(config), RepoTags: [name], Layers: [layer] }];
  return [
    { path: digestOf(config), body: config },
    { path: layer, body: packed },
    { path: "manifest.json", body: json(manifest) },
  ];
}

function layoutOf({ packed, config, manifest, root }: Sample, annotations: object): TarSample[] {
  return [
    { path: "./blobs/", type: "folder" },
    ...[packed, config, manifest].map(blob),
    {
      path: "./index.json",
      body: json({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [{ ...root, annotations }] }),
    },
    { path: "oci-layout", body: '{"imageLayoutVersion":"1.0.0"}' },
  ];
}

const named = (name: string) => ({ "org.opencontainers.image.ref.name": name });

/** An image that has these files, in layers. */
async function providerOf(...layers: readonly (readonly TarSample[])[]) {
  const fetcher = createMemoryStore();
  const described: ImageLayer[] = [];
  for (const samples of layers) {
    const tar = tarOf(samples);
    const bytes = new Uint8Array(zstdCompressSync(tar));
    const descriptor = { mediaType: "a/b", digest: digestOf(bytes), size: bytes.byteLength };
    await writeContent(fetcher, descriptor, bytes);
    described.push({ descriptor, diffId: digestOf(tar) });
  }
  return { fetcher, layers: described };
}

async function namesIn(
  image: Awaited<ReturnType<typeof providerOf>>,
  options: Partial<FindArchivesOptions> = {},
) {
  const found = await findImageArchives(image, { signal, ...options });
  return found.map(({ path, archive, trouble }) => {
    const names = archive?.images.flatMap((each) => each.names).join(" ");
    return `${path.split("/").at(-1)}: ${names ?? trouble?.code}`;
  });
}

const a = sampleImage("a");

describe("an archive of images", () => {
  const forms: readonly (readonly [string, TarSample[], string[]])[] = [
    [
      "docker save",
      dockerSave(a, "registry.k8s.io/a:1"),
      ["registry.k8s.io/a:1", "registry.k8s.io/a:1-2"],
    ],
    ["crane", craneSave(a, "registry.k8s.io/a:1"), ["registry.k8s.io/a:1"]],
    ["an OCI layout", layoutOf(a, named("registry.k8s.io/a:1")), ["registry.k8s.io/a:1"]],
    [
      "docker save from 25 on",
      [
        ...layoutOf(a, { "io.containerd.image.name": "docker.io/library/a:1", ...named("1") }),
        ...craneSave(a, "a:1"),
      ],
      ["docker.io/library/a:1"],
    ],
    [
      "a layout that names only tags, with Docker's list beside it",
      [...layoutOf(a, named("1")), ...craneSave(a, "a:1")],
      ["a:1"],
    ],
  ];

  describe.each(forms)("%s", (_, samples, names) => {
    test.each(["plain", "gzip", "zstd"])(
      "is read, %s, and gives all its content",
      async (packing) => {
        const tar = tarOf(samples);
        const bytes =
          packing === "gzip" ? gzipSync(tar) : packing === "zstd" ? zstdCompressSync(tar) : tar;
        const archive = await openImageArchive(
          () => archiveMembers(streamOf(new Uint8Array(bytes), 999)),
          { signal },
        );
        expect(archive.images.flatMap((image) => image.names)).toEqual(names);
        for (const { root } of archive.images) {
          const graph = await readImageGraph(archive, root, platform, { signal });
          expect(graph.blobs).toHaveLength(2);
          for (const each of graph.blobs) {
            expect((await fetchVerified(archive, each, { signal })).byteLength).toBe(each.size);
            const range = { start: 5, end: 9 };
            const part = await new Response(await archive.fetch(each, { signal, range })).bytes();
            expect(part.byteLength).toBe(4);
          }
        }
      },
    );
  });

  const bad: readonly (readonly [string, TarSample[], RegExp])[] = [
    ["no image at all", [{ path: "readme", body: "hello" }], /neither images in index.json nor/],
    ["Docker's oldest form", [{ path: "repositories", body: "{}" }], /before version 1.10/],
    ["a list of nothing", [{ path: "manifest.json", body: "[]" }], /lists no image/],
    ["a list that is none", [{ path: "manifest.json", body: "{}" }], /lists no image/],
    [
      "no layer",
      dockerSave(a, "a:1").filter(({ path }) => path !== "abc/layer.tar"),
      /"abc\/layer.tar".* is not in it/,
    ],
    [
      "no manifest",
      layoutOf(a, named("a/b:1")).filter(({ path }) => !path.includes(hex(a.manifest))),
      /index.json lists is not in it/,
    ],
    [
      "a blob of another name",
      [...layoutOf(a, named("a/b:1")), { path: `blobs/sha256/${"0".repeat(64)}`, body: "x" }],
      /named by/,
    ],
    [
      "a layer that is not what the config says",
      [...dockerSave(a, "a:1"), { path: "abc/layer.tar", body: tarOf([]) }],
      /expected sha256:/,
    ],
    [
      "links in a circle",
      [
        ...dockerSave(a, "a:1").filter(({ path }) => path !== "abc/layer.tar"),
        { path: "abc/layer.tar", type: "symlink", linkPath: "../def/layer.tar" },
      ],
      /is not in it/,
    ],
  ];

  test("in which a file stands twice gives the last one, as unpacking it would", async () => {
    const samples = [{ path: "abc/layer.tar", body: "an older one" }, ...dockerSave(a, "a:1")];
    const open = () => archiveMembers(streamOf(tarOf(samples)));
    const archive = await openImageArchive(open, { signal });
    for (const { root } of archive.images) {
      const { blobs } = await readImageGraph(archive, root, platform, { signal });
      for (const each of blobs) await fetchVerified(archive, each, { signal });
    }
    expect(archive.images).toHaveLength(2);
  });

  test("whose file has holes beyond all measure is refused before they are hashed", async () => {
    const size = 2 ** 50;
    const records = [
      ["GNU.sparse.major", "1"],
      ["GNU.sparse.minor", "0"],
      ["GNU.sparse.name", "abc/hole"],
      ["GNU.sparse.realsize", String(size)],
    ].map(([key = "", value = ""]) => paxRecord(key, value));
    const pax = Buffer.concat(records);
    const map = Buffer.from("0\n".padEnd(512, "\0"));
    const sparse = Buffer.concat([
      header({ path: "PaxHeaders/0", flag: "x", size: pax.byteLength }),
      ...padded(pax),
      header({ path: "sparse", flag: "0", size: map.byteLength }),
      map,
    ]);
    const bytes = new Uint8Array(Buffer.concat([sparse, tarOf(dockerSave(a, "a:1"))]));
    const opening = openImageArchive(() => archiveMembers(streamOf(bytes)), { signal });
    await expect(opening).rejects.toMatchObject({ code: "archive-too-large" });
  });

  test.each(bad)("with %s is refused", async (_, samples, told) => {
    const opening = openImageArchive(() => archiveMembers(streamOf(tarOf(samples))), { signal });
    await expect(opening).rejects.toThrow(told);
  });
});

describe("the images in an image", () => {
  const tar = (sample: TarSample[]) => tarOf(sample);
  const file = (path: string, body: Uint8Array): TarSample => ({ path, body });
  const inFolder = (folder: string, samples: TarSample[]): TarSample[] =>
    samples
      .filter(({ path }) => !path.endsWith("/"))
      .map((sample) => ({ ...sample, path: `${folder}/${sample.path.replace("./", "")}` }));

  test("are found in the folders of RKE2, k3s and Kairos, in all forms, as archives and as a layout", async () => {
    const image = await providerOf(
      [
        file(`${IMAGES}/docker.tar`, tar(dockerSave(a, "a:1"))),
        file(`${IMAGES}/crane.tar.gz`, gzipSync(tar(craneSave(a, "c:1")))),
        file(`${IMAGES}/list.txt`, tar([])),
      ],
      [
        file("opt/kube-images/oci.tar.zst", zstdCompressSync(tar(layoutOf(a, named("b/o:1"))))),
        ...inFolder("opt/content/images/layout", layoutOf(a, named("b/l:1"))),
        file("root/elsewhere.tar", tar(craneSave(a, "no:1"))),
      ],
    );
    expect(await namesIn(image)).toEqual([
      "layout: b/l:1",
      "oci.tar.zst: b/o:1",
      "crane.tar.gz: c:1",
      "docker.tar: a:1 a:1-2",
    ]);
    expect(await namesIn(image, { folders: ["/ro*t"] })).toEqual(["elsewhere.tar: no:1"]);
  });

  test("are those that a machine would see: hidden and replaced ones are not, linked ones are", async () => {
    const image = await providerOf(
      [
        file(`${IMAGES}/hidden.tar`, tar(craneSave(a, "hidden:1"))),
        file(`${IMAGES}/replaced.tar`, tar(craneSave(a, "old:1"))),
        file("data/real.tar", tar(craneSave(a, "linked:1"))),
      ],
      [
        { path: `${IMAGES}/.wh.hidden.tar` },
        file(`${IMAGES}/replaced.tar`, tar(craneSave(a, "new:1"))),
        { path: `${IMAGES}/link.tar`, type: "symlink", linkPath: "/../../data/real.tar" },
        { path: "opt/content", type: "symlink", linkPath: "../data" },
        { path: "data/images", type: "symlink", linkPath: "." },
      ],
    );
    expect(await namesIn(image, { folders: [`/${IMAGES}`] })).toEqual([
      "link.tar: linked:1",
      "replaced.tar: new:1",
    ]);
    expect((await namesIn(image, { folders: ["/opt/content/images"] }))[0]).toBe(
      "real.tar: linked:1",
    );
  });

  test("that are broken are told of, and the others are found", async () => {
    const whole = gzipSync(tar(craneSave(a, "c:1")));
    const image = await providerOf([
      file(`${IMAGES}/0-cut.tar.gz`, whole.subarray(0, whole.byteLength - 9)),
      file(`${IMAGES}/1-html.tar`, Buffer.from("<html>".repeat(300))),
      file(`${IMAGES}/2-other.tar`, tar([file("x", Buffer.from("x"))])),
      file(`${IMAGES}/3-bz.tar.bz2`, Buffer.from("BZh91AY&SY")),
      file(`${IMAGES}/4-good.tar`, tar(craneSave(a, "c:1"))),
    ]);
    expect(await namesIn(image)).toEqual([
      "0-cut.tar.gz: archive-broken",
      "1-html.tar: archive-broken",
      "2-other.tar: image-archive-invalid",
      "3-bz.tar.bz2: archive-unsupported",
      "4-good.tar: c:1",
    ]);
  });

  test("in a layer that is not what the config promises are not looked at", async () => {
    const { fetcher, layers } = await providerOf(
      [file(`${IMAGES}/a.tar`, tar(craneSave(a, "c:1")))],
      [],
    );
    const [first, second] = layers;
    const swapped = layers.map((layer) => ({
      ...layer,
      diffId: (layer === first ? second : first)?.diffId ?? layer.diffId,
    }));
    const finding = findImageArchives({ fetcher, layers: swapped }, { signal });
    await expect(finding).rejects.toMatchObject({ code: "digest-mismatch" });
  });
});

describe("loading", () => {
  const b = sampleImage("b");
  const load = async (...files: TarSample[]) => {
    const image = await providerOf(files);
    const store = createMemoryStore();
    const options = { signal, platform, nameOf: (name: string) => `docker.io/library/${name}` };
    const again = async () =>
      loadImages(image, await findImageArchives(image, { signal }), store, options);
    return { ...(await again()), store, again };
  };

  test("puts every image into the store, whole and named, once", async () => {
    const { loaded, trouble, store, again } = await load(
      { path: `${IMAGES}/a.tar`, body: tarOf(dockerSave(a, "a:1")) },
      { path: `${IMAGES}/b.tar`, body: zstdCompressSync(tarOf(craneSave(b, "b:1"))) },
      ...layoutOf(b, named("l:1"))
        .filter(({ path }) => !path.endsWith("/"))
        .map((sample) => ({ ...sample, path: `opt/content/images/l/${sample.path}` })),
    );
    expect(trouble).toEqual([]);
    expect(loaded.map(({ name }) => name)).toEqual([
      "docker.io/library/l:1",
      "docker.io/library/a:1",
      "docker.io/library/a:1-2",
      "docker.io/library/b:1",
    ]);
    for (const { name } of loaded) {
      const root = await store.lookup(name);
      if (root === undefined) throw new Error(`${name} is missing`);
      const graph = await readImageGraph(store, root, platform, { signal });
      for (const each of graph.blobs) expect(await store.has(each)).toBe(true);
    }
    expect((await again()).loaded).toEqual(loaded);
  });

  test("a name with a digest is given to what has that digest, and to nothing else", async () => {
    const lie = `x/b@${digestOf(new Uint8Array())}`;
    const { loaded, trouble, store } = await load(
      ...[a, b].map((image, i) => ({
        path: `${IMAGES}/${i}.tar`,
        body: tarOf(layoutOf(image, named(i === 0 ? `x/a@${a.root.digest}` : lie))),
      })),
    );
    expect(loaded.map(({ name }) => name)).toEqual([`docker.io/library/x/a@${a.root.digest}`]);
    expect(await store.lookup(`docker.io/library/${lie}`)).toBeUndefined();
    expect(trouble.map(({ code }) => code)).toEqual(["image-archive-invalid"]);
  });

  test("leaves out what is not whole, and says so", async () => {
    const holes = layoutOf(b, named("x/b:1")).filter(({ path }) => !path.includes(hex(b.packed)));
    const { loaded, trouble, store } = await load(
      { path: `${IMAGES}/a.tar`, body: tarOf(holes) },
      { path: `${IMAGES}/b.tar`, body: "junk".repeat(500) },
      { path: `${IMAGES}/c.tar`, body: tarOf(craneSave(a, "a:1")) },
    );
    expect(loaded.map(({ name }) => name)).toEqual(["docker.io/library/a:1"]);
    expect(trouble.map(({ code }) => code).sort()).toEqual([
      "archive-broken",
      "image-archive-invalid",
    ]);
    expect(trouble.every(({ message }) => message.includes(IMAGES))).toBe(true);
    expect(await store.lookup("docker.io/library/x/b:1")).toBeUndefined();
  });
});

describe("an image whose manifest lies of the size of", () => {
  const sizes = { "one byte more": 1, "one byte less": -1, "more than any disk has": 2 ** 50 };
  const lies = (["its layer", "its config"] as const).flatMap((part) =>
    Object.entries(sizes).map(([what, more]) => [part, what, more] as const),
  );
  test.each(lies)("%s, %s, is told of, and the others are loaded", async (part, _, more) => {
    const whole = sampleImage("whole");
    const { config, layers, ...rest } = JSON.parse(new TextDecoder().decode(a.manifest));
    const lie = (each: Descriptor) => ({ ...each, size: each.size + more });
    const manifest = json({
      ...rest,
      config: part === "its config" ? lie(config) : config,
      layers: part === "its layer" ? layers.map(lie) : layers,
    });
    const root = { ...a.root, digest: digestOf(manifest), size: manifest.byteLength };
    const liar = layoutOf({ ...a, manifest, root }, named("x/liar:1"));
    const image = await providerOf([
      { path: `${IMAGES}/liar.tar`, body: tarOf(liar) },
      { path: `${IMAGES}/whole.tar`, body: tarOf(craneSave(whole, "x/whole:1")) },
    ]);
    const found = await findImageArchives(image, { signal });
    const options = { signal, platform, nameOf: (name: string) => name };
    const { loaded, trouble } = await loadImages(image, found, createMemoryStore(), options);
    expect(loaded.map(({ name }) => name)).toEqual(["x/whole:1"]);
    expect(trouble.map(({ code }) => code)).toEqual(["image-archive-invalid"]);
    expect(trouble[0]?.message).toContain("liar.tar");
  });
});

test("an archive of more members than any has is given up, also when they are no files", async () => {
  const folder = { path: "x/", type: "folder", linkPath: "", size: 0, holes: 0 } as const;
  const members = async function* () {
    for (let i = 0; i < 300_000; i += 1) yield { ...folder, body: streamOf(new Uint8Array()) };
  };
  await expect(openImageArchive(members, { signal })).rejects.toMatchObject({
    code: "archive-too-large",
  });
});

test("a manifest of Docker's types is taken as it is", async () => {
  const manifest = json({
    ...(JSON.parse(new TextDecoder().decode(a.manifest)) as object),
    mediaType: DOCKER_MANIFEST,
  });
  const root = {
    mediaType: DOCKER_MANIFEST,
    digest: digestOf(manifest),
    size: manifest.byteLength,
  };
  const samples = layoutOf({ ...a, manifest, root }, named("a/b:1"));
  const archive = await openImageArchive(() => archiveMembers(streamOf(tarOf(samples))), {
    signal,
  });
  expect(archive.images[0]?.root).toEqual(root);
});
