import { describe, expect, test } from "bun:test";
import { targetConformance } from "#content/conformance";
import { type Reply, startHttpServer } from "#test-support/http-server";
import { imageToPush, type PushedImage, pushImage, targetAt } from "#test-support/push-world";
import { fault, startQuirkyRegistry } from "#test-support/quirky-registry";
import { failureOf, PASSWORD, remoteWith, signal, user } from "#test-support/remote-world";
import { startWritableRegistry } from "#test-support/writable-registry";

targetConformance("Remote.target() before our own registry", async () => {
  const registry = startWritableRegistry();
  return {
    target: (repository) => targetAt(registry.address, { repository }),
    [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose](),
  };
});

targetConformance("Remote.target() before a registry without a list of referrers", async () => {
  const registry = await startQuirkyRegistry({ forgetsCutUploads: true, state: "latest" });
  return {
    target: (repository) => targetAt(registry.address, { repository }),
    [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose](),
  };
});

const LAYER_BYTES = 200_000;

function layerOf({ blobs }: PushedImage) {
  const [, layer] = blobs;
  if (layer === undefined) throw new Error("the image has a layer");
  return layer;
}

describe("where an upload goes on", () => {
  const refused = [
    "http://169.254.169.254/latest/meta-data",
    "http://registry.example/upload",
    "https://user:word@registry.example/upload",
    "ftp://registry.example/upload",
  ];
  test.each(refused)("is not %s: no byte goes there", async (location) => {
    await using registry = await startQuirkyRegistry();
    registry.interfere = ({ method }) =>
      method === "POST" ? { status: 202, headers: { Location: location } } : undefined;
    const image = await imageToPush([LAYER_BYTES]);
    const pushing = targetAt(registry.address).pushBlob(layerOf(image), image.content, { signal });
    const failure = await failureOf(pushing);
    expect(failure.code).toBe("redirect-refused");
    expect(failure.message).not.toContain("word");
  });

  test("may be told by a redirect: the body is made anew (C-43)", async () => {
    const received: string[] = [];
    await using registry = await startHttpServer(async ({ method, target, headers }, body) => {
      let bytes = 0;
      for await (const piece of body) bytes += piece.byteLength;
      received.push(`${method} ${target.split("?")[0]} ${bytes} ${headers["authorization"] ?? ""}`);
      if (method === "HEAD") {
        const isThere = received.length > 2;
        return { status: isThere ? 200 : 404, headers: { "Content-Length": LAYER_BYTES } };
      }
      if (method === "POST") return { status: 202, headers: { Location: "/up" } };
      if (target.startsWith("/up?")) return { status: 307, headers: { Location: "/there" } };
      return { status: 201 };
    });
    const image = await imageToPush([LAYER_BYTES]);
    const layer = layerOf(image);
    await targetAt(registry.address).pushBlob(layer, image.content, { signal });
    expect(received.slice(2, 4)).toEqual([`PUT /up ${layer.size} `, `PUT /there ${layer.size} `]);
  });
});

test("a source that breaks is no fault of the network, and is told as it is", async () => {
  await using registry = await startQuirkyRegistry();
  const image = await imageToPush([LAYER_BYTES]);
  const error = new TypeError("a bug in the source");
  let opened = 0;
  const broken = {
    async fetch() {
      opened += 1;
      return new ReadableStream<Uint8Array>({ pull: () => Promise.reject(error) });
    },
  };
  const pushing = targetAt(registry.address).pushBlob(layerOf(image), broken, { signal });
  await expect(pushing).rejects.toBe(error);
  expect(opened).toBe(1);
});

describe("a list of referrers under its tag", () => {
  const signatureOf = (image: PushedImage, seed: string) => {
    const { mediaType, digest, size } = image.manifest;
    return imageToPush([10], { seed, more: { subject: { mediaType, digest, size } } });
  };
  const tagOf = ({ manifest }: PushedImage) => manifest.digest.replace(":", "-");

  test("loses no entry when several are added at once, by several targets", async () => {
    await using registry = await startQuirkyRegistry();
    const remote = remoteWith();
    const image = await imageToPush([100]);
    await pushImage(targetAt(registry.address, { remote }), image);
    const seeds = ["a", "b", "c", "d", "e"];
    const signatures = await Promise.all(seeds.map((seed) => signatureOf(image, seed)));
    await Promise.all(
      signatures.map((signature, i) =>
        pushImage(targetAt(registry.address, { remote }), signature, `signature-${i}`),
      ),
    );
    const target = targetAt(registry.address, { remote });
    const listed = await target.referrers?.(image.manifest.digest, { signal });
    const digests = signatures.map(({ manifest }) => manifest.digest);
    expect(listed?.map(({ digest }) => digest).toSorted()).toEqual(digests.toSorted());
  });

  test("loses no entry to other agents where the registry heeds If-Match (C-122)", async () => {
    await using registry = await startQuirkyRegistry({ etags: "heeded" });
    const image = await imageToPush([100]);
    await pushImage(targetAt(registry.address), image);
    const seeds = ["a", "b", "c", "d", "e"];
    const [first, ...others] = await Promise.all(seeds.map((seed) => signatureOf(image, seed)));
    if (first === undefined) throw new Error("there are seeds");
    await pushImage(targetAt(registry.address), first, "signature");
    await Promise.all(
      others.map((signature, i) =>
        pushImage(targetAt(registry.address, { remote: remoteWith() }), signature, `other-${i}`),
      ),
    );
    const listed = await targetAt(registry.address).referrers?.(image.manifest.digest, { signal });
    const digests = [first, ...others].map(({ manifest }) => manifest.digest);
    expect(listed?.map(({ digest }) => digest).toSorted()).toEqual(digests.toSorted());
  });

  test("is written where the registry does not know the ETag that it gave", async () => {
    await using registry = await startQuirkyRegistry({ etags: "never-known" });
    const target = targetAt(registry.address);
    const image = await imageToPush([100]);
    await pushImage(target, image);
    for (const seed of ["a", "b"]) await pushImage(target, await signatureOf(image, seed), seed);
    expect(await target.referrers?.(image.manifest.digest, { signal })).toHaveLength(2);
  });

  test("is not written over what else stands there: referrers-tag-taken", async () => {
    await using registry = await startQuirkyRegistry();
    const target = targetAt(registry.address);
    const image = await imageToPush([100]);
    await pushImage(target, image);
    await pushImage(target, image, tagOf(image));
    const failure = await failureOf(pushImage(target, await signatureOf(image, "a"), "signature"));
    expect(failure.code).toBe("referrers-tag-taken");
    expect(registry.tag("team/app", tagOf(image))).toBe(image.manifest.digest);
  });
});

test("a tag that somebody else moves right after the push is told as that, and not as lost", async () => {
  await using registry = await startQuirkyRegistry();
  const [image, other] = [await imageToPush([100]), await imageToPush([100], { seed: "other" })];
  const { manifestBytes: bytes, manifest } = other;
  registry.interfere = ({ method, target }) => {
    const isPushed = registry.tag("team/app", "1") === image.manifest.digest;
    if (method === "HEAD" && target.endsWith("/manifests/1") && isPushed) {
      registry.putManifest("team/app", "1", bytes, manifest.mediaType);
    }
    return undefined;
  };
  const failure = await failureOf(pushImage(targetAt(registry.address), image));
  expect(failure.code).toBe("tag-moved");
  expect(failure.message).toStartWith(`Cannot push "${registry.address}/team/app:1": the tag`);
});

test("what is looked for before a push is told as a push", async () => {
  await using registry = await startQuirkyRegistry();
  registry.interfere = () => ({ status: 401, headers: { "WWW-Authenticate": 'Basic realm="r"' } });
  const failure = await failureOf(targetAt(registry.address).resolve("1", { signal }));
  expect(failure.code).toBe("registry-unauthorized");
  expect(failure.message).toStartWith(`Cannot push "${registry.address}/team/app:1": `);
});

test("a page that is the answer to everything is no registry that has it all", async () => {
  const type = { "Content-Type": "text/html" };
  await using portal = await startHttpServer(async ({ method }) =>
    method === "HEAD"
      ? { status: 200, headers: { ...type, "Transfer-Encoding": "chunked" } }
      : { status: 200, headers: type, body: "<h1>Log in" },
  );
  const { content, manifest, manifestBytes, ...image } = await imageToPush([LAYER_BYTES]);
  const [blob] = image.blobs;
  if (blob === undefined) throw new Error("the image has blobs");
  const target = targetAt(portal.address);
  expect(await target.has(blob, { signal })).toBe(false);
  const pushing = [
    target.pushBlob(blob, content, { signal }),
    target.pushManifest(manifest, manifestBytes, { signal }),
  ];
  const codes = await Promise.all(pushing.map(async (each) => (await failureOf(each)).code));
  expect(codes).toEqual(["registry-protocol", "push-not-stored"]);
});

test("a mounted blob of another size is sent", async () => {
  await using registry = await startQuirkyRegistry();
  const { content, ...image } = await imageToPush([LAYER_BYTES]);
  const [, blob] = image.blobs;
  if (blob === undefined) throw new Error("the image has a layer");
  registry.interfere = ({ method, target }) => {
    if (method !== "POST" || !target.includes("mount=")) return undefined;
    registry.interfere = ({ method }) => {
      if (method !== "HEAD") return undefined;
      registry.interfere = undefined;
      return { status: 200, headers: { "Content-Length": LAYER_BYTES - 1 } };
    };
    return { status: 201 };
  };
  const options = { signal, mountFrom: ["team/base"] };
  const pushed = await targetAt(registry.address).pushBlob(blob, content, options);
  expect(pushed).toEqual({ outcome: "sent", bytesSent: LAYER_BYTES });
});

/** What distribution 2.8 says of an error of its disk, word for word. */
function diskError(errno: number): Exclude<Reply, "cut"> {
  const Enclosed = { Op: "mkdir", Path: "/var/lib/registry/docker", Err: errno };
  const detail = { DriverName: "filesystem", Enclosed };
  return {
    status: 500,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ errors: [{ code: "UNKNOWN", message: "unknown error", detail }] }),
  };
}

describe("what a registry refuses is named:", () => {
  const cases: readonly (readonly [string, Exclude<Reply, "cut">, string])[] = [
    ["a wrong password", { status: 401 }, "registry-unauthorized"],
    ["no right", fault(403, "DENIED", "access denied"), "push-denied"],
    ["a body too large", { status: 413, body: "<h1>413" }, "push-too-large"],
    ["no room, by status", { status: 507, body: "<html>" }, "registry-full"],
    ["no room, on a page", { status: 500, body: "<p>No space left on device" }, "registry-full"],
    ["no room, by the number of docker-registry 2.8", diskError(28), "registry-full"],
    ["no writes", { status: 405 }, "registry-read-only"],
    ["no writes, by that number", diskError(30), "registry-read-only"],
    [
      "no repository of ECR",
      fault(404, "NAME_UNKNOWN", "The repository does not exist"),
      "project-missing",
    ],
    ["too many requests", fault(429, "TOOMANYREQUESTS", "quota exceeded"), "registry-rate-limited"],
    ["no project of Harbor", fault(404, "NOT_FOUND", "project site not found"), "project-missing"],
  ];
  test.each(cases)("%s", async (_, reply, code) => {
    await using registry = await startQuirkyRegistry();
    registry.interfere = ({ method }) => (method === "POST" ? reply : undefined);
    const image = await imageToPush([LAYER_BYTES]);
    const pushing = targetAt(registry.address).pushBlob(layerOf(image), image.content, { signal });
    const failure = await failureOf(pushing);
    expect(failure.code).toBe(code);
    expect(failure.message).toStartWith(`Cannot push "${registry.address}/team/app@sha256:`);
    expect(failure.message).not.toContain("<");
    expect(failure.hint).toContain(registry.address);
  });

  const names = [
    "site/quota-operator",
    "site/readonly/immutable-tags",
    "site/project-not-found/app",
  ];
  test.each(names)("not by the name that it repeats: %s", async (repository) => {
    await using registry = await startQuirkyRegistry();
    const [project, ...rest] = repository.split("/");
    const words = `${repository}:1 of ${project}, artifact ${rest.join("/")}: not for you`;
    registry.interfere = ({ method }) =>
      method === "PUT" || method === "POST" ? fault(403, "DENIED", words) : undefined;
    const image = await imageToPush([LAYER_BYTES]);
    const target = targetAt(registry.address, { repository });
    const failures = [
      await failureOf(target.pushBlob(layerOf(image), image.content, { signal })),
      await failureOf(
        target.pushManifest(image.manifest, image.manifestBytes, { signal, tag: "1.2-readonly" }),
      ),
    ];
    expect(failures.map(({ code }) => code)).toEqual(["push-denied", "push-denied"]);
  });

  test("in words that are bounded, escaped, and without the password", async () => {
    await using registry = await startQuirkyRegistry();
    const said = `\u001b[31m ${PASSWORD} ${"x".repeat(100_000)}`;
    registry.interfere = ({ method, headers }) => {
      if (headers["authorization"] === undefined) {
        return { status: 401, headers: { "WWW-Authenticate": 'Basic realm="r"' } };
      }
      return method === "POST" ? fault(403, "DENIED", said.slice(0, 5_000)) : undefined;
    };
    const image = await imageToPush([LAYER_BYTES]);
    const target = targetAt(registry.address, { access: user });
    const failure = await failureOf(target.pushBlob(layerOf(image), image.content, { signal }));
    expect(failure.code).toBe("push-denied");
    expect(failure.message).toContain("\\u001b[31m [secret] xxx");
    expect(failure.message.length).toBeLessThan(800);
    expect(failure.hint).toContain("site:credentials[0]");
  });

  test("a manifest that misses content, with the digests, a few of many", async () => {
    await using registry = await startQuirkyRegistry();
    const digests = Array.from({ length: 50 }, (_, i) => `sha256:${String(i).padStart(64, "0")}`);
    const errors = digests.map((digest) => ({ code: "MANIFEST_BLOB_UNKNOWN", detail: { digest } }));
    registry.interfere = ({ method, target }) =>
      method === "PUT" && target.includes("/manifests/")
        ? { status: 404, body: JSON.stringify({ errors }) }
        : undefined;
    const image = await imageToPush([LAYER_BYTES]);
    const failure = await failureOf(pushImage(targetAt(registry.address), image));
    expect(failure.code).toBe("manifest-blob-unknown");
    expect(failure.message).toContain(`it misses ${digests[0]}, ${digests[1]}`);
    expect(failure.message).toContain(`${digests[4]} and 45 more, expected`);
  });
});
