import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { systemClock } from "#base";
import { openStore } from "#store";
import { haveClients, runClient } from "#test-support/foreign-client";
import { buildImage } from "#test-support/images";
import { dray, temporaryFolder } from "#test-support/program";
import { startRegistryProgram } from "#test-support/serving-program";

setDefaultTimeout(60_000);

const IMAGE = "app:v1";
const PLATFORMS = ["linux/amd64", "linux/arm64"];

/** A layout with an image that clients push from, and the digest of its index. */
let images: Awaited<ReturnType<typeof temporaryFolder>>;
let root = "";

beforeAll(async () => {
  images = await temporaryFolder();
  await using store = await openStore(join(images.path, "layout"), { clock: systemClock });
  root = (await buildImage(store, IMAGE, { seed: "app", platforms: PLATFORMS })).digest;
});

afterAll(() => images[Symbol.asyncDispose]());

/** A registry that has the image, pushed by skopeo. */
async function openSite() {
  const folder = await temporaryFolder();
  const dataDir = join(folder.path, "data");
  const registry = await startRegistryProgram(dataDir);
  const run = (...command: readonly string[]) => runClient(folder.path, command);
  const repository = `${registry.address}/team/app`;
  await run(
    ...["skopeo", "--insecure-policy", "copy", "--all", "--dest-tls-verify=false"],
    ...[`oci:${join(images.path, "layout")}:${IMAGE}`, `docker://${repository}:v1`],
  );
  const v2 = `http://${registry.address}/v2/team/app`;
  return {
    ...{ run, repository, v2 },
    tags: async () => (await (await fetch(`${v2}/tags/list`)).json()) as { tags: string[] },
    verify: () => dray(["verify", `--data-dir=${dataDir}`]),
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

const tagOf = (digest: string, suffix: string) => `${digest.replace(":", "-")}.${suffix}`;

describe.skipIf(!haveClients("skopeo", "cosign"))("cosign", () => {
  test("signs an image with all its platforms, and finds and verifies what it signed", async () => {
    await using site = await openSite();
    const image = `${site.repository}@${root}`;
    await site.run("cosign", "generate-key-pair");
    const options = ["--allow-http-registry", "--key"];
    const offline = ["--yes", "--tlog-upload=false"];
    await site.run(
      ...["cosign", "sign", ...offline, "--recursive", ...options, "cosign.key"],
      image,
    );
    const { tags } = await site.tags();
    expect(tags).toContain(tagOf(root, "sig"));
    // One for the index, one for each platform.
    expect(tags.filter((tag) => tag.endsWith(".sig"))).toHaveLength(1 + PLATFORMS.length);
    const verify = ["cosign", "verify", "--insecure-ignore-tlog", ...options, "cosign.pub"];
    expect(await site.run(...verify, image)).toContain(root);
    // A second signature goes beside the first one: the tag is pushed again.
    await site.run("cosign", "sign", ...offline, "-a", "by=other", ...options, "cosign.key", image);
    const both = JSON.parse(await site.run(...verify, image));
    expect(both).toHaveLength(2);
    const other = await site.run(...verify, "-a", "by=other", image);
    expect(JSON.parse(other)).toHaveLength(1);
    expect(await site.verify()).toMatchObject({ exitCode: 0 });
  });

  test("attests, and its attestation is verified; nothing is found of an image that has none", async () => {
    await using site = await openSite();
    const image = `${site.repository}@${root}`;
    await site.run("cosign", "generate-key-pair");
    const options = ["--allow-http-registry", "--key"];
    await site.run("sh", "-c", 'echo \'{"built":"here"}\' > predicate.json');
    await site.run(
      ...["cosign", "attest", "--yes", "--tlog-upload=false", "--predicate=predicate.json"],
      ...[...options, "cosign.key", image],
    );
    expect((await site.tags()).tags).toContain(tagOf(root, "att"));
    const verify = ["--insecure-ignore-tlog", ...options, "cosign.pub", image];
    const attested = await site.run("cosign", "verify-attestation", ...verify);
    const { predicate } = JSON.parse(
      Buffer.from(JSON.parse(attested).payload, "base64").toString(),
    );
    expect(predicate.Data).toBe('{"built":"here"}\n');
    await expect(site.run("cosign", "verify", ...verify)).rejects.toThrow(/no signatures found/);
  });
});

describe.skipIf(!haveClients("skopeo", "crane"))("crane", () => {
  test("pushes a signature under cosign's tag and finds it, and copies it with the image", async () => {
    await using site = await openSite();
    const put = async (bytes: string) => {
      const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
      const path = `${site.v2}/blobs/uploads/?digest=${digest}`;
      expect((await fetch(path, { method: "POST", body: bytes })).status).toBe(201);
      return { digest, size: bytes.length };
    };
    const payload = JSON.stringify({
      critical: {
        image: { "docker-manifest-digest": root },
        type: "cosign container image signature",
      },
    });
    const layer = {
      mediaType: "application/vnd.dev.cosign.simplesigning.v1+json",
      ...(await put(payload)),
      annotations: { "dev.cosignproject.cosign/signature": "bm90IGEgc2lnbmF0dXJl" },
    };
    const mediaType = "application/vnd.oci.image.manifest.v1+json";
    const config = { mediaType: "application/vnd.oci.image.config.v1+json", ...(await put("{}")) };
    const manifest = JSON.stringify({ schemaVersion: 2, mediaType, config, layers: [layer] });
    const tag = tagOf(root, "sig");
    const headers = { "content-type": mediaType };
    const pushed = await fetch(`${site.v2}/manifests/${tag}`, {
      ...{ method: "PUT", headers, body: manifest },
    });
    expect(pushed.status).toBe(201);
    const crane = (...words: readonly string[]) => site.run("crane", "--insecure", ...words);
    expect(await crane("manifest", `${site.repository}:${tag}`)).toBe(manifest);
    const copy = site.repository.replace("/team/app", "/elsewhere/app");
    await crane("copy", "--all-tags", site.repository, copy);
    expect(await crane("digest", `${copy}:v1`)).toBe(root);
    expect(await crane("blob", `${copy}@${layer.digest}`)).toBe(payload);
    expect((await crane("ls", copy)).split("\n").sort()).toEqual([tag, "v1"]);
  });
});
