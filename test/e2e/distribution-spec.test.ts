/**
 * What both conformance suites of the OCI distribution specification ask of a registry (the one tagged
 * v1.1.1, and the newer program on the main branch), asked over a socket, as a client would. Point
 * `OCI_REGISTRY` at another registry (`127.0.0.1:5000`) to see what that one answers.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { digestOf } from "#content";
import { type Digest, type DigestAlgorithm, OCI_INDEX, OCI_MANIFEST } from "#oci";
import { randomBytes } from "#test-support/images";
import { temporaryFolder } from "#test-support/program";
import { startRegistryProgram } from "#test-support/serving-program";

const undo = new AsyncDisposableStack();
let address = process.env["OCI_REGISTRY"] ?? "";

beforeAll(async () => {
  if (address !== "") return;
  const folder = undo.use(await temporaryFolder());
  address = undo.use(await startRegistryProgram(`${folder.path}/data`)).address;
});

afterAll(() => undo.disposeAsync());

const REPOSITORY = "conformance/one";
const OTHER_REPOSITORY = "conformance/two";
const OCTETS = { "content-type": "application/octet-stream" };
const CONFIG_TYPE = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip";
const EMPTY_TYPE = "application/vnd.oci.empty.v1+json";

interface Ask {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>;
  readonly repository?: string;
}

/** A path below the repository, or a `Location` that a registry gave. */
function ask(method: string, path: string, options: Ask = {}): Promise<Response> {
  const { headers = {}, body, repository = REPOSITORY } = options;
  const at = path.startsWith("/") ? path : `/v2/${repository}/${path}`;
  const url = new URL(at.startsWith("/v2/") || path === "/v2/" ? at : path, `http://${address}`);
  return fetch(url, {
    method,
    headers,
    redirect: "manual",
    ...(body === undefined ? {} : { body }),
  });
}

async function location(response: Response): Promise<string> {
  await response.arrayBuffer();
  const url = new URL(response.headers.get("location") ?? "", `http://${address}`);
  return `${url.pathname}${url.search}`;
}

const withDigest = (url: string, digest: string) =>
  `${url}${url.includes("?") ? "&" : "?"}digest=${encodeURIComponent(digest)}`;

async function begin(repository = REPOSITORY): Promise<string> {
  const response = await ask("POST", "blobs/uploads/", {
    repository,
    headers: { "content-length": "0" },
  });
  expect(response.status).toBe(202);
  return location(response);
}

async function pushBlob(bytes: Uint8Array<ArrayBuffer>, digest: string): Promise<void> {
  const response = await ask("PUT", withDigest(await begin(), digest), {
    headers: OCTETS,
    body: bytes,
  });
  expect(response.status).toBe(201);
}

/** That a 201 of a blob gives where it is, and that it is there, whole. */
async function expectBlob(response: Response, bytes: Uint8Array, digest: string): Promise<void> {
  expect(response.status).toBe(201);
  const at = await location(response);
  expect(await (await ask("GET", at)).bytes()).toEqual(bytes);
  const head = await ask("HEAD", `blobs/${digest}`);
  expect(head.status).toBe(200);
  expect(head.headers.get("content-length")).toBe(String(bytes.byteLength));
  expect(head.headers.get("docker-content-digest")).toBe(digest);
}

async function expectError(response: Response, status: number, ...codes: string[]): Promise<void> {
  expect(response.status).toBe(status);
  expect(response.headers.get("content-type")).toContain("application/json");
  const { errors } = (await response.json()) as { errors: { code: string; message: string }[] };
  for (const { code } of errors) expect(code).toMatch(/^[A-Z_]+$/);
  if (codes.length > 0) expect(codes).toContain(errors[0]?.code ?? "");
}

const patch = (url: string, bytes: Uint8Array<ArrayBuffer>, range?: string) =>
  ask("PATCH", url, {
    headers: { ...OCTETS, ...(range === undefined ? {} : { "content-range": range }) },
    body: bytes,
  });

test("the base answers", async () => {
  expect((await ask("GET", "/v2/")).status).toBe(200);
});

test("nothing was pushed yet: tags are none or unknown, referrers an empty index", async () => {
  const repository = "conformance/empty";
  expect([200, 404]).toContain((await ask("GET", "tags/list", { repository })).status);
  const digest = digestOf(randomBytes("nobody", 10));
  const referrers = await ask("GET", `referrers/${digest}`, { repository });
  expect(referrers.status).toBe(200);
  expect(referrers.headers.get("content-type")).toBe(OCI_INDEX);
  expect(await referrers.json()).toEqual({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] });
});

describe.each(["sha256", "sha512"] as const)("blobs by %s", (algorithm: DigestAlgorithm) => {
  const make = (seed: string, length = 5000) => {
    const bytes = randomBytes(`${algorithm}/${seed}`, length);
    return { bytes, digest: digestOf(bytes, algorithm) };
  };

  test("that are not there give 404", async () => {
    const { digest } = make("missing");
    const missing = await ask("GET", `blobs/${digest}`);
    await expectError(missing, 404, "BLOB_UNKNOWN", "NAME_UNKNOWN");
    const head = await ask("HEAD", `blobs/${digest}`);
    expect(head.status).toBe(404);
    expect(await head.text()).toBe("");
  });

  test("are pushed by one POST, which a registry may also answer with 202", async () => {
    const { bytes, digest } = make("post");
    const url = withDigest("blobs/uploads/", digest);
    const response = await ask("POST", url, { headers: OCTETS, body: bytes });
    if (response.status === 202) return void (await response.arrayBuffer());
    await expectBlob(response, bytes, digest);
  });

  test("are pushed by POST and PUT", async () => {
    const { bytes, digest } = make("post and put");
    const put = await ask("PUT", withDigest(await begin(), digest), {
      headers: OCTETS,
      body: bytes,
    });
    await expectBlob(put, bytes, digest);
  });

  test("are pushed in one chunk, in several, and with the last one in the PUT", async () => {
    for (const [name, chunks, isLastInPut] of [
      ["single", [5000], false],
      ["multi", [2000, 2000, 1000], false],
      ["multi and put", [2000, 2000, 1000], true],
    ] as const) {
      const { bytes, digest } = make(name);
      let url = await begin();
      let offset = 0;
      for (const [i, length] of chunks.entries()) {
        const chunk = bytes.subarray(offset, offset + length);
        const range = `${offset}-${offset + length - 1}`;
        if (isLastInPut && i === chunks.length - 1) {
          const headers = { ...OCTETS, "content-range": range };
          const put = await ask("PUT", withDigest(url, digest), { headers, body: chunk });
          await expectBlob(put, bytes, digest);
          break;
        }
        const patched = await patch(url, chunk, range);
        expect(patched.status).toBe(202);
        offset += length;
        expect(patched.headers.get("range")).toBe(`0-${offset - 1}`);
        url = await location(patched);
        const status = await ask("GET", url);
        expect(status.status).toBe(204);
        expect(status.headers.get("range")).toBe(`0-${offset - 1}`);
        url = await location(status);
      }
      if (!isLastInPut) await expectBlob(await ask("PUT", withDigest(url, digest)), bytes, digest);
    }
  });

  test("are pushed as a stream of unknown length", async () => {
    const { bytes, digest } = make("stream", 300_000);
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (let i = 0; i < bytes.length; i += 50_000)
          controller.enqueue(bytes.slice(i, i + 50_000));
        controller.close();
      },
    });
    const patched = await ask("PATCH", await begin(), { headers: OCTETS, body });
    expect(patched.status).toBe(202);
    await expectBlob(await ask("PUT", withDigest(await location(patched), digest)), bytes, digest);
  });

  test("are mounted from another repository, and what can't be is uploaded", async () => {
    const { bytes, digest } = make("mount");
    await pushBlob(bytes, digest);
    const url = `blobs/uploads/?mount=${digest}&from=`;
    const options = { repository: OTHER_REPOSITORY };
    const mounted = await ask("POST", `${url}${REPOSITORY}`, options);
    expect(mounted.status).toBe(201);
    expect(await (await ask("GET", await location(mounted))).bytes()).toEqual(bytes);
    const { digest: missing } = make("mount missing");
    const missed = await ask("POST", `blobs/uploads/?mount=${missing}&from=${REPOSITORY}`, options);
    expect(missed.status).toBe(202);
    const anonymous = await ask("POST", `blobs/uploads/?mount=${missing}`, options);
    expect(anonymous.status).toBe(202);
    for (const response of [missed, anonymous]) {
      expect((await ask("DELETE", await location(response))).status).toBe(204);
    }
  });

  test("whose upload was given up are gone with it", async () => {
    const url = await begin();
    expect((await ask("DELETE", url)).status).toBe(204);
    await expectError(await ask("GET", url), 404, "BLOB_UPLOAD_UNKNOWN");
  });

  test("in chunks out of order are refused, and the session goes on where it was", async () => {
    const { bytes, digest } = make("out of order");
    let url = await begin();
    const wrongFirst = await patch(url, bytes.subarray(2000), "2000-4999");
    expect(wrongFirst.status).toBe(416);
    await wrongFirst.arrayBuffer();
    const first = await patch(url, bytes.subarray(0, 2000), "0-1999");
    expect(first.status).toBe(202);
    url = await location(first);
    for (const range of ["0-1999", "3000-4999"]) {
      const [start = 0, end = 0] = range.split("-").map(Number);
      const wrong = await patch(url, bytes.slice(start, end + 1), range);
      expect(wrong.status).toBe(416);
      await wrong.arrayBuffer();
    }
    const wrongPut = await ask("PUT", withDigest(url, digest), {
      headers: { ...OCTETS, "content-range": "3000-4999" },
      body: bytes.slice(3000),
    });
    expect(wrongPut.status).toBe(416);
    await wrongPut.arrayBuffer();
    const status = await ask("GET", url);
    expect(status.headers.get("range")).toBe("0-1999");
    url = await location(status);
    const last = await patch(url, bytes.subarray(2000), "2000-4999");
    expect(last.status).toBe(202);
    await expectBlob(await ask("PUT", withDigest(await location(last), digest)), bytes, digest);
  });

  test("that are empty, or an empty JSON document, are blobs too", async () => {
    for (const bytes of [new Uint8Array(), new TextEncoder().encode("{}")]) {
      const digest = digestOf(bytes, algorithm);
      const put = await ask("PUT", withDigest(await begin(), digest), {
        headers: OCTETS,
        body: bytes,
      });
      await expectBlob(put, bytes, digest);
    }
  });

  test("of another digest than they claim are refused, whichever way they came", async () => {
    const { bytes } = make("bad");
    const wrong = make("another").digest;
    const post = await ask("POST", withDigest("blobs/uploads/", wrong), {
      headers: OCTETS,
      body: bytes,
    });
    if (post.status !== 202) await expectError(post, 400, "DIGEST_INVALID");
    const put = await ask("PUT", withDigest(await begin(), wrong), {
      headers: OCTETS,
      body: bytes,
    });
    await expectError(put, 400, "DIGEST_INVALID");
    const chunk = await patch(await begin(), bytes, "0-4999");
    await expectError(
      await ask("PUT", withDigest(await location(chunk), wrong)),
      400,
      "DIGEST_INVALID",
    );
    const first = await patch(await begin(), bytes.subarray(0, 2000), "0-1999");
    const last = await ask("PUT", withDigest(await location(first), wrong), {
      headers: { ...OCTETS, "content-range": "2000-4999" },
      body: bytes.slice(2000),
    });
    await expectError(last, 400, "DIGEST_INVALID");
    const stream = await patch(await begin(), bytes);
    await expectError(
      await ask("PUT", withDigest(await location(stream), wrong)),
      400,
      "DIGEST_INVALID",
    );
    expect((await ask("HEAD", `blobs/${wrong}`)).status).toBe(404);
  });

  test("are served in ranges", async () => {
    const { bytes, digest } = make("ranges");
    await pushBlob(bytes, digest);
    for (const [range, start, end] of [
      ["500-1499", 500, 1500],
      ["500-", 500, 5000],
      ["-500", 4500, 5000],
      ["2000-9000", 2000, 5000],
    ] as const) {
      const part = await ask("GET", `blobs/${digest}`, { headers: { range: `bytes=${range}` } });
      expect(part.status).toBe(206);
      expect(part.headers.get("content-length")).toBe(String(end - start));
      expect(part.headers.get("content-range")).toBe(`bytes ${start}-${end - 1}/5000`);
      expect(await part.bytes()).toEqual(bytes.slice(start, end));
    }
    for (const range of ["500-0", "5000-10000"]) {
      const part = await ask("GET", `blobs/${digest}`, { headers: { range: `bytes=${range}` } });
      expect([range, part.status]).toEqual([range, 416]);
      await part.arrayBuffer();
    }
  });

  test("are deleted", async () => {
    const { bytes, digest } = make("deleted");
    await pushBlob(bytes, digest);
    expect((await ask("DELETE", `blobs/${digest}`)).status).toBe(202);
    // It may have been all that the repository had.
    const gone = await ask("GET", `blobs/${digest}`);
    await expectError(gone, 404, "BLOB_UNKNOWN", "NAME_UNKNOWN");
    expect((await ask("HEAD", `blobs/${digest}`)).status).toBe(404);
    await pushBlob(bytes, digest);
    expect((await ask("HEAD", `blobs/${digest}`)).status).toBe(200);
  });
});

interface Content {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

async function putContent(seed: string, mediaType: string, algorithm: DigestAlgorithm = "sha256") {
  const bytes = mediaType === EMPTY_TYPE ? new TextEncoder().encode("{}") : randomBytes(seed, 300);
  const digest = digestOf(bytes, algorithm);
  await pushBlob(bytes, digest);
  return { mediaType, digest, size: bytes.byteLength };
}

interface Pushed extends Content {
  readonly bytes: Uint8Array<ArrayBuffer>;
}

function encoded(
  document: object,
  mediaType: string,
  algorithm: DigestAlgorithm = "sha256",
): Pushed {
  const bytes = new TextEncoder().encode(JSON.stringify(document));
  return { mediaType, bytes, digest: digestOf(bytes, algorithm), size: bytes.byteLength };
}

const put = ({ bytes, mediaType }: Pushed, reference: string) =>
  ask("PUT", `manifests/${reference}`, { headers: { "content-type": mediaType }, body: bytes });

/** Pushes a document by digest and by tag, pulls it both ways, lists the tag, and gives the first answer. */
async function roundTrip(document: Pushed, tag: string): Promise<Response> {
  const { digest, mediaType, bytes } = document;
  const first = await put(document, digest);
  expect(first.status).toBe(201);
  expect((await put(document, tag)).status).toBe(201);
  const at = new URL(first.headers.get("location") ?? "", `http://${address}`).pathname;
  for (const path of [at, `manifests/${digest}`, `manifests/${tag}`]) {
    const pulled = await ask("GET", path, { headers: { accept: mediaType } });
    expect(pulled.status).toBe(200);
    expect(pulled.headers.get("content-type")).toBe(mediaType);
    expect(pulled.headers.get("docker-content-digest")).toBe(
      path.endsWith(tag) ? digestOf(bytes) : digest,
    );
    expect(await pulled.bytes()).toEqual(bytes);
    const head = await ask("HEAD", path, { headers: { accept: mediaType } });
    expect(head.headers.get("content-length")).toBe(String(bytes.byteLength));
    expect(head.headers.get("content-type")).toBe(mediaType);
  }
  const { tags } = (await (await ask("GET", "tags/list")).json()) as { tags: string[] };
  expect(tags).toContain(tag);
  return first;
}

const manifestOf = (more: object, config: Content, layers: readonly Content[] = []) =>
  encoded({ schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers, ...more }, OCI_MANIFEST);

const indexOf = (manifests: readonly Content[], more: object = {}) =>
  encoded({ schemaVersion: 2, mediaType: OCI_INDEX, manifests, ...more }, OCI_INDEX);

const listed = ({ mediaType, digest, size }: Pushed): Content => ({ mediaType, digest, size });

async function image(seed: string): Promise<Pushed> {
  const config = await putContent(`${seed}/config`, CONFIG_TYPE);
  return manifestOf({}, config, [await putContent(`${seed}/layer`, LAYER_TYPE)]);
}

describe("manifests are pushed, pulled, listed:", () => {
  test("an image, with the algorithms of digests mixed", async () => {
    await roundTrip(await image("image"), "image");
    const config = await putContent("mixed", CONFIG_TYPE, "sha512");
    await roundTrip(manifestOf({}, config), "no-layers");
  });

  test("by a digest of sha512", async () => {
    const config = await putContent("sha512", CONFIG_TYPE, "sha512");
    const document = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [config] };
    await roundTrip(encoded(document, OCI_MANIFEST, "sha512"), "sha512");
  });

  test("one of 3.9 MB", async () => {
    const config = await putContent("large", CONFIG_TYPE);
    const annotations = { filler: "x".repeat(3_900_000) };
    await roundTrip(manifestOf({ annotations }, config), "large");
  });

  test("indexes, of images, of indexes, of artifacts, of nothing", async () => {
    const images = [await image("one"), await image("two")];
    for (const each of images) expect((await put(each, each.digest)).status).toBe(201);
    const index = indexOf(images.map(listed));
    await roundTrip(index, "index");
    await roundTrip(indexOf([listed(index)]), "nested");
    await roundTrip(indexOf([]), "empty-index");
  });

  test("artifacts, without layers too, custom fields, data, non-distributable layers", async () => {
    const empty = await putContent("", EMPTY_TYPE);
    const artifactType = "application/vnd.example.artifact";
    await roundTrip(manifestOf({ artifactType }, empty, [empty]), "artifact");
    await roundTrip(manifestOf({ artifactType }, empty), "artifact-without-layers");
    const data = { ...empty, data: Buffer.from("{}").toString("base64") };
    await roundTrip(manifestOf({ artifactType }, data, [data]), "data");
    const config = await putContent("custom", CONFIG_TYPE);
    await roundTrip(manifestOf({ "org.example.custom": { a: [1] } }, config), "custom-fields");
    const foreign = {
      mediaType: "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
      digest: digestOf(randomBytes("foreign", 10)),
      size: 123_456,
      urls: ["https://example.com/layer"],
    };
    await roundTrip(manifestOf({}, config, [foreign]), "nondistributable");
  });

  test("and are not there before, by tag and by digest", async () => {
    const digest = digestOf(randomBytes("no manifest", 10));
    for (const reference of ["no-such-tag", digest]) {
      // Nothing may have been pushed there yet.
      const missing = await ask("GET", `manifests/${reference}`);
      await expectError(missing, 404, "MANIFEST_UNKNOWN", "NAME_UNKNOWN");
      expect((await ask("HEAD", `manifests/${reference}`)).status).toBe(404);
    }
  });
});

describe("manifests are refused", () => {
  test("whose digest is another than they are put under", async () => {
    const document = await image("bad digest");
    await expectError(
      await put(document, digestOf(randomBytes("other", 1))),
      400,
      "DIGEST_INVALID",
    );
  });

  test("under a digest that is none", async () => {
    const document = await image("invalid digest");
    const response = await put(document, "sha256:baddigeststring");
    expect(response.status).toBe(400);
    expect([400, 404]).toContain((await ask("GET", "manifests/sha256:baddigeststring")).status);
  });

  test("that name a blob that is not here, or is no JSON", async () => {
    const absent = { mediaType: LAYER_TYPE, digest: digestOf(randomBytes("absent", 3)), size: 3 };
    const document = manifestOf({}, await putContent("absent", CONFIG_TYPE), [absent]);
    const response = await put(document, "absent");
    expect(response.status).toBe(400);
    expect(await response.text()).toContain("MANIFEST_BLOB_UNKNOWN");
    const broken = { ...document, bytes: new TextEncoder().encode("blablabla") };
    await expectError(await put(broken, "broken"), 400, "MANIFEST_INVALID");
  });
});

describe("tags", () => {
  const repository = "conformance/tags";
  const list = async (query: string) => {
    const response = await ask("GET", `tags/list${query}`, { repository });
    expect(response.status).toBe(200);
    const { name, tags } = (await response.json()) as { name: string; tags: string[] };
    expect(name).toBe(repository);
    return { tags, link: response.headers.get("link") };
  };
  const all = ["A", "Z", "a", "b", "b.1", "b_2", "test0", "test10", "test2"];

  beforeAll(async () => {
    const empty = new TextEncoder().encode("{}");
    const url = withDigest(await begin(repository), digestOf(empty));
    expect((await ask("PUT", url, { headers: OCTETS, body: empty })).status).toBe(201);
    const config = { mediaType: EMPTY_TYPE, digest: digestOf(empty), size: 2 };
    const { bytes, mediaType } = manifestOf({ artifactType: "application/x" }, config);
    for (const tag of all) {
      const headers = { "content-type": mediaType };
      const response = await ask("PUT", `manifests/${tag}`, { repository, headers, body: bytes });
      expect(response.status).toBe(201);
    }
  });

  test("are listed in the order of their bytes, in pages, after any text", async () => {
    expect((await list("")).tags).toEqual(all);
    expect((await list("?n=4")).tags).toEqual(all.slice(0, 4));
    expect((await list("?n=4&last=b")).tags).toEqual(all.slice(4, 8));
    expect((await list("?last=a")).tags).toEqual(all.slice(3));
    expect((await list("?last=aa")).tags).toEqual(all.slice(3));
    expect((await list("?last=zzz")).tags).toEqual([]);
    expect((await list("?n=0")).tags).toEqual([]);
  });

  test("are all reached by following the links", async () => {
    const found: string[] = [];
    let query = "?n=2";
    for (let page = 0; page < 20; page += 1) {
      const { tags, link } = await list(query);
      found.push(...tags);
      const [, next] = /^<([^>]+)>; ?rel="?next"?$/.exec(link ?? "") ?? [];
      if (next === undefined) break;
      query = new URL(next, `http://${address}`).search;
    }
    expect(found).toEqual(all);
  });
});

describe("referrers", () => {
  const TYPES = ["application/vnd.example.a", "application/vnd.example.b"] as const;

  async function refer(subject: Content): Promise<readonly Pushed[]> {
    const empty = await putContent("", EMPTY_TYPE);
    const config = await putContent("referrer config", TYPES[1]);
    const annotations = { "org.example.of": subject.digest };
    return [
      manifestOf({ artifactType: TYPES[0], subject, annotations }, empty, [empty]),
      manifestOf({ subject, annotations }, config, [empty]),
      indexOf([], { artifactType: TYPES[0], subject, annotations }),
    ];
  }

  const listFor = async (subject: string, query = "") => {
    const response = await ask("GET", `referrers/${subject}${query}`);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe(OCI_INDEX);
    const { manifests } = (await response.json()) as { manifests: Record<string, unknown>[] };
    const filters = response.headers.get("oci-filters-applied");
    return { digests: manifests.map(({ digest }) => digest as Digest).sort(), manifests, filters };
  };

  for (const isHere of [true, false]) {
    test(`of a manifest that is ${isHere ? "" : "not "}here are listed, filtered, and gone when deleted`, async () => {
      const target = await image(`subject ${isHere}`);
      if (isHere) expect((await put(target, target.digest)).status).toBe(201);
      const documents = await refer(listed(target));
      for (const document of documents) {
        const response = await put(document, document.digest);
        expect(response.status).toBe(201);
        expect(response.headers.get("oci-subject")).toBe(target.digest);
      }
      const { digests, manifests } = await listFor(target.digest);
      expect(digests).toEqual(documents.map(({ digest }) => digest as Digest).sort());
      for (const [i, document] of documents.entries()) {
        expect(manifests.find(({ digest }) => digest === document.digest)).toEqual({
          ...listed(document),
          artifactType: i === 1 ? TYPES[1] : TYPES[0],
          annotations: { "org.example.of": target.digest },
        });
      }
      const filtered = await listFor(
        target.digest,
        `?artifactType=${encodeURIComponent(TYPES[1])}`,
      );
      expect(filtered.filters).toBe("artifactType");
      expect(filtered.digests).toEqual([documents[1]?.digest as Digest]);
      expect((await listFor(target.digest, "?artifactType=application%2Fnone")).digests).toEqual(
        [],
      );
      for (const { digest } of documents) {
        expect((await ask("DELETE", `manifests/${digest}`)).status).toBe(202);
      }
      expect((await listFor(target.digest)).digests).toEqual([]);
    });
  }

  test("of a digest that is none are refused", async () => {
    expect((await ask("GET", "referrers/sha256:short")).status).toBe(400);
  });
});

describe("deleting", () => {
  test("a tag leaves the manifest and its other tags; a manifest takes its tags with it", async () => {
    const document = await image("deleted");
    for (const tag of ["gone-1", "gone-2"]) expect((await put(document, tag)).status).toBe(201);
    expect((await ask("DELETE", "manifests/gone-1")).status).toBe(202);
    await expectError(await ask("GET", "manifests/gone-1"), 404, "MANIFEST_UNKNOWN");
    expect((await ask("GET", "manifests/gone-2")).status).toBe(200);
    expect((await ask("DELETE", `manifests/${document.digest}`)).status).toBe(202);
    for (const reference of ["gone-2", document.digest]) {
      await expectError(await ask("GET", `manifests/${reference}`), 404, "MANIFEST_UNKNOWN");
    }
    const { tags } = (await (await ask("GET", "tags/list")).json()) as { tags: string[] };
    expect(tags).not.toContain("gone-2");
    expect((await ask("DELETE", `manifests/${document.digest}`)).status).toBe(404);
  });
});
