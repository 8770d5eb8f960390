import { beforeEach, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Failure } from "#base";
import {
  contentMissing,
  createMemoryStore,
  readImageGraph,
  resolveAndFetch,
  type Store,
} from "#content";
import { type Descriptor, parseDigest, parsePlatform } from "#oci";
import type { Plan } from "#plan";
import type { FollowedEndpoint } from "#redirect";
import { formatReference, type Reference } from "#reference";
import { createManualClock } from "#test-support/clock";
import { planOf } from "#test-support/delivery-site";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { buildImage, randomBytes } from "#test-support/images";
import { chooseReads } from "./examine.ts";
import type { ServedRepository, SiteRegistries, SiteRole, Way } from "./ports.ts";
import type { Proof, ProofDepth, ProvenReference } from "./proof.ts";
import { type ProveOptions, prove } from "./prove.ts";

const HOSTS: Readonly<Record<SiteRole, string>> = {
  local: "10.0.0.5:5000",
  embedded: "127.0.0.1:5055",
};
const APP = "quay.io/team/app:1";
const TWIN = "quay.io/team/twin:1";
const LAYER_BYTES = 100_000;
const PLATFORM = parsePlatform("linux/amd64");
const signal = new AbortController().signal;

let store: Store;
/** What the local registry has, under declared names. */
let local: Store;
let plan: Plan;
/** Blobs and manifests that were opened at the site's registries, in order. */
let reads: string[];
/** What a registry gives in place of the content. */
let forged: Map<string, Uint8Array>;

beforeEach(async () => {
  [store, local, reads, forged] = [createMemoryStore(), createMemoryStore(), [], new Map()];
  await fill(store);
  await fill(local);
  plan = planWith("one-platform");
});

/** Two application images of one base. */
async function fill(into: Store, platforms: readonly string[] = ["linux/amd64"]): Promise<void> {
  for (const seed of [APP, TWIN]) {
    await buildImage(into, seed, { seed, sharedBase: "base", layerBytes: LAYER_BYTES, platforms });
  }
}

function planWith(indexes: "one-platform" | "complete"): Plan {
  const planned = planOf({ application: [APP, TWIN] }, HOSTS.local);
  const access = { origin: null, insecure: false, certificates: [] };
  const registry = { kind: "oci", address: HOSTS.local, project: "spectro-images" } as const;
  const local = { ...registry, access, indexes, authenticated: false };
  return {
    ...planned,
    registries: { ...planned.registries, local },
  };
}

/** One repository of a store as the site serves it. */
function served(role: SiteRole, name: string): ServedRepository {
  const from = role === "local" ? local : store;
  return {
    async resolve(tagOrDigest) {
      const found = (await from.names()).find(({ name: known, descriptor }) => {
        return (known === name && name.endsWith(tagOrDigest)) || descriptor.digest === tagOrDigest;
      });
      if (found !== undefined) return found.descriptor;
      const digest = parseDigest(`sha256:${"0".repeat(64)}`);
      throw contentMissing({ mediaType: "", digest, size: 0 });
    },
    fetchManifest(tagOrDigest, options) {
      return resolveAndFetch(this, tagOrDigest, options);
    },
    async fetch(descriptor, options) {
      const { digest } = descriptor;
      reads.push(`${role} ${digest}`);
      const bytes = forged.get(`${role} ${digest}`);
      if (bytes === undefined) return from.fetch(descriptor, options);
      const { start, end } = options.range ?? { start: 0, end: descriptor.size };
      return new Blob([bytes.slice(start, end)]).stream();
    },
    holds: (blob) => from.has(blob),
  };
}

const way = (role: SiteRole, name: string): Way => ({
  url: `https://${HOSTS[role]}/${name}`,
  repository: served(role, name),
});

const roleOf = (url: string): SiteRole | undefined =>
  url.includes(HOSTS.local) ? "local" : url.includes(HOSTS.embedded) ? "embedded" : undefined;

const registries: SiteRegistries = {
  roleOf: ({ url }) => roleOf(url),
  wayOf: ({ url }) => way(roleOf(url) ?? "embedded", url.replace(/^https:\/\/[^/]*\//, "")),
  directWay: (role, { declared }) => way(role, formatReference(declared)),
};

/** A runtime that asks these hosts in this order, and then upstream. */
function follower(...hosts: readonly string[]) {
  return (reference: Reference) => {
    const endpoint = (host: string, isUpstream = false): FollowedEndpoint => ({
      url: `https://${host}/${formatReference(reference)}`,
      ...{ isUpstream, skipVerify: false, authorities: [] },
    });
    const asked = hosts.map((host) => endpoint(host));
    return { endpoints: [...asked, endpoint(reference.domain, true)], decidedBy: "hosts.toml" };
  };
}

function proven(options: Partial<ProveOptions> = {}, depth: ProofDepth = { kind: "full" }) {
  return prove(plan, {
    site: {
      ...{ platform: "linux/amd64", depth, problems: [], notes: [] },
      runtime: { kind: "containerd", configDir: "/etc/containerd/certs.d" },
      registries: {
        embedded: { address: HOSTS.embedded, isRunning: true },
        local: { kind: "oci", address: HOSTS.local },
      },
    },
    platform: PLATFORM,
    store,
    registries,
    names: { local: "the local registry", embedded: "the embedded registry" },
    clock: createManualClock(),
    signal,
    ...options,
  });
}

const codes = ({ references }: Proof) =>
  references.map(({ problems }) => problems.map(({ code }) => code));

const app = ({ references: [first] }: Proof): ProvenReference => first as ProvenReference;

async function graphOf(name: string) {
  const root = (await store.lookup(name)) as Descriptor;
  return readImageGraph(store, root, PLATFORM, { signal });
}

describe("prove()", () => {
  test("a file of mirrors that can't be read is wanting, and the registries are examined all the same", async () => {
    const proof = await proven({
      follow: () => {
        throw new Failure({ code: "config-not-text", message: "Cannot read it", hint: "Mend it" });
      },
    });
    expect(codes(proof)).toEqual([["config-not-text"], ["config-not-text"]]);
    expect(app(proof).redirection).toBeNull();
    expect(app(proof).places.map(({ blobs }) => blobs > 0)).toEqual([true, true]);
  });

  test("a way whose files can't be read is wanting, with what to do, and stops no other", async () => {
    const wayOf = (endpoint: FollowedEndpoint) => {
      if (roleOf(endpoint.url) === "embedded") return registries.wayOf(endpoint);
      throw new Failure({
        code: "config-unreadable",
        message: "Cannot read ca.pem",
        hint: "Mend it",
      });
    };
    const proof = await proven({
      follow: follower(HOSTS.local, HOSTS.embedded),
      registries: { ...registries, wayOf },
    });
    expect(codes(proof)).toEqual([["config-unreadable"], ["config-unreadable"]]);
    expect(app(proof).problems[0]).toMatchObject({
      message: "Cannot read ca.pem",
      remedy: "Mend it",
    });
    expect(proof.ok).toBe(false);
  });

  test("reads all of it at each registry of the site, and what images share once", async () => {
    const proof = await proven();
    expect(proof.ok).toBe(true);
    const { blobs, documents } = await graphOf(APP);
    expect(app(proof).places).toMatchObject([
      { role: "local", blobs: blobs.length, manifests: documents.length },
      { role: "embedded", blobs: blobs.length, manifests: documents.length },
    ]);
    expect(new Set(reads).size).toBe(reads.length);
    // Or who came first would be part of the proof.
    for (const { bytes, places } of proof.references) {
      for (const { bytesRead } of places)
        expect(bytes - bytesRead).toBe(documents[0]?.bytes.length ?? 0);
    }
    const base = blobs[1]?.digest;
    expect(reads.filter((read) => read.endsWith(`${base}`))).toHaveLength(2);
  });

  test("names what a registry lacks, what is damaged there, and what its name stands for instead", async () => {
    const { blobs } = await graphOf(APP);
    const [config, base] = blobs as readonly [Descriptor, Descriptor];
    forged.set(`local ${base.digest}`, randomBytes("forged", base.size));
    const damaged = await proven();
    // Both need the base.
    expect(codes(damaged)).toEqual([["content-damaged"], ["content-damaged"]]);
    expect(app(damaged).problems[0]?.message).toContain(base.digest);
    forged.set(`embedded ${config.digest}`, new Uint8Array(config.size));
    expect(codes(await proven())[0]).toEqual(["content-damaged", "content-damaged"]);

    forged.clear();
    local = createMemoryStore();
    await buildImage(local, APP, { seed: "another" });
    const other = await proven();
    expect(codes(other)).toEqual([["digest-differs"], ["content-missing"]]);
    expect(app(other).problems[0]?.remedy).toContain("dray deliver");
  });

  test("notices by the end of its largest blob that a registry has other bytes", async () => {
    const { blobs } = await graphOf(APP);
    const { blob } = chooseReads(blobs, { kind: "ends" })[0] as { readonly blob: Descriptor };
    expect((await proven({}, { kind: "ends" })).ok).toBe(true);
    forged.set(`local ${blob.digest}`, randomBytes("forged", blob.size));
    expect(codes(await proven({}, { kind: "ends" }))[0]).toEqual(["content-damaged"]);
  });

  test("takes one platform in place of the index at a local registry that may have it so", async () => {
    const both = ["linux/amd64", "linux/arm64"];
    store = createMemoryStore();
    await fill(store, both);
    local = createMemoryStore();
    await fill(local, both);
    for (const name of [APP, TWIN]) await local.name(name, (await graphOf(name)).manifest);
    expect((await proven()).ok).toBe(true);
    plan = planWith("complete");
    expect(codes(await proven())).toEqual([["digest-differs"], ["digest-differs"]]);
  });

  test("takes one platform also where the index is asked for by its digest", async () => {
    store = createMemoryStore();
    await fill(store, ["linux/amd64", "linux/arm64"]);
    const { root, manifest } = await graphOf(APP);
    const pinned = `quay.io/team/app@${root.digest}`;
    await store.name(pinned, root);
    local = createMemoryStore();
    await fill(local, ["linux/amd64", "linux/arm64"]);
    // All names of the whole image give way to that of the platform.
    for (const name of [APP, TWIN]) await local.name(name, manifest);
    const planned = planOf({ application: [pinned] }, HOSTS.local);
    plan = { ...planWith("one-platform"), stages: planned.stages };
    expect(codes(await proven())).toEqual([[]]);
    plan = { ...planWith("complete"), stages: planned.stages };
    expect(codes(await proven())).toEqual([["content-missing"]]);
  });

  test("wants the runtime sent to the local registry first, then to the embedded one", async () => {
    const both = await proven({ follow: follower(HOSTS.local, HOSTS.embedded) });
    expect(both.ok).toBe(true);
    expect(app(both).redirection?.asks.map(({ role }) => role)).toEqual([
      "local",
      "embedded",
      "elsewhere",
    ]);
    const turned = await proven({ follow: follower(HOSTS.embedded, HOSTS.local) });
    expect(codes(turned)[0]).toEqual(["redirection-order"]);
    const lone = await proven({ follow: follower(HOSTS.local, "mirror.example.com") });
    expect(codes(lone)[0]).toEqual(["not-redirected"]);
    expect(app(lone).problems[0]?.message).toContain("embedded");
  });

  test("tells a file of the runtime's that it does not heed", async () => {
    const follow = (reference: Reference) => ({
      ...follower()(reference),
      problem: "3:1: no TOML",
    });
    const { problems } = app(await proven({ follow }));
    expect(problems.map(({ code }) => code)).toEqual(["redirection-broken"]);
    expect(problems[0]?.message).toContain("3:1");
  });

  test("wants each image in the runtime: the same one, and pinned where that is known", async () => {
    const [config] = (await graphOf(APP)).blobs as readonly [Descriptor];
    const inRuntime = (image: { config: string; isPinned: boolean | undefined } | undefined) =>
      proven({
        inRuntime: (reference) => {
          return formatReference(reference) === APP
            ? image
            : { config: "sha256:other", isPinned: true };
        },
      }).then(codes);
    const other = ["runtime-has-another"];
    expect(await inRuntime({ config: config.digest, isPinned: true })).toEqual([[], other]);
    expect(await inRuntime({ config: config.digest, isPinned: undefined })).toEqual([[], other]);
    expect(await inRuntime({ config: config.digest, isPinned: false })).toEqual([
      ["runtime-unpinned"],
      other,
    ]);
    expect(await inRuntime(undefined)).toEqual([["runtime-lacks-image"], other]);
  });

  test("says of an image whose manifest is gone that it must be delivered, and goes on with the others", async () => {
    const sparse = createMemoryStore();
    await buildImage(sparse, TWIN, { seed: TWIN, sharedBase: "base", layerBytes: LAYER_BYTES });
    store = sparse;
    expect(codes(await proven())).toEqual([["not-delivered"], []]);
  });

  test("ends when it is told to", async () => {
    const over = AbortSignal.abort(new Error("enough"));
    await expect(proven({ signal: over })).rejects.toThrow("enough");
  });
});

describe("chooseReads()", () => {
  const blob = fc.record({
    mediaType: fc.constant("application/octet-stream"),
    digest: fc
      .uint8Array({ minLength: 32, maxLength: 32 })
      .map((bytes) => parseDigest(`sha256:${Buffer.from(bytes).toString("hex")}`)),
    size: fc.nat(1_000_000),
  });
  const wholeOf = (blobs: readonly Descriptor[], depth: ProofDepth) =>
    chooseReads(blobs, depth).filter(({ isWhole }) => isWhole);

  test("a sample is the same each time, part of every larger one, and all of them at the end", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(blob, { selector: ({ digest }) => digest }),
        fc.integer({ min: 0, max: 100 }),
        fc.integer({ min: 0, max: 100 }),
        (blobs, a, b) => {
          const sample = (percent: number) =>
            wholeOf(blobs, { kind: "sample", percent }).map((read) => read.blob);
          const [fewer, more] = [sample(Math.min(a, b)), sample(Math.max(a, b))];
          expect(fewer.filter((each) => !more.includes(each))).toEqual([]);
          expect(wholeOf(blobs, { kind: "full" })).toHaveLength(blobs.length);
          expect(wholeOf(blobs, { kind: "ends" })).toEqual([]);
        },
      ),
      { numRuns: FUZZ_RUNS },
    );
  });

  test("something of every image is read, and nothing twice", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(blob, { selector: ({ digest }) => digest, minLength: 1 }),
        fc.integer({ min: 0, max: 100 }),
        (blobs, percent) => {
          const reads = chooseReads(blobs, { kind: "sample", percent }).map((read) => read.blob);
          expect(reads.length).toBeGreaterThan(0);
          expect(new Set(reads).size).toBe(reads.length);
        },
      ),
      { numRuns: FUZZ_RUNS },
    );
  });
});
