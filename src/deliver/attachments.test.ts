import { describe, expect, test } from "bun:test";
import { Failure } from "#base";
import {
  contentMissing,
  createMemoryStore,
  fetchVerified,
  type NamedContent,
  type Store,
} from "#content";
import type { DeliverOptions } from "#deliver";
import { type Descriptor, type Digest, parseDocument, referrersTag } from "#oci";
import { parseReference } from "#reference";
import { createDeliverySite, type DeliverySite } from "#test-support/delivery-site";
import type { Fault, ScriptedRequest } from "#test-support/scripted-world";
import { ATTACHMENTS_MAX, attachmentsOf } from "./attachments.ts";
import type { AttachmentChecks, Folder } from "./context.ts";
import type { DeliveryEvent } from "./event.ts";

const signal = new AbortController().signal;
const REPOSITORY = "reg.test/apps/shop";
const APP = `${REPOSITORY}:v1`;
const PLATFORMS = ["linux/amd64", "linux/arm64"];

const refusal = (transient: boolean, code = "registry-denied"): Fault => ({
  kind: "refuse",
  failure: new Failure({ code, message: "Cannot ask", hint: "Wait", transient }),
});

/** The root and the site's own manifest of an index, which the site is to get. */
function siteWithIndex(store?: Store): DeliverySite & { root: Descriptor } {
  const site = createDeliverySite(store);
  return { ...site, root: site.world.push(APP, { layers: ["a"], platforms: PLATFORMS }) };
}

const namesIn = async (store: Store): Promise<Readonly<Record<string, Digest>>> =>
  Object.fromEntries(
    (await store.names()).map(({ name, descriptor }: NamedContent) => [name, descriptor.digest]),
  );

async function listed(store: Store, subject: Descriptor): Promise<readonly Descriptor[]> {
  const list = await store.lookup(`${REPOSITORY}:${referrersTag(subject.digest)}`);
  if (list === undefined) return [];
  const document = parseDocument(await fetchVerified(store, list, { signal }));
  return document.kind === "index" ? document.manifests : [];
}

async function platformOf(store: Store, root: Descriptor): Promise<Descriptor> {
  const document = parseDocument(await fetchVerified(store, root, { signal }));
  const [first] = document.kind === "index" ? document.manifests : [];
  if (first === undefined) throw new Error("It is no index");
  return first;
}

const digestsOf = (descriptors: readonly { readonly digest: Digest }[]) =>
  descriptors.map(({ digest }) => digest).sort();

const warningsOf = (events: readonly DeliveryEvent[]) =>
  events.flatMap((event) => (event.type === "warning" ? [event.message] : []));

const cosignTag = (subject: Descriptor, suffix: string) =>
  `${referrersTag(subject.digest)}.${suffix}`;

describe("with an image come", () => {
  test("cosign's tags of its index and of the platform's manifest, under their own names", async () => {
    const site = siteWithIndex();
    const { world, store, root } = site;
    const manifest = await platformIn(site);
    const brought: Record<string, Digest> = {};
    for (const [subject, suffix] of [
      [root, "sig"],
      [root, "att"],
      [manifest, "sig"],
      [manifest, "sbom"],
    ] as const) {
      const tag = cosignTag(subject, suffix);
      const { digest } = world.attach(REPOSITORY, { text: `${tag} of cosign`, tag });
      brought[`${REPOSITORY}:${tag}`] = digest;
    }
    const { summary, events } = await site.run({ application: [APP] });
    expect(summary.outcome).toBe("done");
    expect(warningsOf(events)).toEqual([]);
    expect(await namesIn(store)).toEqual({ [APP]: root.digest, ...brought });
    expect(await missingIn(store)).toEqual([]);
  });

  test("all that refers to it, and all that refers to that, in the form of the fallback tag", async () => {
    const site = siteWithIndex();
    const { world, store, root } = site;
    const sbom = world.attach(REPOSITORY, {
      text: "a bill of materials",
      subject: root,
      artifactType: "application/spdx+json",
      annotations: { made: "yesterday" },
    });
    const manifest = await platformIn(site);
    const scan = world.attach(REPOSITORY, { text: "a scan", subject: manifest });
    const signature = world.attach(REPOSITORY, { text: "a signature of it", subject: sbom });
    const { events } = await site.run({ application: [APP] });
    expect(warningsOf(events)).toEqual([]);
    expect(await listed(store, root)).toEqual([
      { ...sbom, artifactType: "application/spdx+json", annotations: { made: "yesterday" } },
    ]);
    expect(digestsOf(await listed(store, manifest))).toEqual(digestsOf([scan]));
    expect(digestsOf(await listed(store, sbom))).toEqual(digestsOf([signature]));
    expect(await missingIn(store)).toEqual([]);
  });

  test("none of another platform's", async () => {
    const site = siteWithIndex();
    const { world, store, root } = site;
    const document = parseDocument(await bytesOf(site, root));
    const other = document.kind === "index" ? document.manifests[1] : undefined;
    if (other === undefined) throw new Error("It has one platform");
    world.attach(REPOSITORY, { text: "for arm64", subject: other });
    world.attach(REPOSITORY, { text: "too", tag: cosignTag(other, "sig") });
    await site.run({ application: [APP] });
    expect(Object.keys(await namesIn(store))).toEqual([APP]);
  });

  test("a signature that was added later, with the next delivery, and moves nothing else", async () => {
    const site = siteWithIndex();
    const { world, store, root } = site;
    world.attach(REPOSITORY, { text: "the first", subject: root });
    await site.run({ application: [APP] });
    const tag = cosignTag(root, "sig");
    world.attach(REPOSITORY, { text: "the second", subject: root });
    world.attach(REPOSITORY, { text: "of cosign", tag });
    world.forget();
    const { summary } = await site.run({ application: [APP] });
    expect(summary.stages[2]).toMatchObject({ present: 1 });
    expect(summary.bytesMoved).toBe("the second".length + "of cosign".length);
    expect(await listed(store, root)).toHaveLength(2);
    expect(Object.keys(await namesIn(store))).toContain(`${REPOSITORY}:${tag}`);
  });

  test("what it had before, also when its registry has forgotten it", async () => {
    const site = siteWithIndex();
    const { world, store, root } = site;
    const kept = world.attach(REPOSITORY, { text: "a signature", subject: root });
    await site.run({ application: [APP] });
    const other = createDeliverySite(store);
    other.world.push(APP, { layers: ["a"], platforms: PLATFORMS });
    const added = other.world.attach(REPOSITORY, { text: "another", subject: root });
    const { events } = await other.run({ application: [APP] });
    expect(warningsOf(events)).toEqual([]);
    expect(digestsOf(await listed(store, root))).toEqual(digestsOf([kept, added]));
  });

  test("nothing when that is the policy", async () => {
    const site = siteWithIndex();
    const { world, store, root } = site;
    world.attach(REPOSITORY, { text: "a signature", subject: root });
    await site.run({ application: [APP] }, { attachments: "never" });
    expect(world.requests.some(({ kind }) => kind === "referrers")).toBe(false);
    expect(Object.keys(await namesIn(store))).toEqual([APP]);
  });

  test("few requests: one for its referrers and one for each of cosign's tags, of two digests", async () => {
    const site = siteWithIndex();
    const { world, root } = site;
    world.attach("reg.test/other", { text: "so that they are asked for at all", subject: root });
    await site.run({ application: [APP] });
    world.forget();
    await site.run({ application: [APP] });
    expect(world.requests).toHaveLength(1 + 2 * (1 + 3));
    expect(world.requests.every(({ patience }) => patience === "brief")).toBe(true);
  });
});

describe("of an image that stayed, when that is asked for once a day,", () => {
  const DAY_MS = 24 * 60 * 60 * 1000;

  /** A site that has an image and the signature of it, and remembers that it asked for it. */
  async function openDaily(store: Store = createMemoryStore()) {
    const site = siteWithIndex(store);
    const checks = memoryChecks();
    const signature = site.world.attach(REPOSITORY, { text: "a signature", subject: site.root });
    const run = (more: Partial<DeliverOptions> = {}) =>
      site.run({ application: [APP] }, { attachments: "daily", attachmentChecks: checks, ...more });
    await run();
    site.world.forget();
    const kinds = () => site.world.requests.map(({ kind }) => kind);
    return { ...site, signature, checks, run, kinds };
  }

  test("nobody is asked again within the day, and everybody after it", async () => {
    const { clock, run, kinds, world } = await openDaily();
    clock.advance(DAY_MS - 1);
    await run();
    expect(kinds()).toEqual(["resolve"]);
    world.forget();
    clock.advance(1);
    await run();
    expect(kinds()).toContain("referrers");
    world.forget();
    await run();
    expect(kinds()).toEqual(["resolve"]);
  });

  test("it is asked for when the clock was set back, and when the policy is another", async () => {
    const { checks, root, clock, run, kinds, world } = await openDaily();
    await checks.note(APP, root.digest, clock.now() + 1);
    await run();
    expect(kinds()).toContain("referrers");
    world.forget();
    await run({ attachments: "always" });
    expect(kinds()).toContain("referrers");
  });

  test("it is asked for when the image has moved", async () => {
    const { run, store, world } = await openDaily();
    const root = world.push(APP, { layers: ["b"] });
    world.attach(REPOSITORY, { text: "another signature", subject: root });
    await run();
    expect(await listed(store, root)).toHaveLength(1);
  });

  test("it is asked for until all of it came", async () => {
    const site = siteWithIndex();
    const checks = memoryChecks();
    site.world.attach(REPOSITORY, { text: "a signature", subject: site.root });
    const options = { attachments: "daily", attachmentChecks: checks } as const;
    site.world.fault = ({ kind }) => (kind === "referrers" ? refusal(true) : undefined);
    await site.run({ application: [APP] }, options);
    site.world.fault = undefined;
    await site.run({ application: [APP] }, options);
    expect(await listed(site.store, site.root)).toHaveLength(1);
  });

  test("what was lost of it on the disk comes again at once", async () => {
    const lost = new Set<Digest>();
    const whole = createMemoryStore();
    const store: Store = {
      ...whole,
      has: async (content) => !lost.has(content.digest) && whole.has(content),
      lease: async (content) => !lost.has(content.digest) && whole.lease(content),
      bytesHere: async (content) => (lost.has(content.digest) ? 0 : whole.bytesHere(content)),
      fetch: async (content, options) => {
        if (lost.has(content.digest)) throw contentMissing(content);
        return whole.fetch(content, options);
      },
      ingest: async (content) => {
        lost.delete(content.digest);
        return whole.ingest(content);
      },
    };
    const { signature, root, run, world } = await openDaily(store);
    const list = await whole.lookup(`${REPOSITORY}:${referrersTag(root.digest)}`);
    const [layer] = await layersOf(whole, signature);
    for (const digest of [list?.digest, signature.digest, layer]) {
      if (digest === undefined) throw new Error("It has none");
      lost.add(digest);
      await run();
      expect([...lost]).toEqual([]);
      expect(await missingIn(store)).toEqual([]);
      world.forget();
    }
  });

  test("a folder is looked into all the same", async () => {
    const { run, store, root, kinds } = await openDaily();
    const carried = siteWithIndex();
    carried.world.attach(REPOSITORY, { text: "carried", subject: root });
    await carried.run({ application: [APP] });
    await run({ folders: [folderOf(carried.store)] });
    expect(kinds()).toEqual(["resolve"]);
    expect(await listed(store, root)).toHaveLength(2);
  });
});

function memoryChecks(): AttachmentChecks {
  const known = new Map<string, number>();
  return {
    last: async (name, root) => known.get(`${name} ${root}`),
    note: async (name, root, atMs) => void known.set(`${name} ${root}`, atMs),
  };
}

describe("attachments out of a folder", () => {
  test("come without any registry, from what the folder's own names say", async () => {
    const site = siteWithIndex();
    const { world, store, root } = site;
    const sbom = world.attach(REPOSITORY, { text: "a bill of materials", subject: root });
    const signature = world.attach(REPOSITORY, { text: "a signature of it", subject: sbom });
    const tag = cosignTag(root, "sig");
    world.attach(REPOSITORY, { text: "of cosign", tag });
    await site.run({ application: [APP] });

    const offline = createDeliverySite();
    offline.world.fault = () => refusal(true, "registry-unreachable");
    const { summary } = await offline.run({ application: [APP] }, { folders: [folderOf(store)] });
    expect(summary.outcome).toBe("done");
    expect(summary.bytesMoved).toBe(0);
    expect(digestsOf(await listed(offline.store, root))).toEqual(digestsOf([sbom]));
    expect(digestsOf(await listed(offline.store, sbom))).toEqual(digestsOf([signature]));
    expect(await namesIn(offline.store)).toEqual(await namesIn(store));
    expect(await missingIn(offline.store)).toEqual([]);
  });

  test("are added to those that the registry lists", async () => {
    const carried = siteWithIndex();
    const a = carried.world.attach(REPOSITORY, { text: "carried", subject: carried.root });
    await carried.run({ application: [APP] });
    const site = siteWithIndex();
    const b = site.world.attach(REPOSITORY, { text: "listed", subject: site.root });
    await site.run({ application: [APP] }, { folders: [folderOf(carried.store)] });
    expect(digestsOf(await listed(site.store, site.root))).toEqual(digestsOf([a, b]));
  });
});

describe("an image is delivered, with a warning, when", () => {
  test.each([true, false])(
    "nobody can say what refers to it (transient: %p)",
    async (transient) => {
      const site = siteWithIndex();
      const { world, store, root } = site;
      const tag = cosignTag(root, "sig");
      world.attach(REPOSITORY, { text: "of cosign", tag });
      world.fault = ({ kind }) => (kind === "referrers" ? refusal(transient) : undefined);
      const first = await site.run({ application: [APP] });
      expect(first.summary.outcome).toBe("done");
      expect(warningsOf(first.events)).toHaveLength(1);
      expect(warningsOf(first.events)[0]).toContain("Cannot ask");
      // One trouble stops no other.
      expect(Object.keys(await namesIn(store))).toContain(`${REPOSITORY}:${tag}`);
      const second = await site.run({ application: [APP] });
      // What may pass is asked for again, and what is here stands: that is no news each time.
      expect(warningsOf(second.events)).toHaveLength(transient ? 0 : 1);
    },
  );

  test("a blob of an attachment can't be had for the moment, which is not waited out", async () => {
    const site = siteWithIndex();
    const { world, root, store } = site;
    const signature = world.attach(REPOSITORY, { text: "a signature", subject: root });
    const layers = await layersAt(site, signature);
    world.fault = ({ target }) => (layers.includes(target) ? refusal(true) : undefined);
    const { summary, events } = await site.run({ application: [APP] });
    expect(summary.outcome).toBe("done");
    expect(warningsOf(events)).toHaveLength(1);
    expect(events.filter(({ type }) => type === "retry")).toEqual([]);
    expect(await listed(store, root)).toEqual([]);
  });

  test("an attachment refers to something else than its list says", async () => {
    const site = siteWithIndex();
    const { world, store, root } = site;
    const elsewhere = world.push("reg.test/apps/other:v1", { layers: ["b"] });
    world.attach(REPOSITORY, { text: "a lie", subject: elsewhere, listedFor: root });
    const honest = world.attach(REPOSITORY, { text: "no lie", subject: root });
    const { summary, events } = await site.run({ application: [APP] });
    expect(summary.outcome).toBe("done");
    expect(warningsOf(events)[0]).toContain("does not refer to");
    expect(digestsOf(await listed(store, root))).toEqual(digestsOf([honest]));
  });

  test("an attachment is as large as an image", async () => {
    const site = siteWithIndex();
    const { world, store, root } = site;
    world.attach(REPOSITORY, { text: "x".repeat(64 * 1024 * 1024 + 1), subject: root });
    const { events, summary } = await site.run({ application: [APP] });
    expect(warningsOf(events)[0]).toContain("67.1 MB");
    expect(summary.bytesMoved).toBeLessThan(1000);
    expect(await listed(store, root)).toEqual([]);
  });

  test("there are more attachments than an image has reason to have", async () => {
    const site = siteWithIndex();
    const { world, store, root } = site;
    for (let i = 0; i <= ATTACHMENTS_MAX; i += 1) {
      world.attach(REPOSITORY, { text: `signature ${i}`, subject: root });
    }
    const { events } = await site.run({ application: [APP] });
    expect(warningsOf(events)[0]).toContain(`at most ${ATTACHMENTS_MAX}`);
    expect(await listed(store, root)).toHaveLength(ATTACHMENTS_MAX);
  });

  test("what their manifests hold is more than memory is for", async () => {
    const site = siteWithIndex();
    const { world, store, root } = site;
    const annotations = { note: "x".repeat(1024 * 1024) };
    for (let i = 0; i < 5; i += 1) {
      world.attach(REPOSITORY, { text: `signature ${i}`, subject: root, annotations });
    }
    const { events, summary } = await site.run({ application: [APP] });
    expect(summary.outcome).toBe("done");
    expect(warningsOf(events)[0]).toContain("at most 4.2 MB");
    expect(await listed(store, root)).toHaveLength(3);
  });

  test("what refers to what refers to it has no end", async () => {
    const site = siteWithIndex();
    const { world, store, root } = site;
    let subject = root;
    for (let i = 0; i < 9; i += 1) subject = world.attach(REPOSITORY, { text: `${i}`, subject });
    await site.run({ application: [APP] });
    expect(Object.keys(await namesIn(store))).toHaveLength(1 + 4);
  });
});

describe("while an image is on its way", () => {
  /** A site whose image's layer comes only when `when` allows it; `onAsked` hears what is asked for. */
  function siteThatHolds(when: Promise<unknown>, onAsked: (digest: string) => unknown) {
    const site = siteWithIndex();
    const openSource: DeliverOptions["openSource"] = ({ source }) => {
      const opened = site.world.open(source);
      return {
        ...opened,
        async fetch(content, options) {
          if (content.size === "a".length) await when;
          await onAsked(content.digest);
          return opened.fetch(content, options);
        },
      };
    };
    return { ...site, openSource };
  }

  test("what belongs to it is found and read, and nothing of it is brought", async () => {
    const read = Promise.withResolvers<void>();
    const namedAtBlobs: (readonly string[])[] = [];
    const awaited = new Set<string>();
    const ofAttachments = new Set<string>();
    const site = siteThatHolds(read.promise, async (digest) => {
      awaited.delete(digest);
      if (awaited.size === 0) read.resolve();
      if (ofAttachments.has(digest)) namedAtBlobs.push(Object.keys(await namesIn(site.store)));
    });
    const { world, root, store, openSource } = site;
    const sbom = world.attach(REPOSITORY, { text: "a bill of materials", subject: root });
    const signature = world.attach(REPOSITORY, { text: "a signature of it", subject: sbom });
    const cosigned = world.attach(REPOSITORY, { text: "of cosign", tag: cosignTag(root, "sig") });
    for (const attachment of [sbom, signature, cosigned]) {
      awaited.add(attachment.digest);
      for (const layer of await layersAt(site, attachment)) ofAttachments.add(layer);
    }
    const { summary } = await site.run({ application: [APP] }, { openSource });
    expect(summary.outcome).toBe("done");
    expect(namedAtBlobs).toHaveLength(3);
    for (const names of namedAtBlobs) expect(names).toContain(APP);
    expect(digestsOf(await listed(store, sbom))).toEqual(digestsOf([signature]));
  });

  test("what is found of it is left when the image fails, and nobody is waited for", async () => {
    const asked = Promise.withResolvers<void>();
    const site = siteThatHolds(asked.promise, () => undefined);
    const { world, root, store, openSource } = site;
    world.attach(REPOSITORY, { text: "a signature", subject: root });
    world.attach(REPOSITORY, { text: "of cosign", tag: cosignTag(root, "sig") });
    const layers = await layersAt(site, await platformIn(site));
    world.fault = ({ kind, target }) => {
      if (kind === "referrers") {
        asked.resolve();
        return { kind: "hang" };
      }
      return layers.includes(target) ? refusal(false) : undefined;
    };
    const { summary, events } = await site.run({ application: [APP] }, { openSource });
    expect(summary.failures.map(({ code }) => code)).toEqual(["registry-denied"]);
    expect(warningsOf(events)).toEqual([]);
    expect(await namesIn(store)).toEqual({});
  });
});

test("whichever request fails, the image is there, and no name stands for what is not whole", async () => {
  const images = { application: [APP] };
  const open = () => {
    const site = siteWithIndex();
    const { world, root } = site;
    const sbom = world.attach(REPOSITORY, { text: "a bill of materials", subject: root });
    world.attach(REPOSITORY, { text: "a signature of it", subject: sbom });
    world.attach(REPOSITORY, { text: "of cosign", tag: cosignTag(root, "sig") });
    return site;
  };
  const key = ({ kind, target }: ScriptedRequest) => `${kind} ${target}`;
  const bare = open();
  await bare.run(images, { attachments: "never" });
  const ofTheImage = new Set(bare.world.requests.map(key));
  const whole = open();
  await whole.run(images);
  const requests = whole.world.requests.map(key).filter((each) => !ofTheImage.has(each));
  expect(requests.length).toBeGreaterThan(10);
  const faults: readonly Fault[] = [
    refusal(false),
    { kind: "lie" },
    { kind: "cut", afterBytes: 3, failure: new Failure({ code: "cut", message: "Cut", hint: "" }) },
  ];
  for (const fault of faults) {
    for (const failing of requests) {
      const site = open();
      let isToFail = true;
      site.world.fault = (request) => {
        if (!isToFail || key(request) !== failing) return undefined;
        isToFail = false;
        return fault;
      };
      const { summary } = await site.run(images);
      expect(summary.outcome).toBe("done");
      expect(await missingIn(site.store)).toEqual([]);
      site.world.fault = undefined;
      await site.run(images);
      expect(await namesIn(site.store)).toEqual(await namesIn(whole.store));
      expect(await missingIn(site.store)).toEqual([]);
    }
  }
});

test("a delivery that is given up among attachments rejects nothing, and the next one completes it", async () => {
  const site = siteWithIndex();
  const { world, store, root } = site;
  world.attach(REPOSITORY, { text: "a signature", subject: root });
  const abort = new AbortController();
  world.fault = ({ kind }) => {
    if (kind === "referrers") abort.abort(new Error("enough"));
    return undefined;
  };
  const { summary } = await site.run({ application: [APP] }, { signal: abort.signal });
  expect(summary.outcome).toBe("interrupted");
  world.fault = undefined;
  await site.run({ application: [APP] });
  expect(await listed(store, root)).toHaveLength(1);
});

test("the size of a delivery grows by what turns out to belong to it", async () => {
  const site = siteWithIndex();
  const { world, root } = site;
  world.attach(REPOSITORY, { text: "a bill of materials", subject: root });
  const { summary, events } = await site.run({ application: [APP] });
  expect(summary.bytesMoved).toBe(summary.bytesTotal);
  const sized = events.filter((event) => event.type === "image-sized").at(-1);
  expect(sized?.bytesTotal).toBe(summary.bytesTotal);
  expect(sized?.overall).toMatchObject({ bytesTotal: summary.bytesTotal, images: 1 });
});

describe("attachmentsOf()", () => {
  async function delivered() {
    const site = siteWithIndex();
    const { world, root } = site;
    const sbom = world.attach(REPOSITORY, { text: "a bill of materials", subject: root });
    const signature = world.attach(REPOSITORY, { text: "a signature of it", subject: sbom });
    const tag = cosignTag(root, "sig");
    const cosigned = world.attach(REPOSITORY, { text: "of cosign", tag });
    await site.run({ application: [APP] });
    return { ...site, sbom, signature, tag, cosigned };
  }
  const image = (root: Descriptor) => ({
    declared: parseReference(APP),
    subjects: [root.digest, root.digest],
  });

  test("gives what the store has, what is referred to before what refers to it", async () => {
    const { store, root, sbom, signature, tag, cosigned } = await delivered();
    const found = await attachmentsOf(image(root), store, { signal });
    const shown = found.map((each) => ({
      digest: each.root.descriptor.digest,
      tag: each.tag,
      subject: each.subject,
      blobs: each.blobs.length,
      last: each.documents.at(-1)?.descriptor.digest,
    }));
    expect(shown).toEqual([
      { digest: cosigned.digest, tag, subject: undefined, blobs: 2, last: cosigned.digest },
      { digest: sbom.digest, tag: undefined, subject: root.digest, blobs: 2, last: sbom.digest },
      {
        digest: signature.digest,
        tag: undefined,
        subject: sbom.digest,
        blobs: 2,
        last: signature.digest,
      },
    ]);
  });

  test("leaves out what is not whole in the store", async () => {
    const { store, root, sbom, cosigned } = await delivered();
    const broken: Store = {
      ...store,
      has: async ({ digest }) => {
        const layers = await layersOf(store, sbom);
        return !layers.includes(digest);
      },
    };
    const found = await attachmentsOf(image(root), broken, { signal });
    expect(digestsOf(found.map((each) => each.root.descriptor))).toEqual([cosigned.digest]);
  });

  test("gives nothing for an image that has none", async () => {
    const site = siteWithIndex();
    await site.run({ application: [APP] });
    expect(await attachmentsOf(image(site.root), site.store, { signal })).toEqual([]);
  });
});

async function layersOf(store: Store, manifest: Descriptor): Promise<readonly Digest[]> {
  const document = parseDocument(await fetchVerified(store, manifest, { signal }));
  return document.kind === "manifest" ? document.layers.map(({ digest }) => digest) : [];
}

async function layersAt(site: DeliverySite, manifest: Descriptor): Promise<readonly string[]> {
  const document = parseDocument(await bytesOf(site, manifest));
  return document.kind === "manifest" ? document.layers.map(({ digest }) => digest) : [];
}

/** What the source says that the index's first platform is. */
async function platformIn(site: DeliverySite & { root: Descriptor }): Promise<Descriptor> {
  const document = parseDocument(await bytesOf(site, site.root));
  const [first] = document.kind === "index" ? document.manifests : [];
  if (first === undefined) throw new Error("It is no index");
  return { mediaType: first.mediaType, digest: first.digest, size: first.size };
}

function bytesOf({ world }: DeliverySite, content: Descriptor): Promise<Uint8Array> {
  return fetchVerified(world.open(parseReference(APP)), content, { signal });
}

/** A store as somebody carried it here on a stick. */
function folderOf(store: Store): Folder {
  return {
    path: "/mnt/stick",
    has: (content) => store.has(content),
    fetch: (content, options) => store.fetch(content, options),
    lookup: (name) => store.lookup(name),
    describe: async () => undefined,
  };
}

/** What the names of a store lead to and is not there, but for the other platform of the image. */
async function missingIn(store: Store): Promise<readonly string[]> {
  const missing: string[] = [];
  for (const { name, descriptor } of await store.names()) {
    const waiting = name === APP ? [await platformOf(store, descriptor)] : [descriptor];
    for (const content of waiting) {
      if (!(await store.has(content))) {
        missing.push(`${name}: ${content.digest}`);
        continue;
      }
      if (!content.mediaType.includes("manifest") && !content.mediaType.includes("index")) continue;
      const document = parseDocument(await fetchVerified(store, content, { signal }));
      if (document.kind === "index") waiting.push(...document.manifests);
      else waiting.push(...document.layers, ...(document.config ? [document.config] : []));
    }
  }
  return missing;
}
