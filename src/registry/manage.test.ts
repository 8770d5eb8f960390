import { beforeEach, describe, expect, test } from "bun:test";
import { createMemoryStore, type MemoryStore } from "#content";
import { OCI_INDEX } from "#oci";
import { type Action, createRegistry, openAccess } from "#registry";
import { errorOf, manifestOf, type PushedManifest, PushingClient } from "#test-support/pushing";
import { WireError } from "./wire.ts";

const R = "team/app";
const UPLOAD = "0".repeat(32);

let store: MemoryStore;
let client: PushingClient;
let image: PushedManifest;
let blob: string;

beforeEach(async () => {
  store = createMemoryStore();
  client = new PushingClient(createRegistry({ store }));
  image = await client.image(R, "a");
  for (const tag of ["v1", "latest"]) await client.manifest(R, tag, image);
  blob = await client.blob(R, new TextEncoder().encode("blob"));
});

const statusOf = async (method: string, path: string, from = client) =>
  (await from.send(method, `/v2/${R}/${path}`)).status;

describe("deleting", () => {
  test("a tag leaves its manifest and its other tags", async () => {
    expect(await statusOf("DELETE", "manifests/v1")).toBe(202);
    expect(await statusOf("GET", "manifests/v1")).toBe(404);
    expect(await statusOf("GET", "manifests/latest")).toBe(200);
    expect(await statusOf("GET", `manifests/${image.digest}`)).toBe(200);
  });

  test("a manifest takes every tag of it away, and leaves its blobs", async () => {
    expect(await statusOf("DELETE", `manifests/${image.digest}`)).toBe(202);
    for (const reference of ["v1", "latest", image.digest]) {
      expect(await statusOf("GET", `manifests/${reference}`)).toBe(404);
      expect(await statusOf("HEAD", `manifests/${reference}`)).toBe(404);
    }
    const { layers } = JSON.parse(new TextDecoder().decode(image.bytes));
    expect(await statusOf("GET", `blobs/${layers[0].digest}`)).toBe(200);
  });

  test("an index leaves its children", async () => {
    const document = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [image.descriptor] };
    const index = manifestOf(document, OCI_INDEX);
    await client.manifest(R, "index", index);
    expect(await statusOf("DELETE", `manifests/${index.digest}`)).toBe(202);
    expect(await statusOf("GET", `manifests/${image.digest}`)).toBe(200);
  });

  test("a blob takes it away at once, and it can be pushed again", async () => {
    expect(await statusOf("DELETE", `blobs/${blob}`)).toBe(202);
    expect(await statusOf("GET", `blobs/${blob}`)).toBe(404);
    expect(await statusOf("HEAD", `blobs/${blob}`)).toBe(404);
    await client.blob(R, new TextEncoder().encode("blob"));
    expect(await statusOf("GET", `blobs/${blob}`)).toBe(200);
  });

  test("what is not there is 404, a second time too", async () => {
    const gone = [
      ["manifests/v1", "404 MANIFEST_UNKNOWN"],
      [`manifests/${image.digest}`, "404 MANIFEST_UNKNOWN"],
      [`blobs/${blob}`, "404 BLOB_UNKNOWN"],
    ] as const;
    for (const [path, code] of gone) {
      expect(await statusOf("DELETE", path)).toBe(202);
      expect(await errorOf(await client.send("DELETE", `/v2/${R}/${path}`))).toBe(code);
      expect((await client.send("DELETE", `/v2/team/none/${path}`)).status).toBe(404);
    }
  });

  test("is refused where it is switched off, and everything stays (SEC-11)", async () => {
    const keeping = new PushingClient(createRegistry({ store, isDeletable: false }));
    for (const path of ["manifests/v1", `manifests/${image.digest}`, `blobs/${blob}`]) {
      const response = await keeping.send("DELETE", `/v2/${R}/${path}`);
      expect(response.headers.get("allow")).not.toContain("DELETE");
      expect(await errorOf(response)).toBe("405 UNSUPPORTED");
      expect(await statusOf("GET", path)).toBe(200);
    }
    // To give up an upload deletes nothing that was pushed.
    const location = await keeping.begin(R);
    expect((await keeping.send("DELETE", location)).status).toBe(204);
  });
});

const WRITES = [
  ["PUT", "manifests/v1"],
  ["DELETE", "manifests/v1"],
  ["DELETE", "blobs/BLOB"],
  ["POST", "blobs/uploads/"],
  ["GET", `blobs/uploads/${UPLOAD}`],
  ["HEAD", `blobs/uploads/${UPLOAD}`],
  ["PATCH", `blobs/uploads/${UPLOAD}`],
  ["PUT", `blobs/uploads/${UPLOAD}`],
  ["DELETE", `blobs/uploads/${UPLOAD}`],
] as const;
const READS = [
  ["GET", "manifests/v1"],
  ["HEAD", "manifests/DIGEST"],
  ["GET", "blobs/BLOB"],
  ["HEAD", "blobs/BLOB"],
  ["GET", "tags/list"],
  ["GET", "referrers/DIGEST"],
] as const;

describe("a registry for reading", () => {
  test("refuses every write and serves every read, without a look at uploads (S-67)", async () => {
    const readOnly = new Proxy(store, {
      get(target, key: keyof MemoryStore) {
        if (key === "uploads") throw new Error("a store that is read has no uploads");
        return target[key];
      },
    });
    const reading = new PushingClient(createRegistry({ store: readOnly, isWritable: false }));
    for (const [method, path] of WRITES) {
      const response = await reading.send(method, `/v2/${R}/${path.replace("BLOB", blob)}`);
      expect(response.status).toBe(405);
    }
    for (const [method, path] of READS) expect(await statusOf(method, at(path), reading)).toBe(200);
  });
});

describe("rights", () => {
  test("are asked for on the parsed path, for every verb (S-55)", async () => {
    const asked: (readonly [Action, string])[] = [];
    const access = {
      ...openAccess,
      demand(_: unknown, action: Action, repository: string) {
        asked.push([action, repository]);
        throw new WireError("DENIED", "no");
      },
    };
    const registry = createRegistry({ store, access, project: "spectro-images" });
    const denied = new PushingClient(registry);
    for (const [method, path] of [...READS, ...WRITES]) {
      asked.length = 0;
      const response = await denied.send(method, `/v2/spectro-images/${R}/${at(path)}`);
      expect(response.status).toBe(403);
      const isRead = READS.some((read) => read[0] === method && read[1] === path);
      const isDelete = method === "DELETE" && !path.startsWith("blobs/uploads");
      expect(asked).toEqual([[isRead ? "pull" : isDelete ? "delete" : "push", R]]);
    }
    expect(await statusOf("GET", "manifests/v1")).toBe(200);
  });

  test("to pull show what is there, and change nothing by that", async () => {
    let links = 0;
    const linkBlob: typeof store.repositories.linkBlob = (...words) => {
      links += 1;
      return store.repositories.linkBlob(...words);
    };
    const counted = { ...store, repositories: { ...store.repositories, linkBlob } };
    const access = {
      ...openAccess,
      demand(_: unknown, action: Action) {
        if (action !== "pull") throw new WireError("DENIED", "no");
      },
    };
    const puller = new PushingClient(createRegistry({ store: counted, access }));
    expect(await statusOf("HEAD", `blobs/${blob}`, puller)).toBe(200);
    expect(links).toBe(0);
    const pusher = new PushingClient(createRegistry({ store: counted }));
    expect(await statusOf("HEAD", `blobs/${blob}`, pusher)).toBe(200);
    expect(await statusOf("GET", `blobs/${blob}`, pusher)).toBe(200);
    expect(links).toBe(1);
  });
});

describe("methods that nothing has", () => {
  test.each([
    ["POST", "manifests/v1", "GET, HEAD, PUT, DELETE"],
    ["PUT", "blobs/BLOB", "GET, HEAD, DELETE"],
    ["GET", "blobs/uploads/", "POST"],
    ["DELETE", "tags/list", "GET, HEAD"],
    ["PUT", "referrers/DIGEST", "GET, HEAD"],
  ])("%s %s is refused with those that there are", async (method, path, allow) => {
    const response = await client.send(method, `/v2/${R}/${at(path)}`);
    expect(response.headers.get("allow")).toBe(allow);
    expect(await errorOf(response)).toBe("405 UNSUPPORTED");
  });
});

function at(path: string): string {
  return path.replace("BLOB", blob).replace("DIGEST", image.digest);
}
