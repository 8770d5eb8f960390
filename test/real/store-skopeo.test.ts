import { describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "#base";
import { digestOf } from "#content";
import { createAccess, createRegistry, openHtpasswd, serveRegistry } from "#registry";
import { openStore } from "#store";
import { testCertificates } from "#test-support/certificates";
import { buildImage } from "#test-support/images";

const SKOPEO = Bun.which("skopeo");
const SINGLE = "quay.io/kairos/core-ubuntu-20-lts-rke2:v1.25.2-rke2r1";
const MULTI = "docker.io/library/busybox:latest";
const DOCKER = "10.0.0.5:5000/team/app:v1";

/** A store with an image of each kind, in a folder with room for what tools write. */
async function openSite() {
  const folder = await mkdtemp(join(tmpdir(), "dray-skopeo-"));
  const dataDir = join(folder, "data");
  const store = await openStore(dataDir, { clock: systemClock });
  const platforms = ["linux/amd64", "linux/arm64"];
  const single = await buildImage(store, SINGLE, { seed: "s", layers: 3, layerBytes: 700_000 });
  const multi = await buildImage(store, MULTI, { seed: "m", platforms, layerBytes: 100_000 });
  await buildImage(store, DOCKER, { seed: "d", docker: true });
  await store.flush();
  return {
    folder,
    dataDir,
    store,
    single,
    multi,
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}

async function skopeo(...words: string[]): Promise<string> {
  const run = Bun.spawn(["skopeo", "--insecure-policy", ...words], {
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, NO_PROXY: "127.0.0.1" },
  });
  const [stdout, stderr] = await Promise.all([
    new Response(run.stdout).text(),
    new Response(run.stderr).text(),
  ]);
  if ((await run.exited) !== 0) throw new Error(stderr);
  return stdout;
}

describe.skipIf(SKOPEO === null)("skopeo (left out where it is not installed)", () => {
  test("reads the store as an OCI layout, by the declared names, while it is open", async () => {
    await using site = await openSite();
    for (const [name, root] of [
      [SINGLE, site.single],
      [MULTI, site.multi],
    ] as const) {
      const raw = await skopeo("inspect", "--raw", `oci:${site.dataDir}:${name}`);
      expect(digestOf(new TextEncoder().encode(raw))).toBe(root.digest);
      await skopeo("copy", `oci:${site.dataDir}:${name}`, `dir:${site.folder}/copy-${root.size}`);
    }
    const config = await skopeo("inspect", "--config", `oci:${site.dataDir}:${SINGLE}`);
    expect(JSON.parse(config)).toMatchObject({ os: "linux", architecture: "amd64" });
  });

  test("copies every kind of image from the embedded registry, over TLS, with a password", async () => {
    await using site = await openSite();
    const htpasswd = join(site.folder, "htpasswd");
    await Bun.write(
      htpasswd,
      `edge:${await Bun.password.hash("s3cret", { algorithm: "bcrypt", cost: 4 })}\n`,
    );
    const { server: pair } = testCertificates();
    await using server = serveRegistry({
      registry: createRegistry({
        store: site.store,
        isWritable: false,
        access: createAccess({ users: await openHtpasswd(htpasswd), clock: systemClock }),
        project: "spectro-images",
      }),
      hostname: "127.0.0.1",
      port: 0,
      clock: systemClock,
      tls: { cert: pair.certificate, key: pair.key },
    });
    const registry = `docker://${server.address}`;
    const tls = ["--src-tls-verify=false"];
    const names = [SINGLE, MULTI, `spectro-images/${SINGLE}`, "10.0.0.5_5000/team/app:v1"];
    for (const [i, name] of names.entries()) {
      const target = `dir:${site.folder}/pulled-${i}`;
      await skopeo(
        "copy",
        ...tls,
        "--src-creds",
        "edge:s3cret",
        "--all",
        `${registry}/${name}`,
        target,
      );
    }
    const wrong = skopeo(
      "copy",
      ...tls,
      "--src-creds",
      "edge:x",
      `${registry}/${SINGLE}`,
      `dir:${site.folder}/no`,
    );
    await expect(wrong).rejects.toThrow(/unauthorized/i);
  });
});

describe("the embedded registry over the disk", () => {
  test("sends wholes, parts and heads from the file, with one of each header", async () => {
    await using site = await openSite();
    const registry = createRegistry({ store: site.store, isWritable: false });
    await using server = serveRegistry({
      registry,
      hostname: "127.0.0.1",
      port: 0,
      clock: systemClock,
    });
    const manifest = (await (
      await fetch(`http://${server.address}/v2/${SINGLE.replace(":", "/manifests/")}`)
    ).json()) as {
      layers: { digest: string; size: number }[];
    };
    const layer = manifest.layers[2] ?? { digest: "", size: 0 };
    const url = `http://${server.address}/v2/${SINGLE.split(":")[0]}/blobs/${layer.digest}`;

    const whole = await fetch(url);
    expect(whole.headers.get("content-length")).toBe(String(layer.size));
    expect(whole.headers.get("accept-ranges")).toBe("bytes");
    expect(whole.headers.get("content-disposition")).toBe("attachment");
    const bytes = await whole.bytes();
    expect(digestOf(bytes) as string).toBe(layer.digest);

    for (const [range, start, end] of [
      ["bytes=500000-", 500_000, layer.size],
      ["bytes=0-99", 0, 100],
      ["bytes=-7", layer.size - 7, layer.size],
    ] as const) {
      const part = await fetch(url, { headers: { range } });
      expect(part.status).toBe(206);
      expect(part.headers.get("content-range")).toBe(`bytes ${start}-${end - 1}/${layer.size}`);
      expect(part.headers.get("content-length")).toBe(String(end - start));
      expect(part.headers.get("accept-ranges")).toBe("bytes");
      expect(await part.bytes()).toEqual(bytes.subarray(start, end));
    }
    const several = await fetch(url, { headers: { range: "bytes=0-1,4-5" } });
    expect(several.status).toBe(200);
    expect(await several.bytes()).toEqual(bytes);
    const stale = await fetch(url, { headers: { range: "bytes=0-1", "if-range": '"another"' } });
    expect(stale.status).toBe(200);
    expect(await stale.bytes()).toEqual(bytes);
    const head = await fetch(url, { method: "HEAD" });
    expect(head.headers.get("content-length")).toBe(String(layer.size));
    expect(await head.text()).toBe("");
  });
});
