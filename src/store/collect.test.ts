import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { isFailure } from "#base";
import { digestOf } from "#content";
import {
  type Descriptor,
  digestAlgorithm,
  digestHex,
  OCI_INDEX,
  OCI_MANIFEST,
  referrersTag,
} from "#oci";
import { type Disk, type DiskStore, openStore, systemDisk } from "#store";
import { createManualClock, type ManualClock } from "#test-support/clock";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { buildImage, putBytes, putJson, randomBytes } from "#test-support/images";
import { type Collection, type CollectOptions, collectStore, GRACE_MS } from "./collect.ts";

const signal = new AbortController().signal;
const CONFIG = "application/vnd.oci.image.config.v1+json";
const LAYER = "application/vnd.oci.image.layer.v1.tar+gzip";

interface Site extends AsyncDisposable {
  readonly dataDir: string;
  readonly store: DiskStore;
  readonly clock: ManualClock;
  collect(options?: Partial<CollectOptions>): Promise<Collection>;
  fileOf(descriptor: Descriptor): string;
}

async function newSite(): Promise<Site> {
  const dataDir = await mkdtemp(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "dray-gc-"));
  const clock = createManualClock();
  const store = await openStore(dataDir, { clock, role: "registry" });
  return {
    ...{ dataDir, store, clock },
    collect: (options = {}) => collectStore(dataDir, { clock, signal, ...options }),
    fileOf: ({ digest }) => join(dataDir, "blobs", digestAlgorithm(digest), digestHex(digest)),
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

const blob = (store: DiskStore, seed: string) => putBytes(store, LAYER, randomBytes(seed, 300));

async function* oneChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

interface ManifestParts {
  readonly layers?: readonly Descriptor[];
  readonly subject?: Descriptor;
  readonly mediaType?: string;
}

async function manifest(store: DiskStore, seed: string, parts: ManifestParts = {}) {
  const { layers = [], subject, mediaType = OCI_MANIFEST } = parts;
  const config = await putJson(store, CONFIG, { seed });
  const more = subject === undefined ? {} : { subject };
  return putJson(store, mediaType, { schemaVersion: 2, mediaType, config, layers, ...more });
}

const index = (store: DiskStore, manifests: readonly Descriptor[], mediaType = OCI_INDEX) =>
  putJson(store, mediaType, { schemaVersion: 2, mediaType, manifests });

/** As a registry does: a manifest of a repository, and what it refers to. */
function push(
  store: DiskStore,
  descriptor: Descriptor,
  { tags = [], subject }: { tags?: readonly string[]; subject?: Descriptor } = {},
) {
  const held = { descriptor, ...(subject === undefined ? {} : { subject: subject.digest }) };
  return store.repositories.putManifest("team/app", held, { tags });
}

const digestsOf = ({ blobs }: Collection) => blobs.map(({ digest }) => digest);

async function hereIn(dataDir: string): Promise<readonly string[]> {
  const folders = ["sha256", "sha512"].map(async (algorithm) =>
    (await readdir(join(dataDir, "blobs", algorithm))).map((hex) => `${algorithm}:${hex}`),
  );
  return (await Promise.all(folders)).flat().sort();
}

describe("a collection keeps", () => {
  test("all that delivered images lead to, when none of the plans is known", async () => {
    await using site = await newSite();
    await buildImage(site.store, "quay.io/a:v1", {
      seed: "a",
      platforms: ["linux/amd64", "linux/arm64"],
    });
    await buildImage(site.store, "quay.io/b:v1", { seed: "b", docker: true });
    const before = await hereIn(site.dataDir);
    site.clock.advance(GRACE_MS * 2);
    const found = await site.collect();
    expect(found).toMatchObject({ blobs: [], bytes: 0, names: [], trouble: [] });
    expect(found.live).toBe(before.length);
    expect(await hereIn(site.dataDir)).toEqual(before);
  });

  test("a layer as long as one of two images has it", async () => {
    await using site = await newSite();
    const { store } = site;
    const [shared, own] = [await blob(store, "shared"), await blob(store, "own")];
    const first = await manifest(store, "first", { layers: [shared, own] });
    const second = await manifest(store, "second", { layers: [shared] });
    for (const each of [first, second]) await push(store, each);
    await store.repositories.deleteManifest("team/app", first.digest);
    site.clock.advance(GRACE_MS * 2);
    const gone = digestsOf(await site.collect());
    expect(gone).toContain(own.digest);
    expect(gone).toContain(first.digest);
    expect(gone).not.toContain(shared.digest);
    await store.repositories.deleteManifest("team/app", second.digest);
    await site.collect();
    expect(await hereIn(site.dataDir)).toEqual([]);
  });

  test("what indexes in indexes lead to, of Docker's type too, and blobs that an index lists", async () => {
    await using site = await newSite();
    const { store } = site;
    const leaf = await manifest(store, "leaf", { layers: [await blob(store, "leaf")] });
    const cache = await blob(store, "cache");
    const inner = await index(
      store,
      [leaf, cache],
      "application/vnd.docker.distribution.manifest.list.v2+json",
    );
    const outer = await index(store, [inner]);
    await store.name("quay.io/nested:v1", outer);
    const before = await hereIn(site.dataDir);
    site.clock.advance(GRACE_MS * 2);
    expect((await site.collect()).blobs).toEqual([]);
    expect(await hereIn(site.dataDir)).toEqual(before);
  });

  test("untagged children of a tagged index, and untagged manifests", async () => {
    await using site = await newSite();
    const { store } = site;
    const child = await manifest(store, "child", { layers: [await blob(store, "child")] });
    const list = await index(store, [child]);
    const untagged = await manifest(store, "untagged", { layers: [await blob(store, "untagged")] });
    await push(store, child);
    await push(store, list, { tags: ["v1"] });
    await push(store, untagged);
    site.clock.advance(GRACE_MS * 2);
    expect((await site.collect()).blobs).toEqual([]);
  });

  test("referrers, and the referrers of referrers", async () => {
    await using site = await newSite();
    const { store } = site;
    const image = await manifest(store, "image");
    const signature = await manifest(store, "sig", {
      subject: image,
      layers: [await blob(store, "sig")],
    });
    const attest = await manifest(store, "att", {
      subject: signature,
      layers: [await blob(store, "att")],
    });
    await push(store, image, { tags: ["v1"] });
    await push(store, signature, { subject: image });
    await push(store, attest, { subject: signature });
    site.clock.advance(GRACE_MS * 2);
    expect((await site.collect()).blobs).toEqual([]);
  });

  test("uploads under way and content that is half here", async () => {
    await using site = await newSite();
    const upload = await site.store.uploads.begin("team/app", null);
    await upload.append(oneChunk(new Uint8Array(1000)), { signal });
    site.clock.advance(GRACE_MS * 48);
    await site.collect();
    expect((await site.store.uploads.find(upload.id))?.bytes).toBe(1000);
    const { digest } = await upload.commit(digestOf(new Uint8Array(1000)));
    expect((await site.collect()).young.blobs).toBe(1);
    expect(await hereIn(site.dataDir)).toEqual([digest]);
  });

  const acts: readonly (readonly [
    string,
    (store: DiskStore, lone: Descriptor) => Promise<unknown>,
  ])[] = [
    ["was committed", async () => {}],
    ["was linked", (store, lone) => store.repositories.linkBlob("a/b", lone)],
    ["was leased", (store, lone) => store.lease(lone)],
    [
      "was pushed again",
      async (store, { digest }) => {
        const upload = await store.uploads.begin("team/app", null);
        await upload.append(oneChunk(randomBytes("lone", 300)), { signal });
        await upload.commit(digest);
      },
    ],
  ];
  test.each(acts)("for the grace what %s", async (event, act) => {
    await using site = await newSite();
    const lone = await blob(site.store, "lone");
    if (event !== "was committed") site.clock.advance(GRACE_MS * 2);
    await act(site.store, lone);
    site.clock.advance(GRACE_MS - 1);
    expect(await site.collect()).toMatchObject({ blobs: [], bytes: 0 });
    site.clock.advance(1);
    expect(digestsOf(await site.collect())).toEqual([lone.digest]);
    expect(await hereIn(site.dataDir)).toEqual([]);
  });

  test("what comes from the future, for the clock was set back", async () => {
    await using site = await newSite();
    await blob(site.store, "lone");
    const clock = createManualClock(site.clock.now() - GRACE_MS * 1000);
    expect(await site.collect({ clock })).toMatchObject({ blobs: [], young: { blobs: 1 } });
  });
});

describe("names of delivered images", () => {
  async function deliver({ store }: Site, names: readonly string[], isWhole = true) {
    await store.generations.begin(names);
    for (const name of names) await buildImage(store, name, { seed: name });
    if (isWhole) await store.generations.complete();
  }

  test("go, and their content, when two plans have been carried out without them", async () => {
    await using site = await newSite();
    await deliver(site, ["a:1", "b:1"]);
    await deliver(site, ["a:1", "b:2"]);
    // The same plan again is no other plan.
    await deliver(site, ["b:2", "a:1"]);
    site.clock.advance(GRACE_MS * 2);
    expect(await site.collect()).toMatchObject({ blobs: [], names: [] });
    await deliver(site, ["a:1", "b:3"]);
    site.clock.advance(GRACE_MS * 2);
    const found = await site.collect();
    expect(found.names).toEqual(["b:1"]);
    expect(found.blobs).toHaveLength(4);
    for (const { lastNamed } of found.blobs) expect(lastNamed).toEqual(["b:1"]);
    expect((await site.store.names()).map(({ name }) => name)).toEqual(["a:1", "b:2", "b:3"]);
    const listed = await readFile(join(site.dataDir, "index.json"), "utf8");
    expect(listed).not.toContain("b:1");
  });

  test("stay while a delivery declares them that has begun, or was given up", async () => {
    await using site = await newSite();
    await deliver(site, ["old:1"]);
    await deliver(site, ["new:1"]);
    await deliver(site, ["new:2"], false);
    await site.store.generations.begin(["old:1", "new:3"]);
    await deliver(site, ["old:1"], false);
    site.clock.advance(GRACE_MS * 2);
    expect((await site.collect()).names).toEqual(["new:2"]);
  });

  test("stay all of them before any plan was carried out whole", async () => {
    await using site = await newSite();
    await deliver(site, ["a:1"], false);
    await deliver(site, ["b:1"], false);
    site.clock.advance(GRACE_MS * 2);
    expect((await site.collect()).names).toEqual([]);
  });

  test("leave content to a delivery that is at work, however long it takes", async () => {
    await using site = await newSite();
    const [found, stale] = [await blob(site.store, "found"), await blob(site.store, "stale")];
    site.clock.advance(GRACE_MS * 2);
    await site.store.generations.begin(["a:1"]);
    expect(await site.store.lease(found)).toBe(true);
    const brought = await blob(site.store, "brought");
    site.clock.advance(GRACE_MS * 100);
    expect(digestsOf(await site.collect())).toEqual([stale.digest]);
    expect(await hereIn(site.dataDir)).toEqual([found.digest, brought.digest].sort());
    await site.store.generations.complete();
    expect((await site.collect()).blobs).toHaveLength(2);
  });

  test("hold back everything when the delivery began in what is now the future", async () => {
    await using site = await newSite();
    await blob(site.store, "lone");
    site.clock.advance(GRACE_MS * 10);
    await site.store.generations.begin(["a:1"]);
    const clock = createManualClock(site.clock.now() - GRACE_MS);
    expect((await site.collect({ clock })).blobs).toEqual([]);
    expect((await site.collect()).blobs).toHaveLength(1);
  });
});

describe("names of what belongs to delivered images", () => {
  const IMAGE = "quay.io/team/app";

  /** A signature of each kind for a digest, and a list with the first of them. */
  async function attach(store: DiskStore, repository: string, subject: Descriptor, seed: string) {
    const referrer = await manifest(store, `${seed} refers`, { subject });
    const list = await index(store, [referrer]);
    const cosigned = await manifest(store, `${seed} of cosign`, {
      layers: [await blob(store, seed)],
    });
    const tag = referrersTag(subject.digest);
    await store.name(`${repository}:${tag}`, list);
    await store.name(`${repository}:${tag}.sig`, cosigned);
    return { referrer, names: [`${repository}:${tag}`, `${repository}:${tag}.sig`] };
  }

  async function declare(store: DiskStore, ...names: readonly string[]) {
    await store.generations.begin(names);
    await store.generations.complete();
  }

  test("stay with the image, its platforms, and what belongs to what belongs to it", async () => {
    await using site = await newSite();
    const { store } = site;
    const platforms = ["linux/amd64", "linux/arm64"];
    const root = await buildImage(store, `${IMAGE}:v1`, { seed: "a", platforms });
    const document = JSON.parse(await readFile(site.fileOf(root), "utf8"));
    const kept = await attach(store, IMAGE, root, "of the index");
    const ofPlatform = await attach(store, IMAGE, document.manifests[0], "of the platform");
    const nested = await attach(store, IMAGE, kept.referrer, "of what refers");
    for (const each of ["other:1", "other:2"]) await declare(store, `${IMAGE}:v1`, each);
    const before = await hereIn(site.dataDir);
    site.clock.advance(GRACE_MS * 2);
    expect(await site.collect()).toMatchObject({ blobs: [], names: [], trouble: [] });
    expect(await hereIn(site.dataDir)).toEqual(before);
    expect((await store.names()).map(({ name }) => name)).toEqual(
      [`${IMAGE}:v1`, ...kept.names, ...ofPlatform.names, ...nested.names].sort(),
    );
  });

  test("go with the image, with all of their content", async () => {
    await using site = await newSite();
    const { store } = site;
    const root = await buildImage(store, `${IMAGE}:v1`, { seed: "a" });
    const { referrer, names } = await attach(store, IMAGE, root, "of the image");
    const nested = await attach(store, IMAGE, referrer, "of what refers");
    await buildImage(store, `${IMAGE}:v2`, { seed: "b" });
    for (const each of ["other:1", "other:2"]) await declare(store, `${IMAGE}:v2`, each);
    site.clock.advance(GRACE_MS * 2);
    const dry = await site.collect({ isDryRun: true });
    const found = await site.collect();
    expect(found.names).toEqual([`${IMAGE}:v1`, ...names, ...nested.names].sort());
    expect(dry.names).toEqual(found.names);
    // Two manifests with a config each, a list and a layer, twice; the image's manifest, config and layers.
    expect(found.blobs).toHaveLength(2 * (2 * 2 + 1 + 1) + 4);
    expect((await store.names()).map(({ name }) => name)).toEqual([`${IMAGE}:v2`]);
  });

  test("go when the name of their image has moved to another digest", async () => {
    await using site = await newSite();
    const { store } = site;
    const old = await buildImage(store, `${IMAGE}:v1`, { seed: "a" });
    const { names } = await attach(store, IMAGE, old, "of the old");
    const root = await buildImage(store, `${IMAGE}:v1`, { seed: "b" });
    const kept = await attach(store, IMAGE, root, "of the new");
    await declare(store, `${IMAGE}:v1`);
    site.clock.advance(GRACE_MS * 2);
    expect((await site.collect()).names).toEqual([...names].sort());
    expect((await store.names()).map(({ name }) => name)).toEqual(
      [`${IMAGE}:v1`, ...kept.names].sort(),
    );
  });

  test("go in a repository of which nothing is declared, though another has the image", async () => {
    await using site = await newSite();
    const { store } = site;
    const root = await buildImage(store, `${IMAGE}:v1`, { seed: "a" });
    const { names } = await attach(store, "quay.io/elsewhere/app", root, "of the image");
    await declare(store, `${IMAGE}:v1`);
    site.clock.advance(GRACE_MS * 2);
    expect((await site.collect()).names).toEqual([...names].sort());
  });

  test("go when they only look like it", async () => {
    await using site = await newSite();
    const { store } = site;
    const root = await buildImage(store, `${IMAGE}:v1`, { seed: "a" });
    const names = [`${IMAGE}:${referrersTag(root.digest)}.txt`, `${IMAGE}:v1.sig`];
    for (const name of names) await buildImage(store, name, { seed: name });
    await declare(store, `${IMAGE}:v1`);
    site.clock.advance(GRACE_MS * 2);
    expect((await site.collect()).names).toEqual([...names].sort());
  });

  test("stay when a plan that declares their image again comes while they are looked for", async () => {
    await using site = await newSite();
    const { store } = site;
    const root = await buildImage(store, `${IMAGE}:v1`, { seed: "a" });
    const { names } = await attach(store, IMAGE, root, "of the image");
    for (const each of ["other:1", "other:2"]) await declare(store, each);
    await store.generations.begin(["other:3"]);
    site.clock.advance(GRACE_MS * 2);
    let isBegun = false;
    const disk: Disk = {
      ...systemDisk,
      async list(folder) {
        // After the names were looked at and before any goes.
        if (!isBegun && folder.endsWith("sha256")) {
          isBegun = true;
          await store.generations.begin([`${IMAGE}:v1`]);
        }
        return systemDisk.list(folder);
      },
    };
    const found = await site.collect({ disk });
    expect(isBegun).toBe(true);
    expect(found.names).toEqual([]);
    expect((await store.names()).map(({ name }) => name)).toEqual([`${IMAGE}:v1`, ...names].sort());
    expect(found.blobs).toEqual([]);
  });
});

/** A disk on which something happens right before, or after, the first file moves into the trash. */
function racingDisk(when: "before" | "after", race: () => Promise<unknown>): Disk {
  let isRun = false;
  const run = async (at: string) => {
    if (isRun || at !== when) return;
    isRun = true;
    await race();
  };
  return {
    ...systemDisk,
    async rename(from, to) {
      const isTaking = to.includes("/trash/") && from.includes("/blobs/");
      if (isTaking) await run("before");
      await systemDisk.rename(from, to);
      if (isTaking) await run("after");
    },
  };
}

describe("what races with a collection", () => {
  async function newRace() {
    const site = await newSite();
    const layer = await blob(site.store, "layer");
    const image = await manifest(site.store, "image", { layers: [layer] });
    site.clock.advance(GRACE_MS * 2);
    return { site, layer, image };
  }

  test.each(["before", "after"] as const)(
    "a lease %s the move is kept, or says that nothing is there",
    async (when) => {
      const { site, layer, image } = await newRace();
      await using _ = site;
      const leases: boolean[] = [];
      const lease = async (): Promise<void> => {
        for (const each of [layer, image]) leases.push(await site.store.lease(each));
      };
      await site.collect({ disk: racingDisk(when, lease) });
      const kept = [await site.store.has(layer), await site.store.has(image)];
      expect(leases).toEqual(kept);
      expect(kept).toContain(true);
    },
  );

  test("a manifest that was leased in time and is named after the move keeps all of it", async () => {
    const { site, layer, image } = await newRace();
    await using _ = site;
    const before = await hereIn(site.dataDir);
    // A writer that looked at what it names long before, and was asleep since.
    const nameIt = () =>
      new Promise<void>((resolve, reject) => {
        const script = `
          import { Database } from "bun:sqlite";
          const database = new Database(process.argv[1]);
          database.run("INSERT INTO names VALUES ('late:1', ?, ?, ?)", [process.argv[2], process.argv[3], Number(process.argv[4])]);`;
        const { exited } = Bun.spawn([
          ...[process.execPath, "-e", script, join(site.dataDir, "drayage.db")],
          ...[image.mediaType, image.digest, String(image.size)],
        ]);
        exited.then((code) => (code === 0 ? resolve() : reject(new Error(`${code}`))), reject);
      });
    expect((await site.collect({ disk: racingDisk("after", nameIt) })).blobs).toEqual([]);
    expect(await hereIn(site.dataDir)).toEqual(before);
    expect(await site.store.has(layer)).toBe(true);
  });

  test("a blob that is committed again while it is away is the one that stays", async () => {
    await using site = await newSite();
    const lone = await blob(site.store, "lone");
    site.clock.advance(GRACE_MS * 2);
    const again = async () => {
      await blob(site.store, "lone");
      await site.store.repositories.linkBlob("team/app", lone);
    };
    await site.collect({ disk: racingDisk("after", again) });
    expect(await site.store.repositories.blob("team/app", lone.digest)).toEqual(lone);
    expect(await readdir(join(site.dataDir, "trash"))).toEqual([]);
  });

  test("nobody can link or name what has gone", async () => {
    await using site = await newSite();
    const image = await manifest(site.store, "image");
    site.clock.advance(GRACE_MS * 2);
    await site.collect();
    const { store } = site;
    for (const act of [
      () => store.repositories.linkBlob("team/app", image),
      () => push(store, image, { tags: ["v1"] }),
      () => store.name("a:1", image),
    ]) {
      const failure = await act().catch((error: unknown) => error);
      expect(isFailure(failure, "content-missing")).toBe(true);
    }
  });

  test("a second collection says who holds the lock", async () => {
    const { site } = await newRace();
    await using _ = site;
    const failures: unknown[] = [];
    const second = () => site.collect().catch((error: unknown) => failures.push(error));
    await site.collect({ disk: racingDisk("before", second) });
    expect(isFailure(failures[0], "store-locked")).toBe(true);
  });
});

describe("nothing is removed", () => {
  async function newTrouble() {
    const site = await newSite();
    const root = await buildImage(site.store, "a:1", { seed: "a" });
    const lone = await blob(site.store, "lone");
    site.clock.advance(GRACE_MS * 2);
    return { site, root, lone };
  }

  test.each([
    ["wrong", (path: string) => writeFile(path, "{}"), ""],
    ["missing", (path: string) => rm(path), ""],
    ["unreadable", (path: string) => rm(path), "EIO"],
  ] as const)("when a document that is named is %s", async (problem, harm, code) => {
    const { site, root, lone } = await newTrouble();
    await using _ = site;
    const path = site.fileOf(root);
    const disk: Disk = {
      ...systemDisk,
      open: async (at) => {
        if (code !== "" && at === path) throw Object.assign(new Error(code), { code });
        return systemDisk.open(at);
      },
    };
    if (code === "") await harm(path);
    const found = await site.collect({ disk });
    expect(found).toMatchObject({
      blobs: [],
      names: [],
      trouble: [{ digest: root.digest, name: "a:1", problem }],
    });
    expect(await site.store.has(lone)).toBe(true);
    expect((await site.collect({ disk, isDryRun: true })).trouble).toEqual(found.trouble);
  });

  test("when a child is in quarantine; one that never came is no trouble", async () => {
    await using site = await newSite();
    const { store } = site;
    const child = await manifest(store, "child");
    const never = { ...child, digest: digestOf(new Uint8Array(1)) };
    await store.name("a:1", await index(store, [child, never]));
    await blob(store, "lone");
    site.clock.advance(GRACE_MS * 2);
    expect((await site.collect({ isDryRun: true })).trouble).toEqual([]);
    await mkdir(join(site.dataDir, "quarantine"));
    await rename(
      site.fileOf(child),
      join(site.dataDir, "quarantine", child.digest.replace(":", "-")),
    );
    const found = await site.collect();
    expect(found.trouble).toEqual([{ digest: child.digest, name: "a:1", problem: "missing" }]);
    expect(found.blobs).toEqual([]);
  });

  test("by a dry run, which says the same as the run that follows, and writes nothing", async () => {
    await using site = await newSite();
    await site.store.generations.begin(["a:1"]);
    await buildImage(site.store, "a:1", { seed: "a" });
    await buildImage(site.store, "b:1", { seed: "b" });
    await site.store.generations.complete();
    const linked = await blob(site.store, "linked");
    await site.store.repositories.linkBlob("team/app", linked);
    site.clock.advance(GRACE_MS * 2);
    const refuse = () => Promise.reject(new Error("a dry run writes"));
    const disk: Disk = {
      ...systemDisk,
      ...{ rename: refuse, remove: refuse, create: refuse, edit: refuse, touch: refuse },
      ...{ makeFolder: refuse, syncFolder: refuse },
    };
    const before = (await readdir(site.dataDir, { recursive: true })).sort();
    const dry = await site.collect({ isDryRun: true, disk });
    expect((await readdir(site.dataDir, { recursive: true })).sort()).toEqual(before);
    expect(dry.names).toEqual(["b:1"]);
    expect(dry.blobs).toHaveLength(5);
    expect(dry.blobs.find(({ digest }) => digest === linked.digest)?.lastNamed).toEqual([
      "team/app",
    ]);
    const real = await site.collect();
    expect({ ...real, blobs: new Set(real.blobs) }).toEqual({ ...dry, blobs: new Set(dry.blobs) });
    expect(await site.store.repositories.has("team/app")).toBe(false);
    expect(await site.collect()).toMatchObject({ blobs: [], names: [] });
  });

  test("of a store that is not there", async () => {
    const failure = await collectStore("/nonexistent/store", {
      clock: createManualClock(),
      signal,
    }).catch((error: unknown) => error);
    expect(isFailure(failure, "store-missing")).toBe(true);
  });
});

test("what an interrupted collection left in the trash is live again when it is named, and goes when not", async () => {
  await using site = await newSite();
  const root = await buildImage(site.store, "a:1", { seed: "a" });
  const lone = await blob(site.store, "lone");
  site.clock.advance(GRACE_MS * 2);
  for (const each of [root, lone]) {
    await rename(site.fileOf(each), join(site.dataDir, "trash", each.digest.replace(":", "-")));
  }
  expect(digestsOf(await site.collect({ isDryRun: true }))).toEqual([lone.digest]);
  expect(digestsOf(await site.collect())).toEqual([lone.digest]);
  expect(await site.store.has(root)).toBe(true);
  expect(await readdir(join(site.dataDir, "trash"))).toEqual([]);
});

/** A graph as numbers: each node lists nodes before it. */
const graphs = fc.record({
  manifests: fc.array(
    fc.record({
      layers: fc.array(fc.nat(5), { maxLength: 3 }),
      lists: fc.array(fc.nat(20), { maxLength: 3 }),
      subject: fc.option(fc.nat(20)),
      fate: fc.constantFrom("pushed", "tagged", "delivered", "deleted", "nobody's"),
    }),
    { maxLength: 8 },
  ),
  young: fc.array(fc.nat(5), { maxLength: 2 }),
});

test("after a collection all that is reachable is there, and nothing else that is older than the grace", async () => {
  await fc.assert(
    fc.asyncProperty(graphs, async ({ manifests, young }) => {
      await using site = await newSite();
      const { store } = site;
      const layers = await Promise.all([0, 1, 2, 3, 4, 5].map((n) => blob(store, `layer ${n}`)));
      const made: { descriptor: Descriptor; below: Set<string>; isLive: boolean }[] = [];
      for (const [n, { layers: own, lists, subject, fate }] of manifests.entries()) {
        const before = (at: number) => (made.length === 0 ? undefined : made[at % made.length]);
        const children = lists.map(before).filter((child) => child !== undefined);
        const about = subject === null ? undefined : before(subject)?.descriptor;
        const parts = own.map((at) => layers[at]).filter((layer) => layer !== undefined);
        const config = await putJson(store, CONFIG, { n });
        const more = about === undefined ? {} : { subject: about };
        const isIndex = children.length > 0;
        const mediaType = isIndex ? OCI_INDEX : OCI_MANIFEST;
        const listed = children.map(({ descriptor }) => descriptor);
        const body = isIndex
          ? { manifests: listed, annotations: { n: `${n}` } }
          : { config, layers: parts };
        const descriptor = await putJson(store, mediaType, {
          schemaVersion: 2,
          mediaType,
          ...body,
          ...more,
        });
        const below = new Set<string>([descriptor.digest]);
        if (isIndex) for (const child of children) for (const each of child.below) below.add(each);
        else for (const { digest } of [config, ...parts]) below.add(digest);
        if (fate === "delivered") await store.name(`delivered:${n}`, descriptor);
        else if (fate !== "nobody's") {
          const tags = fate === "tagged" ? [`t${n}`] : [];
          await push(store, descriptor, {
            tags,
            ...(about === undefined ? {} : { subject: about }),
          });
        }
        made.push({ descriptor, below, isLive: fate !== "deleted" && fate !== "nobody's" });
      }
      for (const [n, { fate }] of manifests.entries()) {
        const digest = made[n]?.descriptor.digest;
        if (fate === "deleted" && digest)
          await store.repositories.deleteManifest("team/app", digest);
      }
      site.clock.advance(GRACE_MS * 2);
      const expected = new Set(
        made.filter(({ isLive }) => isLive).flatMap(({ below }) => [...below]),
      );
      for (const at of young) {
        const layer = layers[at];
        if (layer !== undefined && (await store.lease(layer))) expected.add(layer.digest);
      }
      const found = await site.collect();
      expect(found.trouble).toEqual([]);
      const here = await hereIn(site.dataDir);
      expect(here).toEqual([...expected].sort());
      for (const digest of here) {
        const [algorithm = "", hex = ""] = digest.split(":");
        const bytes = await readFile(join(site.dataDir, "blobs", algorithm, hex));
        expect(String(digestOf(bytes))).toBe(digest);
      }
      expect((await site.collect()).blobs).toEqual([]);
    }),
    { numRuns: Math.ceil(FUZZ_RUNS / 20) },
  );
});
