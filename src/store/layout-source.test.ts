import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { chmod, mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "#base";
import { fetchVerified, writeContent } from "#content";
import { type Descriptor, OCI_INDEX, OCI_MANIFEST, parseDigest } from "#oci";
import { openLayout } from "./layout-source.ts";
import { openStore } from "./open-store.ts";

const signal = new AbortController().signal;
const NAME = "quay.io/team/app:v1";

function contentOf(text: string, mediaType = "application/octet-stream", algorithm = "sha256") {
  const bytes = new TextEncoder().encode(text);
  const hex = createHash(algorithm).update(bytes).digest("hex");
  const digest = parseDigest(`${algorithm}:${hex}`);
  return { bytes, descriptor: { mediaType, digest, size: bytes.byteLength } };
}

const LAYER = contentOf("the bytes of a layer");
const LAYER_512 = contentOf("the bytes of another layer", undefined, "sha512");
const CONFIG = contentOf("{}", "application/vnd.oci.image.config.v1+json").descriptor;
const MANIFEST = contentOf(
  JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config: CONFIG, layers: [] }),
  OCI_MANIFEST,
);

/** A layout as other tools write them, whose `index.json` has these entries. */
async function writeLayout(entries: readonly object[]) {
  const path = await mkdtemp(join(tmpdir(), "dray-layout-"));
  await writeFile(join(path, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  await writeFile(
    join(path, "index.json"),
    JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: entries }),
  );
  for (const { bytes, descriptor } of [LAYER, LAYER_512, MANIFEST]) {
    await mkdir(join(fileOf(path, descriptor), ".."), { recursive: true });
    await writeFile(fileOf(path, descriptor), bytes);
  }
  return {
    path,
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}

function fileOf(path: string, { digest }: Descriptor): string {
  return join(path, "blobs", ...digest.split(":"));
}

function named(name: string, key = "org.opencontainers.image.ref.name") {
  return { ...MANIFEST.descriptor, annotations: { [key]: name } };
}

describe("openLayout()", () => {
  test("gives what a layout holds, of both algorithms, whole and in parts", async () => {
    await using layout = await writeLayout([named(NAME)]);
    const source = await openLayout(layout.path);
    for (const { bytes, descriptor } of [LAYER, LAYER_512, MANIFEST]) {
      expect(await source.has(descriptor)).toBe(true);
      expect(await fetchVerified(source, descriptor, { signal })).toEqual(bytes);
    }
    const range = { start: 4, end: 9 };
    const part = await source.fetch(LAYER.descriptor, { signal, range });
    expect(await new Response(part).text()).toBe("bytes");
  });

  test("knows whole names, by whichever annotation, and no short ones", async () => {
    const other = "docker.io/library/busybox:latest";
    const entries = [named(NAME), named(other, "io.containerd.image.name"), named("latest")];
    await using layout = await writeLayout([...entries, { digest: "junk" }, null as never]);
    const source = await openLayout(layout.path);
    expect(await source.lookup(NAME)).toEqual(MANIFEST.descriptor);
    expect(await source.lookup(other)).toEqual(MANIFEST.descriptor);
    expect(await source.lookup("docker.io/library/latest:latest")).toBeUndefined();
  });

  test("tells what kind of document a digest is, and nothing of what is none or wrong", async () => {
    await using layout = await writeLayout([]);
    const source = await openLayout(layout.path);
    expect(await source.describe(MANIFEST.descriptor.digest)).toEqual(MANIFEST.descriptor);
    expect(await source.describe(LAYER.descriptor.digest)).toBeUndefined();
    await writeFile(fileOf(layout.path, MANIFEST.descriptor), "{}");
    expect(await source.describe(MANIFEST.descriptor.digest)).toBeUndefined();
  });

  test("reads a store of ours", async () => {
    await using folder = await writeLayout([]);
    const path = join(folder.path, "store");
    const store = await openStore(path, { clock: systemClock });
    await writeContent(store, MANIFEST.descriptor, MANIFEST.bytes);
    await store.name(NAME, MANIFEST.descriptor);
    await store[Symbol.asyncDispose]();
    expect(await (await openLayout(path)).lookup(NAME)).toEqual(MANIFEST.descriptor);
  });

  test("takes a link, a folder and a file of another size for nothing", async () => {
    await using layout = await writeLayout([]);
    const source = await openLayout(layout.path);
    const file = fileOf(layout.path, LAYER.descriptor);
    await rename(file, join(layout.path, "elsewhere"));
    await symlink(join(layout.path, "elsewhere"), file);
    expect(await source.has(LAYER.descriptor)).toBe(false);
    await rm(file);
    await mkdir(file);
    expect(await source.has(LAYER.descriptor)).toBe(false);
    await rm(file, { recursive: true });
    await writeFile(file, "short");
    expect(await source.has(LAYER.descriptor)).toBe(false);
    const fetching = source.fetch(LAYER.descriptor, { signal });
    await expect(fetching).rejects.toMatchObject({ code: "content-missing" });
  });

  test("follows no folder of blobs that is a link", async () => {
    await using layout = await writeLayout([]);
    await rename(join(layout.path, "blobs"), join(layout.path, "elsewhere"));
    await symlink(join(layout.path, "elsewhere"), join(layout.path, "blobs"));
    expect(await (await openLayout(layout.path)).has(LAYER.descriptor)).toBe(false);
  });

  test.each([
    ["no marker", (path: string) => rm(join(path, "oci-layout"))],
    [
      "another version",
      (path: string) => writeFile(join(path, "oci-layout"), '{"imageLayoutVersion":"2.0.0"}'),
    ],
    ["junk for a marker", (path: string) => writeFile(join(path, "oci-layout"), "junk")],
    ["nothing at all", (path: string) => rm(path, { recursive: true })],
  ])("refuses a folder with %s", async (_, spoil) => {
    await using layout = await writeLayout([]);
    await spoil(layout.path);
    await expect(openLayout(layout.path)).rejects.toMatchObject({ code: "folder-invalid" });
  });

  test("lets go of its file when the reader stops", async () => {
    await using layout = await writeLayout([]);
    await chmod(fileOf(layout.path, LAYER.descriptor), 0o444);
    const source = await openLayout(layout.path);
    const abort = new AbortController();
    const reader = (await source.fetch(LAYER.descriptor, { signal: abort.signal })).getReader();
    abort.abort(new Error("enough"));
    await expect(reader.read()).rejects.toThrow("enough");
  });
});
