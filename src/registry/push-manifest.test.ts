import { beforeEach, describe, expect, test } from "bun:test";
import { createMemoryStore, digestOf, type MemoryStore } from "#content";
import { DOCKER_MANIFEST, MANIFEST_BYTES_MAX, OCI_INDEX, OCI_MANIFEST } from "#oci";
import { createRegistry } from "#registry";
import { buildImage } from "#test-support/images";
import { errorOf, manifestOf, type PushedManifest, PushingClient } from "#test-support/pushing";

const R = "team/app";

let store: MemoryStore;
let client: PushingClient;

beforeEach(() => {
  store = createMemoryStore();
  client = new PushingClient(createRegistry({ store }));
});

async function expectServed(reference: string, manifest: PushedManifest): Promise<void> {
  for (const method of ["GET", "HEAD"]) {
    const response = await client.send(method, `/v2/${R}/manifests/${reference}`);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe(manifest.mediaType);
    expect(response.headers.get("content-length")).toBe(String(manifest.bytes.byteLength));
    expect(response.headers.get("docker-content-digest")).toBe(manifest.digest);
    const body = new Uint8Array(await response.arrayBuffer());
    expect(body).toEqual(method === "GET" ? manifest.bytes : new Uint8Array());
  }
}

describe("a manifest that is pushed", () => {
  test("by tag is served by tag and digest, byte for byte, with what pullers need", async () => {
    const image = await client.image(R, "a", { annotations: { a: "ä" } });
    const response = await client.manifest(R, "v1", image);
    expect(response.status).toBe(201);
    expect(response.headers.get("docker-content-digest")).toBe(image.digest);
    expect(response.headers.get("location")).toBe(`/v2/${R}/manifests/${image.digest}`);
    expect(response.headers.get("oci-subject")).toBeNull();
    await expectServed("v1", image);
    await expectServed(image.digest, image);
    const none = { "if-none-match": `"${image.digest}"` };
    const same = await client.send("GET", `/v2/${R}/manifests/v1`, { headers: none });
    expect(same.status).toBe(304);
    const other = { accept: OCI_INDEX };
    const refused = await client.send("GET", `/v2/${R}/manifests/v1`, { headers: other });
    expect(await errorOf(refused)).toBe("404 MANIFEST_UNKNOWN");
  });

  test("by digest has no tag, under sha512 too", async () => {
    for (const algorithm of ["sha256", "sha512"] as const) {
      const image = await client.image(R, algorithm, {}, algorithm);
      expect((await client.manifest(R, image.digest, image)).status).toBe(201);
      await expectServed(image.digest, image);
    }
    expect(await (await client.send("GET", `/v2/${R}/tags/list`)).json()).toEqual({
      name: R,
      tags: [],
    });
  });

  test("by digest sets the tags that the query names, and says so", async () => {
    const image = await client.image(R, "a", {}, "sha512");
    const response = await client.manifest(R, `${image.digest}?tag=v1&tag=latest&tag=v1`, image);
    expect(response.headers.get("oci-tag")).toBe("v1, latest");
    for (const tag of ["v1", "latest"]) await expectServed(tag, image);
    const bad = await client.manifest(R, `${image.digest}?tag=ok&tag=.bad`, image);
    expect(await errorOf(bad)).toBe("400 MANIFEST_INVALID");
    expect((await client.send("GET", `/v2/${R}/manifests/ok`)).status).toBe(404);
  });

  test("again moves the tag, and the one before stays by digest", async () => {
    const [one, two] = [await client.image(R, "1"), await client.image(R, "2")];
    for (const image of [one, two]) await client.manifest(R, "latest", image);
    await expectServed("latest", two);
    await expectServed(one.digest, one);
  });

  test("is served only where it was pushed", async () => {
    const image = await client.image(R, "a");
    await client.manifest(R, "v1", image);
    for (const reference of ["v1", image.digest]) {
      const elsewhere = await client.send("GET", `/v2/team/other/manifests/${reference}`);
      expect(await errorOf(elsewhere)).toBe("404 NAME_UNKNOWN");
    }
  });

  test("into another project is found by a mirror whose address names the project", async () => {
    const image = await client.image("site-images/quay.io/team/x", "a");
    await client.manifest("site-images/quay.io/team/x", "v1", image);
    const path = "/v2/site-images/quay.io/team/x/manifests/v1?ns=quay.io";
    expect((await client.send("GET", path)).status).toBe(200);
  });

  test("into the project is one with the bare name", async () => {
    const registry = createRegistry({ store, project: "spectro-images" });
    const inProject = new PushingClient(registry);
    const image = await inProject.image("spectro-images/quay.io/team/x", "a");
    await inProject.manifest("spectro-images/quay.io/team/x", "v1", image);
    for (const path of ["quay.io/team/x/manifests/v1", "team/x/manifests/v1?ns=quay.io"]) {
      expect((await inProject.send("GET", `/v2/${path}`)).status).toBe(200);
    }
  });
});

describe("an artifact", () => {
  const EMPTY_JSON = new TextEncoder().encode("{}");
  const emptyEntry = () => ({
    mediaType: "application/vnd.oci.empty.v1+json",
    digest: digestOf(EMPTY_JSON),
    size: 2,
  });

  const shapes: readonly (readonly [string, object, string])[] = [
    ["without layers", { config: emptyEntry(), layers: [], artifactType: "a/b" }, OCI_MANIFEST],
    ["of fields that nobody knows", { config: emptyEntry(), layers: [], x: [1] }, OCI_MANIFEST],
    [
      "with its data inside",
      { config: { ...emptyEntry(), data: "e30=" }, layers: [] },
      OCI_MANIFEST,
    ],
    ["that is an empty index", { manifests: [] }, OCI_INDEX],
    ["that is an index with a type", { manifests: [], artifactType: "a/b" }, OCI_INDEX],
    ["without a subject that is here", { manifests: [], subject: emptyEntry() }, OCI_INDEX],
  ];
  test.each(shapes)("%s is taken", async (_, more, mediaType) => {
    await client.blob(R, EMPTY_JSON);
    const artifact = manifestOf({ schemaVersion: 2, mediaType, ...more }, mediaType);
    expect((await client.manifest(R, "v1", artifact)).status).toBe(201);
    await expectServed("v1", artifact);
  });

  test("that does not say its type is of the one that the request says", async () => {
    await client.blob(R, EMPTY_JSON);
    const document = { schemaVersion: 2, config: emptyEntry(), layers: [] };
    for (const mediaType of [OCI_MANIFEST, DOCKER_MANIFEST]) {
      const artifact = manifestOf(document, mediaType);
      expect((await client.manifest(R, "v1", artifact)).status).toBe(201);
      await expectServed("v1", artifact);
    }
  });

  test("may name layers that no registry holds", async () => {
    await client.blob(R, EMPTY_JSON);
    const mediaType = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    const layers = [{ mediaType, digest: digestOf(new Uint8Array(1)), size: 1 }];
    const artifact = manifestOf({ schemaVersion: 2, config: emptyEntry(), layers }, OCI_MANIFEST);
    expect((await client.manifest(R, "v1", artifact)).status).toBe(201);
  });
});

describe("an index", () => {
  test("needs its manifests in this repository; nested ones as well", async () => {
    const image = await client.image(R, "a");
    const index = manifestOf(
      { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [image.descriptor] },
      OCI_INDEX,
    );
    const nested = manifestOf(
      { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [index.descriptor] },
      OCI_INDEX,
    );
    expect(await errorOf(await client.manifest(R, "v1", index))).toBe("400 MANIFEST_BLOB_UNKNOWN");
    for (const manifest of [image, index, nested]) {
      expect((await client.manifest(R, manifest.digest, manifest)).status).toBe(201);
    }
    await expectServed(nested.digest, nested);
    const elsewhere = await client.manifest("team/other", "v1", index);
    expect(await errorOf(elsewhere)).toBe("400 MANIFEST_BLOB_UNKNOWN");
  });

  test("may list layers, as BuildKit's cache does", async () => {
    const bytes = new TextEncoder().encode("layer");
    const mediaType = "application/vnd.oci.image.layer.v1.tar+gzip";
    const manifests = [{ mediaType, digest: await client.blob(R, bytes), size: 5 }];
    const cache = manifestOf({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }, OCI_INDEX);
    expect((await client.manifest(R, "cache", cache)).status).toBe(201);
  });
});

describe("a manifest is refused", () => {
  const valid = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] };
  const cases: readonly (readonly [string, unknown, string])[] = [
    ["that is no JSON", "<html>", OCI_INDEX],
    ["that is no object", "[]", OCI_INDEX],
    ["that is nothing", "", OCI_INDEX],
    ["that begins with a byte order mark", `\ufeff${JSON.stringify(valid)}`, OCI_INDEX],
    ["of another type than the request says", valid, OCI_MANIFEST],
    ["of a type that says nothing", valid, "application/json"],
    ["of a type that is none", { ...valid, mediaType: "text/html" }, "text/html"],
    [
      "of schema 1",
      { schemaVersion: 1, fsLayers: [] },
      "application/vnd.docker.distribution.manifest.v1+json",
    ],
    ["that is image and index at once", { ...valid, config: {}, layers: [] }, OCI_INDEX],
    ["that is an image without a config", { schemaVersion: 2, layers: [] }, OCI_MANIFEST],
    [
      "with a digest that leads elsewhere",
      { ...valid, manifests: [{ mediaType: OCI_MANIFEST, digest: "sha256:../../x", size: 1 }] },
      OCI_INDEX,
    ],
    [
      "with a digest in upper case",
      {
        ...valid,
        subject: { mediaType: OCI_MANIFEST, digest: `sha256:${"A".repeat(64)}`, size: 1 },
      },
      OCI_INDEX,
    ],
    [
      "with a size below zero",
      {
        ...valid,
        manifests: [{ mediaType: OCI_MANIFEST, digest: digestOf(new Uint8Array()), size: -1 }],
      },
      OCI_INDEX,
    ],
  ];
  test.each(cases)("%s", async (_, document, mediaType) => {
    const response = await client.manifest(R, "v1", manifestOf(document, mediaType));
    expect(await errorOf(response)).toBe("400 MANIFEST_INVALID");
    expect((await client.send("GET", `/v2/${R}/manifests/v1`)).status).toBe(404);
  });

  test("that is not UTF-8", async () => {
    const bytes = new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]);
    const manifest = { ...manifestOf(valid, OCI_INDEX), bytes };
    expect(await errorOf(await client.manifest(R, "v1", manifest))).toBe("400 MANIFEST_INVALID");
  });

  test("under the digest of another, by whatever algorithm", async () => {
    const index = manifestOf(valid, OCI_INDEX);
    for (const algorithm of ["sha256", "sha512"] as const) {
      const wrong = digestOf(new Uint8Array(1), algorithm);
      expect(await errorOf(await client.manifest(R, wrong, index))).toBe("400 DIGEST_INVALID");
    }
    const none = await client.manifest(R, "sha256:baddigeststring", index);
    expect(await errorOf(none)).toBe("400 DIGEST_INVALID");
  });

  test("whose blobs are not here, each of them named", async () => {
    const image = await client.image("team/other", "a");
    const response = await client.manifest(R, "v1", image);
    const { errors } = (await response.json()) as { errors: object[] };
    const { config, layers } = JSON.parse(new TextDecoder().decode(image.bytes));
    const code = "MANIFEST_BLOB_UNKNOWN";
    const message = expect.any(String);
    expect(response.status).toBe(400);
    expect(errors).toEqual([
      { code, message, detail: { digest: config.digest } },
      { code, message, detail: { digest: layers[0].digest } },
    ]);
  });

  test("whose blob was deleted here in the meantime", async () => {
    const image = await client.image(R, "a");
    const { config } = JSON.parse(new TextDecoder().decode(image.bytes));
    await client.send("DELETE", `/v2/${R}/blobs/${config.digest}`);
    expect(await errorOf(await client.manifest(R, "v1", image))).toBe("400 MANIFEST_BLOB_UNKNOWN");
  });

  test("that gives a blob another size", async () => {
    const digest = await client.blob(R, new Uint8Array(10));
    const config = { mediaType: "a/b", digest, size: 11 };
    const image = manifestOf({ schemaVersion: 2, config, layers: [] }, OCI_MANIFEST);
    expect(await errorOf(await client.manifest(R, "v1", image))).toBe("400 MANIFEST_INVALID");
  });

  test("above the limit and not below, whether its length was said or not", async () => {
    const padded = (bytes: number) => {
      const document = { ...valid, annotations: { pad: "" } };
      const pad = bytes - JSON.stringify(document).length;
      return manifestOf({ ...document, annotations: { pad: "x".repeat(pad) } }, OCI_INDEX);
    };
    const largest = padded(MANIFEST_BYTES_MAX);
    expect((await client.manifest(R, "v1", largest)).status).toBe(201);
    await expectServed("v1", largest);
    const tooLarge = padded(MANIFEST_BYTES_MAX + 1);
    const length = { "content-length": String(MANIFEST_BYTES_MAX + 1) };
    for (const headers of [{}, length]) {
      const response = await client.manifest(R, "v1", tooLarge, headers);
      expect(await errorOf(response)).toBe("413 MANIFEST_TOO_LARGE");
    }
  });

  test("unread, when its length is said to be above the limit", async () => {
    const response = await client.send("PUT", `/v2/${R}/manifests/v1`, {
      headers: { "content-type": OCI_INDEX, "content-length": String(MANIFEST_BYTES_MAX + 1) },
      body: new ReadableStream({
        pull: (controller) => controller.error(new Error("somebody reads")),
      }),
    });
    expect(await errorOf(response)).toBe("413 MANIFEST_TOO_LARGE");
  });

  test("when the tag does not stand for what the client expects", async () => {
    const [one, two] = [await client.image(R, "1"), await client.image(R, "2")];
    const put = async (image: PushedManifest, headers: Record<string, string>) =>
      (await client.manifest(R, "v1", image, headers)).status;
    expect(await put(one, { "if-match": `"${one.digest}"` })).toBe(412);
    expect(await put(one, { "if-match": "*" })).toBe(412);
    expect(await put(one, { "if-none-match": "*" })).toBe(201);
    expect(await put(two, { "if-none-match": "*" })).toBe(412);
    expect(await put(two, { "if-match": `"${two.digest}"` })).toBe(412);
    await expectServed("v1", one);
    expect(await put(two, { "if-match": `"${one.digest}"` })).toBe(201);
    expect(await put(one, { "if-match": "*" })).toBe(201);
    const byDigest = await client.manifest(R, one.digest, one, { "if-none-match": "*" });
    expect(await errorOf(byDigest)).toBe("412 PRECONDITION_FAILED");
  });
});

describe("a repository that was delivered to", () => {
  const D = "quay.io/team/app";
  let delivered: PushedManifest;

  beforeEach(async () => {
    await buildImage(store, `${D}:v1`, { seed: "delivered" });
    const response = await client.send("GET", `/v2/${D}/manifests/v1`);
    delivered = manifestOf(await response.text(), OCI_MANIFEST);
  });

  test("takes other tags beside, and lists all of them as one", async () => {
    const image = await client.image(D, "mine");
    expect((await client.manifest(D, "v2", image)).status).toBe(201);
    expect((await client.send("GET", `/v2/${D}/manifests/v2`)).status).toBe(200);
    expect((await client.send("GET", `/v2/${D}/manifests/v1`)).status).toBe(200);
    const list = async (query: string) =>
      (
        (await (await client.send("GET", `/v2/${D}/tags/list${query}`)).json()) as {
          tags: string[];
        }
      ).tags;
    expect(await list("")).toEqual(["v1", "v2"]);
    expect(await list("?n=1")).toEqual(["v1"]);
    expect(await list("?n=1&last=v1")).toEqual(["v2"]);
  });

  test("lets nobody push over a tag of the delivery, but what it is already", async () => {
    const image = await client.image(D, "mine");
    const ways = ["v1", `${image.digest}?tag=v2&tag=v1`];
    for (const reference of ways) {
      expect(await errorOf(await client.manifest(D, reference, image))).toBe("403 DENIED");
    }
    expect((await client.send("GET", `/v2/${D}/manifests/v2`)).status).toBe(404);
    const condition = { "if-match": `"${delivered.digest}"` };
    expect((await client.manifest(D, "v1", delivered, condition)).status).toBe(201);
    expect((await client.manifest(D, "v1", delivered)).status).toBe(201);
    const served = await client.send("HEAD", `/v2/${D}/manifests/v1`);
    expect(served.headers.get("docker-content-digest")).toBe(delivered.digest);
  });

  test("serves what a later delivery brings under a tag that was pushed", async () => {
    await client.manifest(D, "v2", await client.image(D, "mine"));
    const root = await buildImage(store, `${D}:v2`, { seed: "later" });
    const served = await client.send("HEAD", `/v2/${D}/manifests/v2`);
    expect(served.headers.get("docker-content-digest")).toBe(root.digest);
  });

  test("deletes nothing of the delivery", async () => {
    const { config } = JSON.parse(new TextDecoder().decode(delivered.bytes));
    const paths = ["manifests/v1", `manifests/${delivered.digest}`, `blobs/${config.digest}`];
    for (const path of paths) {
      expect(await errorOf(await client.send("DELETE", `/v2/${D}/${path}`))).toBe("403 DENIED");
      expect((await client.send("GET", `/v2/${D}/${path}`)).status).toBe(200);
    }
  });

  test("keeps what was pushed on top of it when the delivery is gone", async () => {
    const platforms = ["linux/amd64", "linux/arm64"];
    const root = await buildImage(store, `${D}:base`, { seed: "base", platforms });
    const image = JSON.parse(new TextDecoder().decode(delivered.bytes));
    const derived = manifestOf({ ...image, annotations: { mine: "yes" } }, OCI_MANIFEST);
    const manifests = [root, derived.descriptor];
    const index = manifestOf({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }, OCI_INDEX);
    for (const [tag, manifest] of [
      ["mine", derived],
      ["all", index],
    ] as const) {
      expect((await client.manifest(D, tag, manifest)).status).toBe(201);
    }
    const names = async () => [];
    const later = new PushingClient(createRegistry({ store: { ...store, names } }));
    const seen = new Set<string>();
    const walk = async (path: string): Promise<void> => {
      if (seen.has(path)) return;
      seen.add(path);
      const response = await later.send("GET", `/v2/${D}/${path}`);
      expect(`${path} ${response.status}`).toBe(`${path} 200`);
      if (!path.startsWith("manifests/")) return;
      const document = (await response.json()) as Record<string, { digest: string }[] | undefined>;
      for (const child of document["manifests"] ?? []) await walk(`manifests/${child.digest}`);
      const { config, layers = [] } = document as unknown as {
        config?: { digest: string };
        layers?: { digest: string }[];
      };
      for (const child of [...(config ? [config] : []), ...layers])
        await walk(`blobs/${child.digest}`);
    };
    await walk("manifests/mine");
    await walk("manifests/all");
    expect(seen.size).toBeGreaterThan(8);
    expect((await later.send("GET", `/v2/${D}/manifests/v1`)).status).toBe(404);
  });
});
