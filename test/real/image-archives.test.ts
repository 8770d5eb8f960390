import { describe, expect, test } from "bun:test";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import {
  archiveMembers,
  findImageArchives,
  imageLayers,
  loadImages,
  openImageArchive,
} from "#archive";
import { systemClock } from "#base";
import { createMemoryStore, digestOf, readImageGraph } from "#content";
import { parsePlatform } from "#oci";
import { openStore } from "#store";
import { buildImage, putBytes, putJson } from "#test-support/images";
import { dray, temporaryFolder } from "#test-support/program";

const MISSING = ["skopeo", "zstd", "tar"].filter((name) => !Bun.which(name)).join(", ");
const NAME = "registry.k8s.io/kube-apiserver:v1.31.2";
const { signal } = new AbortController();
const platform = parsePlatform("linux/amd64");

async function run(...command: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command);
  if (exitCode !== 0) throw new Error(`${command.join(" ")}: ${stderr.toString()}`);
  return stdout.toString();
}

const skopeo = (...words: string[]) => run("skopeo", "--insecure-policy", ...words);

describe.skipIf(MISSING !== "")(
  `skopeo (left out where these are missing: ${MISSING || "none"})`,
  () => {
    test("its archives, in a layer that GNU tar made, are found and loaded into a store", async () => {
      await using folder = await temporaryFolder();
      const at = (name: string) => join(folder.path, name);
      const images = "root/var/lib/rancher/rke2/agent/images";
      await mkdir(at(images), { recursive: true });
      await mkdir(at("root/opt/content/images"), { recursive: true });
      await using store = await openStore(at("data"), { clock: systemClock });
      const root = await buildImage(store, NAME, { seed: "api", layers: 3, layerBytes: 50_000 });
      await store.flush();
      const from = `oci:${at("data")}:${NAME}`;
      await skopeo("copy", from, `docker-archive:${at(images)}/docker.tar:${NAME}`);
      await skopeo("copy", from, `oci-archive:${at(images)}/oci.tar:${NAME}`);
      await run("zstd", "-q", "--rm", `${at(images)}/oci.tar`);
      await skopeo("copy", from, `oci:${at("root/opt/content/images/layout")}:${NAME}`);
      await run("tar", "-C", at("root"), "-cf", at("layer.tar"), ".");

      const provider = createMemoryStore();
      const tar = await Bun.file(at("layer.tar")).bytes();
      const layer = await putBytes(provider, "application/vnd.oci.image.layer.v1.tar", tar);
      const config = await putJson(provider, "application/vnd.oci.image.config.v1+json", {
        ...{ os: "linux", architecture: "amd64" },
        rootfs: { type: "layers", diff_ids: [digestOf(tar)] },
      });
      const mediaType = "application/vnd.oci.image.manifest.v1+json";
      const manifest = await putJson(provider, mediaType, {
        schemaVersion: 2,
        mediaType,
        config,
        layers: [layer],
      });
      const graph = await readImageGraph(provider, manifest, platform, { signal });
      const image = { fetcher: provider, layers: await imageLayers(provider, graph, { signal }) };

      const found = await findImageArchives(image, { signal });
      expect(
        found.map(({ path, trouble }) => `${path.split("/").at(-1)} ${trouble?.message ?? "good"}`),
      ).toEqual(["layout good", "docker.tar good", "oci.tar.zst good"]);
      const target = createMemoryStore();
      const { loaded, trouble } = await loadImages(image, found, target, {
        signal,
        platform,
        nameOf: (name) => name,
      });
      expect(trouble).toEqual([]);
      expect(loaded.map(({ name }) => name)).toEqual([NAME, NAME, NAME]);
      const digests = loaded.map((each) => each.root.digest);
      // Docker's form keeps no manifest; the other two keep the one that was delivered.
      expect([digests[0], digests[2]]).toEqual([root.digest, root.digest]);
      for (const each of loaded) {
        const whole = await readImageGraph(target, each.root, platform, { signal });
        for (const blob of whole.blobs) expect(await target.has(blob)).toBe(true);
      }
    });

    test("reads what is exported: the layout, the archive as OCI's and as Docker's", async () => {
      await using folder = await temporaryFolder();
      const at = (name: string) => join(folder.path, name);
      {
        await using store = await openStore(at("data"), { clock: systemClock });
        await buildImage(store, NAME, {
          seed: "api",
          platforms: ["linux/amd64", "linux/arm64"],
          layerBytes: 50_000,
        });
      }
      const words = ["-d", at("data"), "--platform", "linux/amd64"];
      expect(await dray(["export", NAME, "--to", `oci:${at("layout")}`, ...words])).toMatchObject({
        exitCode: 0,
      });
      expect(
        await dray(["export", NAME, "--to", `oci-archive:${at("a.tar")}`, ...words]),
      ).toMatchObject({ exitCode: 0 });
      const sources = [
        `oci:${at("layout")}:${NAME}`,
        `oci-archive:${at("a.tar")}:${NAME}`,
        `docker-archive:${at("a.tar")}:${NAME}`,
      ];
      for (const [i, source] of sources.entries()) {
        const config: unknown = JSON.parse(await skopeo("inspect", "--config", source));
        expect(config).toMatchObject({ os: "linux", architecture: "amd64" });
        await skopeo("copy", source, `dir:${at(`copy-${i}`)}`);
      }
      const open = () => archiveMembers(Bun.file(at("a.tar")).stream());
      expect((await openImageArchive(open, { signal })).images[0]?.names).toEqual([NAME]);
    });
  },
);
