import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { rename, truncate } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "#base";
import { OCI_MANIFEST } from "#oci";
import { openStore } from "#store";
import { buildImage } from "#test-support/images";
import { temporaryFolder } from "#test-support/program";
import { startRegistryProgram } from "#test-support/serving-program";

/** A registry that serves a folder, and what it answers to a GET now. */
async function openSite() {
  await using undo = new AsyncDisposableStack();
  const folder = undo.use(await temporaryFolder());
  const dataDir = join(folder.path, "store");
  const registry = undo.use(await startRegistryProgram(dataDir));
  const url = (path: string) => `http://${registry.address}/v2/${path}`;
  const stack = undo.move();
  return {
    ...{ dataDir, url },
    async ask(path: string): Promise<Answer> {
      const answer = await fetch(url(path), { headers: { accept: OCI_MANIFEST } });
      await answer.arrayBuffer();
      return [answer.status, answer.headers.get("docker-content-digest")];
    },
    blobPath: (digest: string) => join(dataDir, "blobs", "sha256", digest.slice(7)),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

async function tagsAt(url: string): Promise<unknown> {
  return ((await (await fetch(url)).json()) as { tags?: unknown }).tags;
}

type Answer = readonly [status: number, digest: string | null];

const twice = (answer: Answer): [Answer, Answer] => [answer, answer];

/** Pushes an image of no layers; gives its digest. */
async function pushImage(url: (path: string) => string, tag: string): Promise<string> {
  const config = "{}";
  const digest = `sha256:${new Bun.CryptoHasher("sha256").update(config).digest("hex")}`;
  const query = `uploads/?digest=${digest}`;
  await fetch(url(`team/app/blobs/${query}`), { method: "POST", body: config });
  const manifest = {
    ...{ schemaVersion: 2, mediaType: OCI_MANIFEST, layers: [] },
    config: { mediaType: "application/vnd.oci.image.config.v1+json", digest, size: 2 },
  };
  const answer = await fetch(url(`team/app/manifests/${tag}`), {
    ...{ method: "PUT", body: JSON.stringify(manifest) },
    headers: { "content-type": OCI_MANIFEST },
  });
  expect(answer.status).toBe(201);
  return answer.headers.get("docker-content-digest") ?? "";
}

test("what a delivery beside the registry names is served from then on, also where it was not there before, or was something else", async () => {
  await using site = await openSite();
  await using store = await openStore(site.dataDir, { clock: systemClock });
  const path = "quay.io/team/app/manifests/v1";
  expect(await site.ask(path)).toEqual([404, null]);
  const first = await buildImage(store, "quay.io/team/app:v1", { seed: "first" });
  expect(await site.ask(path)).toEqual([200, first.digest]);
  expect(await tagsAt(site.url("quay.io/team/app/tags/list"))).toEqual(["v1"]);
  const second = await buildImage(store, "quay.io/team/app:v1", { seed: "second" });
  expect(await site.ask(path)).toEqual([200, second.digest]);
  await buildImage(store, "quay.io/team/app:v2", { seed: "second" });
  expect(await tagsAt(site.url("quay.io/team/app/tags/list"))).toEqual(["v1", "v2"]);
});

test("what another process takes out of the registry's repositories is not served any more", async () => {
  await using site = await openSite();
  const digest = await pushImage(site.url, "v1");
  expect(await site.ask("team/app/manifests/v1")).toEqual([200, digest]);
  expect(await site.ask(`team/app/manifests/${digest}`)).toEqual([200, digest]);
  expect(await tagsAt(site.url("team/app/tags/list"))).toEqual(["v1"]);
  // As `dray gc` does it, from a process of its own.
  const database = new Database(join(site.dataDir, "drayage.db"));
  database.run("DELETE FROM repository_tags");
  expect(await site.ask("team/app/manifests/v1")).toEqual([404, null]);
  expect(await tagsAt(site.url("team/app/tags/list"))).toEqual([]);
  expect(await site.ask(`team/app/manifests/${digest}`)).toEqual([200, digest]);
  database.run("DELETE FROM repository_manifests");
  expect(await site.ask(`team/app/manifests/${digest}`)).toEqual([404, null]);
  database.close();
});

test("a manifest whose file vanished or has another size is not served, though it was a moment ago", async () => {
  await using site = await openSite();
  const digest = await pushImage(site.url, "v1");
  const both = () =>
    Promise.all([site.ask("team/app/manifests/v1"), site.ask(`team/app/manifests/${digest}`)]);
  const served = twice([200, digest]);
  const missing = twice([404, null]);
  expect(await both()).toEqual(served);
  const file = site.blobPath(digest);
  await rename(file, `${file}.aside`);
  expect(await both()).toEqual(missing);
  await rename(`${file}.aside`, file);
  expect(await both()).toEqual(served);
  await truncate(file, 10);
  expect(await both()).toEqual(missing);
});
