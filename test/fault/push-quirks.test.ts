import { describe, expect, test } from "bun:test";
import { digestOf } from "#content";
import type { Descriptor, Digest } from "#oci";
import type { RemoteOptions } from "#remote";
import type { Reply } from "#test-support/http-server";
import { MANNERS, type Manners } from "#test-support/push-manners";
import {
  imageToPush,
  indexToPush,
  type PushedImage,
  pushImage,
  targetAt,
} from "#test-support/push-world";
import {
  fault,
  type QuirkyRegistry,
  type Received,
  startQuirkyRegistry,
} from "#test-support/quirky-registry";
import { failureOf, remoteWith, signal, user } from "#test-support/remote-world";

const MIB = 1024 * 1024;

/** More than GHCR takes in a chunk, ACR in a PUT, and than is sent in one request at first. */
const LARGE_BYTES = 25 * MIB + 17;

/** Sends chunks of 1 MiB to these tests' registries, so that a small blob has several. */
const SMALL_CHUNKS: Pick<RemoteOptions, "quirks"> = {
  quirks: [
    { name: "small", host: /^127\.0\.0\.1$/, habit: { takes: "chunks", chunkBytesMax: MIB } },
  ],
};

const inChunks = (registry: QuirkyRegistry) =>
  targetAt(registry.address, { remote: remoteWith(SMALL_CHUNKS) });

function expectHeld(registry: QuirkyRegistry, descriptors: readonly Descriptor[]): void {
  for (const { digest } of descriptors) {
    const bytes = registry.content("team/app", digest);
    expect(bytes && digestOf(bytes, digest.startsWith("sha512:") ? "sha512" : "sha256")).toBe(
      digest,
    );
  }
}

function expectImage(registry: QuirkyRegistry, { blobs, manifest }: PushedImage): void {
  expectHeld(registry, [...blobs, manifest]);
  expect(registry.tag("team/app", "1")).toBe(manifest.digest);
}

const bodies = (registry: QuirkyRegistry, method: string): readonly Received[] =>
  registry.received.filter((request) => request.method === method && request.bodyBytes > 0);

const sum = (requests: readonly Received[]) =>
  requests.reduce((bytes, { bodyBytes }) => bytes + bodyBytes, 0);

describe("an image is pushed to a registry that behaves as", () => {
  test.each(Object.entries<Manners>(MANNERS))("%s", async (_, manners) => {
    await using registry = await startQuirkyRegistry(manners);
    const image = await imageToPush([LARGE_BYTES, 100, 0]);
    await pushImage(targetAt(registry.address), image);
    expectImage(registry, image);
    expect(registry.uploads).toBe(0);
    for (const request of bodies(registry, "PATCH")) {
      expect(request.headers["content-range"]).toMatch(/^[0-9]+-[0-9]+$/);
      expect(request.headers["content-type"]).toBe("application/octet-stream");
    }
    for (const { headers, bodyBytes } of registry.received) {
      expect(headers["transfer-encoding"]).toBeUndefined();
      if (bodyBytes > 0) expect(headers["content-length"]).toBeDefined();
    }
  });

  test.each(Object.entries<Manners>(MANNERS))(
    "%s, twice: the second time no byte of a blob is sent",
    async (_, manners) => {
      await using registry = await startQuirkyRegistry(manners);
      const image = await imageToPush([2 * MIB]);
      await pushImage(targetAt(registry.address), image);
      const before = registry.received.length;
      expect(await pushImage(targetAt(registry.address), image)).toBe(0);
      const again = registry.received.slice(before).map(({ method }) => method);
      expect(again).not.toContain("POST");
      expect(again).not.toContain("PATCH");
    },
  );
});

describe("what was learned of a host is kept:", () => {
  const learned: readonly (readonly [string, Manners, string, number])[] = [
    ["chunks are refused", { patch: false }, "PATCH", 20 * MIB],
    ["a large PUT is refused", { putBytesMax: 8 * MIB }, "PUT", 12 * MIB],
    ["large chunks are refused", { patch: { bytesMax: 4 * MIB } }, "PATCH", 20 * MIB],
  ];
  test.each(learned)(
    "%s, and not tried again for the next blob",
    async (_, manners, method, size) => {
      await using registry = await startQuirkyRegistry(manners);
      const target = targetAt(registry.address);
      const refusals = () =>
        registry.received.filter((seen) => seen.method === method && seen.status >= 400).length;
      const { content, blobs } = await imageToPush([size, size + 1]);
      for (const blob of blobs.slice(0, 2)) await target.pushBlob(blob, content, { signal });
      const before = refusals();
      expect(before).toBeGreaterThan(0);
      for (const blob of blobs.slice(2)) await target.pushBlob(blob, content, { signal });
      expect(refusals()).toBe(before);
      expectHeld(registry, blobs);
    },
  );
});

describe("a location", () => {
  const forms = ["absolute", "path", "relative", "schemeless", "off-v2", "elsewhere"] as const;
  const cases = [...forms, "elsewhere-with-query" as const].flatMap((location) =>
    (["latest", undefined] as const).map(
      (state) => [location, state ? "with" : "without", state] as const,
    ),
  );
  test.each(cases)(
    "that is %s, %s a signed query, is followed to the byte",
    async (location, _, state) => {
      await using registry = await startQuirkyRegistry({ location, ...(state && { state }) });
      const image = await imageToPush([3 * MIB]);
      await pushImage(inChunks(registry), image);
      expectImage(registry, image);
      expect(bodies(registry, "PATCH").length).toBeGreaterThanOrEqual(2);
    },
  );

  test.each(["elsewhere", "elsewhere-with-query"] as const)(
    "that is %s gets the bytes and no credential",
    async (location) => {
      await using registry = await startQuirkyRegistry({ location, requestsPerToken: 1000 });
      const image = await imageToPush([MIB]);
      await pushImage(targetAt(registry.address, { access: user }), image);
      expectImage(registry, image);
      const there = registry.received.filter(({ isElsewhere }) => isElsewhere);
      expect(sum(there)).toBeGreaterThanOrEqual(MIB);
      for (const { headers } of there) expect(headers["authorization"]).toBeUndefined();
    },
  );
});

describe("a mount", () => {
  const mounting = async (manners: Manners, mountFrom = ["team/base"]) => {
    const registry = await startQuirkyRegistry(manners);
    const { content, blobs } = await imageToPush([MIB]);
    const [, layer] = blobs;
    if (layer === undefined) throw new Error("the image has a layer");
    const bytes = await new Response(await content.fetch(layer, { signal })).arrayBuffer();
    registry.putBlob("team/base", new Uint8Array(bytes));
    const access = manners.requestsPerToken === undefined ? {} : { access: user };
    const target = targetAt(registry.address, access);
    const pushed = await target.pushBlob(layer, content, { signal, mountFrom });
    expectHeld(registry, [layer]);
    expect(registry.uploads).toBe(0);
    return { registry, pushed };
  };

  test("moves no byte", async () => {
    const { registry, pushed } = await mounting({});
    await using _ = registry;
    expect(pushed).toEqual({ outcome: "mounted", bytesSent: 0 });
    expect(registry.received.filter(({ method }) => method === "POST")).toHaveLength(1);
  });

  test("asks for a token that may read the other repository", async () => {
    const { registry, pushed } = await mounting({ requestsPerToken: 1000 });
    await using _ = registry;
    expect(pushed.outcome).toBe("mounted");
    const asked = registry.received.filter(({ target }) => target.startsWith("/token"));
    expect(asked.map(({ target }) => decodeURIComponent(target)).join("\n")).toContain(
      "repository:team/base:pull",
    );
  });

  test.each([401, 403, 404, 405, 409, 500, 501, "opens-session", "needs-from"] as const)(
    "that ends in %p is no failure: the blob is sent, or taken from a repository that has it",
    async (mount) => {
      const { registry, pushed } = await mounting({ mount });
      await using _ = registry;
      expect(pushed.outcome).toBe(mount === "needs-from" ? "mounted" : "sent");
    },
  );

  test("from a repository that has it not goes on in the session that was opened", async () => {
    const { registry, pushed } = await mounting({}, ["team/empty"]);
    await using _ = registry;
    expect(pushed.outcome).toBe("sent");
    expect(registry.received.filter(({ method }) => method === "POST")).toHaveLength(1);
  });

  test("is never asked for without the repository it is from", async () => {
    const { registry } = await mounting({ mount: "needs-from" }, []);
    await using _ = registry;
    for (const { target } of registry.received) expect(target).not.toContain("mount=");
  });
});

describe("a chunk", () => {
  const ranges = ["blob", "chunk", "first", "none", "with-unit", "exclusive"] as const;
  const cases = ranges.flatMap((range) =>
    ([201, 202, 204] as const).map((status) => [status, range] as const),
  );
  test.each(cases)(
    "that is answered %i with a Range of kind %s is not sent again",
    async (status, range) => {
      await using registry = await startQuirkyRegistry({ patch: { status, range } });
      const image = await imageToPush([4 * MIB]);
      expect(await pushImage(inChunks(registry), image)).toBeLessThan(4 * MIB + 1000);
      expectImage(registry, image);
    },
  );

  test("is as large as the registry asks", async () => {
    await using registry = await startQuirkyRegistry({ patch: { bytesMin: 2 * MIB } });
    const image = await imageToPush([7 * MIB]);
    await pushImage(inChunks(registry), image);
    expectImage(registry, image);
    for (const { bodyBytes } of bodies(registry, "PATCH").slice(0, -1)) {
      expect(bodyBytes).toBeGreaterThanOrEqual(2 * MIB);
    }
  });
});

describe("a chunk that is cut", () => {
  /** Cuts the third chunk, once. */
  const cutOnce = (registry: QuirkyRegistry, afterBytes = 300_000) => {
    let chunks = 0;
    registry.interfere = ({ method }) => {
      if (method !== "PATCH") return undefined;
      chunks += 1;
      return chunks === 3 ? { cutBodyAfter: afterBytes } : undefined;
    };
  };

  test("goes on at the byte where the registry keeps what came", async () => {
    await using registry = await startQuirkyRegistry({ state: "any" });
    cutOnce(registry);
    const image = await imageToPush([5 * MIB]);
    const told: number[] = [];
    const [, layer] = image.blobs;
    if (layer === undefined) throw new Error("the image has a layer");
    await inChunks(registry).pushBlob(layer, image.content, {
      signal,
      onProgress: (bytes) => told.push(bytes),
    });
    expectHeld(registry, [layer]);
    expect(sum(bodies(registry, "PATCH")) + sum(bodies(registry, "PUT"))).toBeLessThan(5.5 * MIB);
    expect(told.reduce((a, b) => a + b, 0)).toBe(layer.size);
  });

  const startsAnew: readonly (readonly [string, Manners])[] = [
    ["forgets the upload", { forgetsCutUploads: true }],
    ["takes it where its query says, and nowhere else", { state: "latest" }],
    ["won't say how far it is", { status: 405 }],
    ["knows the upload no more", { status: 404 }],
    ["says 0-0 whatever it has", { status: "zero-zero" }],
  ];
  test.each(startsAnew)(
    "does not keep the push from its end where the registry %s",
    async (_, manners) => {
      await using registry = await startQuirkyRegistry(manners);
      cutOnce(registry);
      const image = await imageToPush([5 * MIB]);
      const told: number[] = [];
      for (const blob of image.blobs) {
        await inChunks(registry).pushBlob(blob, image.content, {
          signal,
          onProgress: (bytes) => told.push(bytes),
        });
      }
      expectHeld(registry, image.blobs);
      const size = image.blobs.reduce((bytes, blob) => bytes + blob.size, 0);
      expect(told.reduce((a, b) => a + b, 0)).toBe(size);
    },
  );

  test("is gone on with at what the registry has, when only its answer was lost", async () => {
    await using registry = await startQuirkyRegistry({ state: "any" });
    let chunks = 0;
    registry.interfere = ({ method }) => {
      if (method !== "PATCH") return undefined;
      chunks += 1;
      return chunks === 2 ? { isLate: true, reply: "cut" } : undefined;
    };
    const image = await imageToPush([5 * MIB]);
    await pushImage(inChunks(registry), image);
    expectImage(registry, image);
    expect(sum(bodies(registry, "PATCH")) + sum(bodies(registry, "PUT"))).toBeLessThan(
      5 * MIB + 1000,
    );
  });
});

describe("the upload of a blob survives that", () => {
  const nth =
    (method: string, ordinal: number, act: (registry: QuirkyRegistry) => Reply | undefined) =>
    (registry: QuirkyRegistry) => {
      let seen = 0;
      registry.interfere = (request) => {
        if (request.method !== method) return undefined;
        seen += 1;
        return seen === ordinal ? act(registry) : undefined;
      };
    };
  const html: Reply = {
    status: 502,
    headers: { "Content-Type": "text/html" },
    body: "<h1>Bad Gateway</h1>",
  };
  const cases: readonly (readonly [string, (registry: QuirkyRegistry) => void])[] = [
    [
      "the registry restarts and forgets it",
      nth("PATCH", 2, (registry) => void registry.forgetUploads()),
    ],
    [
      "the registry forgets it at its end",
      nth("PUT", 1, (registry) => void registry.forgetUploads()),
    ],
    ["a proxy answers a chunk with a web page", nth("PATCH", 2, () => html)],
    ["a proxy answers the beginning with a web page", nth("POST", 1, () => html)],
    ["a proxy answers the end with a web page", nth("PUT", 1, () => html)],
    ["the beginning is cut", nth("POST", 1, () => "cut")],
    ["the end is cut", nth("PUT", 1, () => "cut")],
    ["the first look is cut", nth("HEAD", 1, () => "cut")],
    [
      "it is told to wait",
      nth("PATCH", 2, () => fault(429, "TOOMANYREQUESTS", "slow down", { "Retry-After": 1 })),
    ],
  ];
  test.each(cases)("%s", async (_, arrange) => {
    await using registry = await startQuirkyRegistry();
    arrange(registry);
    const image = await imageToPush([4 * MIB]);
    await pushImage(inChunks(registry), image);
    expectImage(registry, image);
  });

  test("its token ends again and again", async () => {
    await using registry = await startQuirkyRegistry({ requestsPerToken: 3, state: "latest" });
    const image = await imageToPush([6 * MIB]);
    const remote = remoteWith(SMALL_CHUNKS);
    await pushImage(targetAt(registry.address, { remote, access: user }), image);
    expectImage(registry, image);
  });

  test("the answer to its end was lost: what is there is found and not sent again", async () => {
    await using registry = await startQuirkyRegistry();
    let isLost = false;
    registry.interfere = ({ method, target }) => {
      if (isLost || method !== "PUT" || !target.includes("digest=")) return undefined;
      isLost = true;
      return { isLate: true, reply: "cut" };
    };
    const { content, blobs } = await imageToPush([4 * MIB]);
    const [, layer] = blobs;
    if (layer === undefined) throw new Error("the image has a layer");
    await inChunks(registry).pushBlob(layer, content, { signal });
    expectHeld(registry, [layer]);
    expect(sum(registry.received.slice(0))).toBeLessThan(4 * MIB + 1000);
  });
});

describe("a registry that does not keep its word is caught:", () => {
  const lies: readonly (readonly [NonNullable<Manners["lies"]>, string])[] = [
    ["blob-not-stored", "blob"],
    ["blob-digest", "blob"],
    ["manifest-not-stored", "manifest"],
    ["manifest-digest", "manifest"],
  ];
  test.each(lies)("%s", async (lie) => {
    await using registry = await startQuirkyRegistry({ lies: lie });
    const image = await imageToPush([MIB]);
    const failure = await failureOf(pushImage(targetAt(registry.address), image));
    expect(failure.message).toContain(registry.address);
    expect(failure.message).toMatch(/sha256:[0-9a-f]{64}/);
    expect(failure.hint).not.toBe("");
  });
});

describe("a refusal is named with registry and remedy:", () => {
  const page: Reply = {
    status: 503,
    headers: { "Content-Type": "text/html" },
    body: "<html><b>no space",
  };
  const cases: readonly (readonly [string, Reply, string])[] = [
    [
      "quota of a Harbor project",
      fault(
        412,
        "PRECONDITION_FAILED",
        "adding 25.0 MiB of storage resource, which when updated to current usage of 4.9 GiB will exceed the configured upper limit of 5.0 GiB.",
      ),
      "registry-full",
    ],
    [
      "quota as a denial",
      fault(
        403,
        "DENIED",
        "adding 3 MiB of storage resource, which when updated to current usage of 9 MiB will exceed the configured upper limit of 10 MiB.",
      ),
      "registry-full",
    ],
    [
      "no right to push",
      fault(403, "DENIED", "requested access to the resource is denied"),
      "push-denied",
    ],
    [
      "a Harbor that is read-only",
      fault(503, "UNAVAILABLE", "The system is in read only mode. Any modification is prohibited."),
      "registry-read-only",
    ],
    [
      "no such project",
      fault(404, "NOT_FOUND", "project spectro-images not found"),
      "project-missing",
    ],
    [
      "a disk that is full",
      fault(500, "UNKNOWN", "write /storage/docker: no space left on device"),
      "registry-full",
    ],
    ["a page of a proxy that stays", page, "registry-error"],
  ];
  test.each(cases)("%s", async (_, reply, code) => {
    await using registry = await startQuirkyRegistry();
    registry.interfere = ({ method }) =>
      method === "POST" || method === "PATCH" || method === "PUT" ? reply : undefined;
    const image = await imageToPush([MIB]);
    const failure = await failureOf(pushImage(targetAt(registry.address), image));
    expect(failure.code).toBe(code);
    expect(failure.message).toContain(registry.address);
    expect(failure.message).not.toContain("<");
    expect(failure.hint).not.toBe("");
  });

  test("a tag that is immutable", async () => {
    await using registry = await startQuirkyRegistry({ hasImmutableTags: true });
    const [first, second] = [
      await imageToPush([100], { seed: "a" }),
      await imageToPush([100], { seed: "b" }),
    ];
    await pushImage(targetAt(registry.address), first);
    await pushImage(targetAt(registry.address), first);
    const failure = await failureOf(pushImage(targetAt(registry.address), second));
    expect(failure.code).toBe("tag-immutable");
    expect(registry.tag("team/app", "1")).toBe(first.manifest.digest);
  });

  test("an index with platforms that are absent", async () => {
    await using registry = await startQuirkyRegistry({ refusesAbsentChildren: true });
    const target = targetAt(registry.address);
    const image = await imageToPush([100]);
    const digest = digestOf(Buffer.from("absent"));
    const index = await indexToPush([image.manifest, { ...image.manifest, digest }]);
    await pushImage(target, image);
    const pushed = target.pushManifest(index.manifest, index.manifestBytes, { signal, tag: "all" });
    const failure = await failureOf(pushed);
    expect(failure.code).toBe("manifest-blob-unknown");
    expect(failure.message).toContain(digest);
    registry.manners = {};
    await target.pushManifest(index.manifest, index.manifestBytes, { signal, tag: "all" });
    expect(registry.tag("team/app", "all")).toBe(index.manifest.digest);
  });
});

describe("a manifest with a subject", () => {
  const fallbackTag = (digest: Digest) => digest.replace(":", "-");

  test.each([true, false])(
    "is found by its subject (a registry with a list of referrers: %p)",
    async (hasReferrers) => {
      await using registry = await startQuirkyRegistry({ hasReferrers });
      const target = targetAt(registry.address);
      const image = await imageToPush([100]);
      await pushImage(target, image);
      const { mediaType, digest, size } = image.manifest;
      const subject = { mediaType, digest, size };
      const signature = (seed: string) =>
        imageToPush([10], { seed, more: { subject, artifactType: "application/x.signature" } });
      const [one, two] = [await signature("one"), await signature("two")];
      for (const referrer of [one, two, one]) {
        for (const blob of referrer.blobs)
          await target.pushBlob(blob, referrer.content, { signal });
        await target.pushManifest(referrer.manifest, referrer.manifestBytes, { signal });
      }
      const found = (await target.referrers?.(digest, { signal })) ?? [];
      const digests = [one, two].map(({ manifest }) => manifest.digest);
      expect(found.map((referrer) => referrer.digest).toSorted()).toEqual(digests.toSorted());
      expect(registry.tag("team/app", fallbackTag(digest)) !== undefined).toBe(!hasReferrers);
    },
  );
});
