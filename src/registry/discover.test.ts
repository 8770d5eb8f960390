import { beforeEach, describe, expect, test } from "bun:test";
import { createMemoryStore, type MemoryStore } from "#content";
import { type Descriptor, formatReferrers, OCI_INDEX, OCI_MANIFEST, referrersTag } from "#oci";
import { createRegistry, openAccess } from "#registry";
import { buildImage, putBytes, putJson } from "#test-support/images";
import { errorOf, manifestOf, type PushedManifest, PushingClient } from "#test-support/pushing";
import { WireError } from "./wire.ts";

const R = "team/app";

let store: MemoryStore;
let client: PushingClient;

beforeEach(() => {
  store = createMemoryStore();
  client = new PushingClient(createRegistry({ store }));
});

async function referrers(subject: string, query = "", repository = R) {
  const response = await client.send("GET", `/v2/${repository}/referrers/${subject}${query}`);
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toBe(OCI_INDEX);
  const document = (await response.json()) as { manifests: (Descriptor & { digest: string })[] };
  expect(document).toMatchObject({ schemaVersion: 2, mediaType: OCI_INDEX });
  return { response, manifests: document.manifests };
}

describe("referrers", () => {
  let subject: PushedManifest;

  beforeEach(async () => {
    subject = await client.image(R, "subject");
    await client.manifest(R, "v1", subject);
  });

  const signature = (type: string, more: object = {}) =>
    manifestOf(
      {
        schemaVersion: 2,
        mediaType: OCI_INDEX,
        manifests: [],
        subject: subject.descriptor,
        artifactType: type,
        ...more,
      },
      OCI_INDEX,
    );

  test("are listed with all that a client chooses by, and the push says that they are", async () => {
    const annotations = { "org.example.a": "1", b: "" };
    const image = await client.image(R, "a", { subject: subject.descriptor, annotations });
    const index = signature("application/x.sbom");
    for (const manifest of [image, index]) {
      const response = await client.manifest(R, manifest.digest, manifest);
      expect(response.headers.get("oci-subject")).toBe(subject.digest);
    }
    const { manifests } = await referrers(subject.digest);
    const expected = [
      {
        ...image.descriptor,
        artifactType: "application/vnd.oci.image.config.v1+json",
        annotations,
      },
      { ...index.descriptor, artifactType: "application/x.sbom" },
    ];
    expect(manifests).toEqual(
      expected.toSorted((a, b) => (a.digest < b.digest ? -1 : 1)) as typeof manifests,
    );
  });

  test("are filtered by type, and the answer says so", async () => {
    for (const type of ["a/sbom", "a/sig"])
      await client.manifest(R, type.slice(2), signature(type));
    const { response, manifests } = await referrers(subject.digest, "?artifactType=a/sig");
    expect(manifests).toMatchObject([{ artifactType: "a/sig" }]);
    expect(response.headers.get("oci-filters-applied")).toBe("artifactType");
    expect((await referrers(subject.digest, "?artifactType=none")).manifests).toEqual([]);
    const both = await referrers(subject.digest, "?artifactType=a/sig&artifactType=a/sbom");
    expect(both.manifests).toHaveLength(2);
    expect(
      (await referrers(subject.digest)).response.headers.get("oci-filters-applied"),
    ).toBeNull();
  });

  test("are an empty list where nothing refers, nothing is, or the repository is not", async () => {
    const other = manifestOf({ x: 1 }, OCI_MANIFEST).digest;
    expect((await referrers(other)).manifests).toEqual([]);
    expect((await referrers(subject.digest)).manifests).toEqual([]);
    expect((await referrers(subject.digest, "", "team/none")).manifests).toEqual([]);
  });

  test("of an image that is not here yet are kept for it", async () => {
    const absent = manifestOf({ x: 1 }, OCI_MANIFEST);
    await client.manifest(R, "sig", signature("a/sig", { subject: absent.descriptor }));
    expect((await referrers(absent.digest)).manifests).toHaveLength(1);
  });

  test("are gone when they are deleted, and stay when their subject is", async () => {
    const sig = signature("a/sig");
    await client.manifest(R, "sig", sig);
    await client.send("DELETE", `/v2/${R}/manifests/${subject.digest}`);
    expect((await referrers(subject.digest)).manifests).toHaveLength(1);
    await client.send("DELETE", `/v2/${R}/manifests/${sig.digest}`);
    expect((await referrers(subject.digest)).manifests).toEqual([]);
  });

  test("come in pages that are no larger than a manifest", async () => {
    const annotations = { pad: "x".repeat(900_000) };
    for (const n of [1, 2, 3]) {
      await client.manifest(R, `sig${n}`, signature("a/sig", { annotations, n }));
    }
    const first = await referrers(subject.digest, "?artifactType=a/sig");
    expect(first.manifests).toHaveLength(2);
    const [, next] = /^<(.*)>; rel="next"$/.exec(first.response.headers.get("link") ?? "") ?? [];
    const rest = await client.send("GET", next ?? "no next page");
    const { manifests } = (await rest.json()) as { manifests: { digest: string }[] };
    expect(manifests).toHaveLength(1);
    expect(rest.headers.get("link")).toBeNull();
    const digests = new Set([...first.manifests, ...manifests].map(({ digest }) => digest));
    expect(digests.size).toBe(3);
  });

  test("that were delivered are listed with those that were pushed", async () => {
    const root = await buildImage(store, "quay.io/team/x:v1", { seed: "x" });
    const document = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [], subject: root };
    const delivered = await putJson(store, OCI_INDEX, { ...document, artifactType: "a/delivered" });
    await store.name("quay.io/team/x:sig", delivered);
    const pushed = manifestOf({ ...document, artifactType: "a/pushed" }, OCI_INDEX);
    expect((await client.manifest("quay.io/team/x", "mine", pushed)).status).toBe(201);
    const { manifests } = await referrers(root.digest, "", "quay.io/team/x");
    expect(manifests.map(({ digest }) => digest).sort()).toEqual(
      [delivered.digest, pushed.digest].sort() as (typeof manifests)[0]["digest"][],
    );
  });

  test("that came along with a delivered image are listed, and so is the tag that they came under", async () => {
    const name = "quay.io/team/signed";
    const root = await buildImage(store, `${name}:v1`, { seed: "signed" });
    const mediaType = OCI_INDEX;
    const document = { schemaVersion: 2, mediaType, manifests: [], artifactType: "a/sbom" };
    const sbom = await putJson(store, mediaType, { ...document, subject: root });
    const signature = await putJson(store, mediaType, {
      ...{ ...document, subject: sbom, artifactType: "a/signature" },
      annotations: { by: "us" },
    });
    for (const [of, referrer] of [
      [root, sbom],
      [sbom, signature],
    ] as const) {
      const bytes = formatReferrers([referrer]);
      const list = await putBytes(store, mediaType, bytes);
      await store.name(`${name}:${referrersTag(of.digest)}`, list);
      const tagged = await client.send("GET", `/v2/${name}/manifests/${referrersTag(of.digest)}`);
      expect(await tagged.bytes()).toEqual(bytes);
    }
    expect((await referrers(root.digest, "", name)).manifests).toEqual([
      { ...sbom, artifactType: "a/sbom" },
    ]);
    expect((await referrers(sbom.digest, "?artifactType=a/signature", name)).manifests).toEqual([
      { ...signature, artifactType: "a/signature", annotations: { by: "us" } },
    ]);
    expect((await referrers(sbom.digest, "?artifactType=a/sbom", name)).manifests).toEqual([]);
    const bySubject = await client.send("GET", `/v2/${name}/manifests/${signature.digest}`);
    expect(bySubject.status).toBe(200);
    const elsewhere = await client.send("GET", `/v2/quay.io/other/manifests/${signature.digest}`);
    expect(elsewhere.status).toBe(404);
  });

  test("of what is no digest are refused, and of an unknown namespace are to be asked elsewhere", async () => {
    const bad = await client.send("GET", `/v2/${R}/referrers/sha256:abc`);
    expect(await errorOf(bad)).toBe("400 DIGEST_INVALID");
    const elsewhere = await client.send("GET", `/v2/${R}/referrers/${subject.digest}?ns=ghcr.io`);
    expect(await errorOf(elsewhere)).toBe("404 NAME_UNKNOWN");
  });
});

describe("tags of a pushed repository", () => {
  test("are listed in order, a page at a time, until they are deleted", async () => {
    const image = await client.image(R, "a");
    for (const tag of ["b", "a", "c", "B"]) await client.manifest(R, tag, image);
    const list = async (query: string) => {
      const response = await client.send("GET", `/v2/${R}/tags/list${query}`);
      return [((await response.json()) as { tags: string[] }).tags, response.headers.get("link")];
    };
    expect(await list("")).toEqual([["B", "a", "b", "c"], null]);
    expect(await list("?n=2")).toEqual([["B", "a"], `</v2/${R}/tags/list?n=2&last=a>; rel="next"`]);
    expect(await list("?n=2&last=a")).toEqual([["b", "c"], null]);
    expect(await list("?n=0")).toEqual([[], null]);
    await client.send("DELETE", `/v2/${R}/manifests/b`);
    expect(await list("?last=a")).toEqual([["c"], null]);
    await client.send("DELETE", `/v2/${R}/manifests/${image.digest}`);
    expect(await list("")).toEqual([[], null]);
  });

  test("are none of a repository that is not", async () => {
    const response = await client.send("GET", "/v2/team/none/tags/list");
    expect(await errorOf(response)).toBe("404 NAME_UNKNOWN");
  });
});

describe("the list of repositories", () => {
  beforeEach(async () => {
    await buildImage(store, "quay.io/team/x:v1", { seed: "x" });
    for (const name of ["a", "a/b", "a-b"]) {
      await client.manifest(name, "v1", await client.image(name, name));
    }
  });

  test("is not given unless it is switched on", async () => {
    expect(await errorOf(await client.send("GET", "/v2/_catalog"))).toBe("404 NAME_UNKNOWN");
  });

  test("has what was pushed and what was delivered, a page at a time", async () => {
    const listing = new PushingClient(createRegistry({ store, isListed: true }));
    const list = async (query: string) => {
      const response = await listing.send("GET", `/v2/_catalog${query}`);
      const { repositories } = (await response.json()) as { repositories: string[] };
      return [repositories, response.headers.get("link")];
    };
    expect(await list("")).toEqual([["a", "a-b", "a/b", "quay.io/team/x"], null]);
    expect(await list("?n=2")).toEqual([["a", "a-b"], '</v2/_catalog?n=2&last=a-b>; rel="next"']);
    expect(await list("?n=2&last=a-b")).toEqual([["a/b", "quay.io/team/x"], null]);
    const huge = await listing.send("GET", "/v2/_catalog?n=1000000000000000000");
    expect(huge.status).toBe(200);
    const bad = await listing.send("GET", "/v2/_catalog?n=-1");
    expect(await errorOf(bad)).toBe("400 PAGINATION_NUMBER_INVALID");
  });

  test("has only what the caller may pull", async () => {
    const access = {
      ...openAccess,
      demand(_: unknown, __: unknown, repository: string) {
        if (repository.startsWith("a")) throw new WireError("DENIED", "no");
      },
    };
    const limited = new PushingClient(createRegistry({ store, isListed: true, access }));
    const response = await limited.send("GET", "/v2/_catalog");
    expect(await response.json()).toEqual({ repositories: ["quay.io/team/x"] });
  });
});
