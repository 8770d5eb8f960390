import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { testCertificates } from "#test-support/certificates";
import { freePort } from "#test-support/docker-registry";
import { type Harbor, startHarbor } from "#test-support/harbor";
import { startLoopbackRegistry } from "#test-support/loopback-registry";
import { dray, temporaryFolder } from "#test-support/program";
import { startRegistryProgram } from "#test-support/serving-program";

// Programs are started and images made: on a busy machine that takes its time.
setDefaultTimeout(60_000);

const LAYER_BYTES = 200_000;
const IMAGES = {
  "kairos/core:v1": { seed: "os", layerBytes: LAYER_BYTES },
  "cni/node:v1": { seed: "cni", layerBytes: LAYER_BYTES, sharedBase: "base" },
  "team/app:v1": { seed: "app", layerBytes: LAYER_BYTES, sharedBase: "base" },
  "team/side:v1": {
    seed: "side",
    layerBytes: LAYER_BYTES,
    platforms: ["linux/amd64", "linux/arm64"],
  },
};

interface SiteOptions {
  readonly harbor?: Harbor;
  /** Delivers nothing. */
  readonly isEmpty?: boolean;
}

/** A site to which the images were delivered, and the one registry of the world. */
async function openSite({ harbor, isEmpty = false }: SiteOptions = {}) {
  await using undo = new AsyncDisposableStack();
  const folder = undo.use(await temporaryFolder()).path;
  const world = undo.use(await startLoopbackRegistry(join(folder, "world"), { images: IMAGES }));
  const path = (name: string) => join(folder, name);
  const named = (name: string) => ({ image: `${world.address}/${name}` });
  const content = (...names: readonly string[]) =>
    JSON.stringify({ pack: { content: { images: names.map(named) } } });
  const packs = [
    {
      name: "byoi",
      layer: "os",
      values: JSON.stringify({ options: { "system.uri": `${world.address}/kairos/core:v1` } }),
    },
    { name: "cni", layer: "cni", values: content("cni/node:v1") },
    { name: "apps", layer: "addon", values: content("team/app:v1", "team/side:v1") },
  ];
  await writeFile(
    path("profile.json"),
    JSON.stringify({ metadata: { name: "edge" }, spec: { template: { packs } } }),
  );
  const listen = `127.0.0.1:${await freePort()}`;
  if (harbor !== undefined) await writeFile(path("password"), `${harbor.adminPassword}\n`);
  const local = harbor && {
    ...{ kind: "harbor", address: harbor.address, caFile: harbor.caFile },
    ...{ username: "admin", passwordFile: "password" },
  };
  await writeFile(
    path("site.yaml"),
    JSON.stringify({
      ...{ apiVersion: "drayage/v1", kind: "Site", dataDir: "store", platform: "linux/amd64" },
      registry: { listen },
      runtime: { configDir: "certs.d" },
      ...(local === undefined ? {} : { localRegistry: local }),
    }),
  );
  const inputs = [`--profile=${path("profile.json")}`, `--site=${path("site.yaml")}`];
  if (!isEmpty) {
    const { exitCode, err } = await dray(["deliver", ...inputs]);
    expect(`${exitCode} ${exitCode === 0 ? "" : err}`).toBe("0 ");
  }
  const stack = undo.move();
  return {
    folder,
    world,
    listen,
    dataDir: path("store"),
    certsDir: path("certs.d"),
    prove: (...words: readonly string[]) =>
      dray(["prove", ...inputs, `--containerd-config=${path("config.toml")}`, ...words]),
    proof: async (...words: readonly string[]): Promise<Proof> => {
      const run = await dray([
        ...["prove", ...inputs, `--containerd-config=${path("config.toml")}`, "-o", "json"],
        ...words,
      ]);
      expect(run.err).not.toContain("bug");
      const proof = JSON.parse(run.out);
      expect([proof.apiVersion, proof.kind]).toEqual(["drayage/v1", "Proof"]);
      expect(run.exitCode).toBe(proof.ok ? 0 : 3);
      return proof;
    },
    async redirect(runtime = "containerd", ...words: readonly string[]) {
      await writeFile(path("config.toml"), CONFIG_TOML(path("certs.d")));
      const configDir = `--config-dir=${path("certs.d")}`;
      const run = await dray(["redirect", runtime, ...inputs, configDir, ...words]);
      expect(run.exitCode).toBe(0);
    },
    serve: () => startRegistryProgram(path("store"), [`--listen=${listen}`]),
    verify: () => dray(["verify", "-d", path("store"), "-o", "json"]),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

const CONFIG_TOML = (certsDir: string) =>
  `version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "${certsDir}"\n`;

interface Proof {
  readonly ok: boolean;
  readonly at?: string;
  readonly digest: string;
  readonly site: { readonly problems: readonly Problem[]; readonly notes: readonly string[] };
  readonly references: readonly {
    readonly declared: string;
    readonly stage: string;
    readonly ok: boolean;
    readonly digest: string | null;
    readonly problems: readonly Problem[];
    readonly places: readonly {
      readonly role: string;
      readonly url: string;
      readonly digest: string | null;
      readonly blobs: number;
      readonly bytesRead: number;
    }[];
    readonly redirection: { readonly asks: readonly { role: string; url: string }[] } | null;
  }[];
}

interface Problem {
  readonly code: string;
  readonly message: string;
  readonly remedy: string;
}

function codesOf({ references }: Proof): Readonly<Record<string, readonly string[]>> {
  return Object.fromEntries(
    references.map(({ declared, problems }) => [
      declared.replace(/^[^/]*\//, ""),
      problems.map(({ code }) => code),
    ]),
  );
}

const SOUND = { "kairos/core:v1": [], "cni/node:v1": [], "team/app:v1": [], "team/side:v1": [] };

/** The largest blobs of the store, as files. */
async function layersOf(dataDir: string): Promise<readonly string[]> {
  const folder = join(dataDir, "blobs", "sha256");
  const files = (await readdir(folder)).sort().map((name) => join(folder, name));
  const sizes = await Promise.all(files.map(async (file) => (await stat(file)).size));
  return files.filter((_, i) => (sizes[i] ?? 0) >= LAYER_BYTES);
}

describe("dray prove", () => {
  test("knows the embedded registry by the address that the site file gives to nodes", async () => {
    await using site = await openSite({ isEmpty: true });
    const file = join(site.folder, "site.yaml");
    const settings = JSON.parse(await readFile(file, "utf8"));
    settings.registry.address = "edge.invalid:5055";
    await writeFile(file, JSON.stringify(settings));
    await site.redirect();
    const { references } = await site.proof("--runtime=containerd");
    const roles = references.map(({ redirection }) => redirection?.asks.map(({ role }) => role));
    expect(roles).toEqual(references.map(() => ["embedded", "elsewhere"]));
  });

  test("says of a site to which nothing was delivered that everything is wanting, and what to do", async () => {
    await using site = await openSite({ isEmpty: true });
    const { out, exitCode } = await site.prove();
    expect(exitCode).toBe(3);
    expect(out.match(/\[not-delivered\]/g)).toHaveLength(4);
    expect(out).toContain("do: Run `dray deliver`");
    expect(out).toContain("Not ready: 4 of 4 references are wanting");
    expect(site.world.requests).toEqual([]);
  });

  test("gives the same answer with the link and without it, and asks nobody outside of the site", async () => {
    await using site = await openSite();
    const asked = site.world.requests.length;
    const withLink = await site.proof("--full");
    expect(site.world.requests).toHaveLength(asked);
    await site.world.stop();
    const without = await site.proof("--full");
    expect(codesOf(withLink)).toEqual(SOUND);
    expect(withLink.ok).toBe(true);
    const { at: _first, ...first } = withLink;
    const { at: _second, ...second } = without;
    expect(second).toEqual(first);
    expect(withLink.site.notes.join()).toContain("not running");
  });

  test("reads as much as it is told to: the end of one blob an image, a sample, all", async () => {
    await using site = await openSite();
    const bytes = async (...words: readonly string[]) => {
      const { references } = await site.proof(...words);
      return references.reduce((sum, { places: [place] }) => sum + (place?.bytesRead ?? 0), 0);
    };
    expect(await bytes()).toBe(4 * 64 * 1024);
    const all = await bytes("--full");
    // Four images of two layers.
    expect(all).toBeGreaterThan(8 * LAYER_BYTES);
    expect(all).toBeLessThan(9 * LAYER_BYTES);
    const some = await bytes("--sample=60");
    expect(some).toBeGreaterThan(4 * 64 * 1024);
    expect(some).toBeLessThan(all);
    expect(await bytes("--sample=60")).toBe(some);
    const { exitCode, out } = await site.prove("--full");
    expect(exitCode).toBe(0);
    expect(out).toContain("This site is ready offline: 4 of 4 references");
  });

  test("a damaged blob is named by prove --full with all images that need it, and by verify", async () => {
    await using site = await openSite();
    const images = ["cni/node:v1", "team/app:v1"];
    const shared = await sharedLayer(site.dataDir);
    const bytes = await Bun.file(shared).bytes();
    bytes[1000] = (bytes[1000] ?? 0) ^ 1;
    await writeFile(shared, bytes);
    const proof = await site.proof("--full");
    const damaged = proof.references.filter(({ ok }) => !ok);
    expect(damaged.map(({ declared }) => declared.replace(/^[^/]*\//, ""))).toEqual(images);
    for (const { problems } of damaged) {
      expect(problems.map(({ code }) => code)).toEqual(["content-damaged"]);
      expect(problems[0]?.message).toContain(`sha256:${shared.slice(-64)}`);
      expect(problems[0]?.remedy).toContain("dray verify");
    }
    const verified = await site.verify();
    expect(verified.exitCode).toBe(3);
    expect(verified.out).toContain(shared.slice(-64));
    // To the store it is missing from then on, which takes no full reading to find.
    expect((await site.proof()).references.flatMap(({ problems }) => problems)).toHaveLength(2);
  });

  test("a manifest that is gone, and a blob that is short, are found without reading blobs", async () => {
    await using site = await openSite();
    const [layer = ""] = await layersOf(site.dataDir);
    await writeFile(layer, "short");
    const { references, ok } = await site.proof();
    expect(ok).toBe(false);
    const codes = new Set(references.flatMap(({ problems }) => problems.map(({ code }) => code)));
    expect([...codes]).toEqual(["blob-missing"]);
  });

  test("follows the runtime's own files to the embedded registry, and says when it is not running", async () => {
    await using site = await openSite();
    await mkdir(site.certsDir);
    const before = await site.proof("--runtime=containerd");
    expect(new Set(Object.values(codesOf(before)).flat())).toEqual(new Set(["not-redirected"]));
    expect(before.references[0]?.problems[0]?.remedy).toContain("dray redirect containerd");

    await site.redirect();
    {
      await using _server = await site.serve();
      const proof = await site.proof("--runtime=containerd");
      expect(proof.ok).toBe(true);
      expect(proof.site.problems).toEqual([]);
      const [first] = proof.references;
      const ns = encodeURIComponent(site.world.address);
      const url = `http://${site.listen}/v2/kairos/core/manifests/v1?ns=${ns}`;
      expect(first?.redirection?.asks[0]).toEqual({ url, role: "embedded" });
      expect(first?.redirection?.asks.at(-1)?.role).toBe("elsewhere");
      expect(first?.places.map((place) => place.url)).toEqual([url]);
    }
    const stopped = await site.proof("--runtime=containerd");
    expect(stopped.site.problems.map(({ code }) => code)).toEqual(["embedded-not-running"]);
    expect(codesOf(stopped)).toEqual(SOUND);
    expect(stopped.ok).toBe(false);
  });

  test("asks an embedded registry with TLS and a password with what the runtime's files have for it", async () => {
    await using site = await openSite();
    const { caPath, server } = testCertificates();
    const hash = await Bun.password.hash("canary", { algorithm: "bcrypt", cost: 4 });
    await writeFile(join(site.folder, "users"), `node:${hash}\n`);
    await writeFile(join(site.folder, "node-password"), "canary\n");
    await using guarded = await startRegistryProgram(site.dataDir, [
      ...[`--tls-cert=${server.certificatePath}`, `--tls-key=${server.keyPath}`],
      `--htpasswd=${join(site.folder, "users")}`,
    ]);
    const embedded = `--embedded=https://${guarded.address}`;
    const login = [
      ...["--embedded-user=node", `--embedded-ca=${caPath}`],
      `--embedded-password-file=${join(site.folder, "node-password")}`,
    ];
    for (const runtime of ["containerd", "k3s"]) {
      await site.redirect(runtime, embedded, ...login);
      const proof = await site.proof(`--runtime=${runtime}`, embedded);
      expect(codesOf(proof)).toEqual(SOUND);
      expect(proof.site.notes).toEqual([]);
      expect(JSON.stringify(proof)).not.toContain("canary");
    }
    await site.redirect("containerd", embedded, ...login.slice(1, 2));
    const without = await site.proof("--runtime=containerd", embedded);
    expect(codesOf(without)["cni/node:v1"]).toEqual(["registry-unauthorized"]);
    const alone = await site.proof(embedded);
    expect(codesOf(alone)).toEqual(SOUND);
    expect(alone.site.notes.join()).toContain("lets in nobody without a login");
  });

  test("says when containerd does not read the folder of mirrors at all", async () => {
    await using site = await openSite();
    await site.redirect();
    await using _server = await site.serve();
    await writeFile(join(site.certsDir, "../config.toml"), "version = 2\n");
    const proof = await site.proof("--runtime=containerd");
    expect(proof.site.problems.map(({ code }) => code)).toEqual(["mirrors-unread"]);
  });

  test("a file of mirrors that can't be read is a finding of each image, and ends no proof", async () => {
    await using site = await openSite();
    await using _server = await site.serve();
    const broken = join(site.folder, "k3s");
    await mkdir(join(broken, "registries.yaml"), { recursive: true });
    const k3s = await site.proof("--runtime=k3s", `--config-dir=${broken}`);
    const refused = Object.keys(SOUND).map((name) => [name, ["config-not-text"]]);
    expect(codesOf(k3s)).toEqual(Object.fromEntries(refused));
    expect(k3s.references.map(({ digest }) => digest === null)).not.toContain(true);
    await site.redirect();
    await rm(join(site.folder, "config.toml"));
    await mkdir(join(site.folder, "config.toml"));
    const containerd = await site.proof("--runtime=containerd");
    expect(containerd.site.problems.map(({ code }) => code)).toEqual(["config-not-text"]);
    expect(codesOf(containerd)).toEqual(SOUND);
  });

  test("application images must be at the local registry, by the nodes' own account", async () => {
    await using harbor = await startHarbor({ embedded: true });
    await using site = await openSite({ harbor });
    await site.redirect();
    await using _server = await site.serve();
    const sound = await site.proof("--runtime=containerd", "--full");
    expect(codesOf(sound)).toEqual(SOUND);
    const roles = sound.references.map(({ stage, places }) => [
      stage,
      places.map(({ role }) => role),
    ]);
    expect(roles).toEqual([
      ["provider", ["embedded"]],
      ["infrastructure", ["embedded"]],
      ["application", ["local", "embedded"]],
      ["application", ["local", "embedded"]],
    ]);
    expect(JSON.stringify(sound)).not.toContain(harbor.adminPassword);

    const [, nodes = ""] = harbor.robots();
    harbor.revokeRobot(nodes);
    const refused = await site.proof("--runtime=containerd");
    expect(codesOf(refused)).toEqual({
      ...SOUND,
      "team/app:v1": ["registry-unauthorized"],
      "team/side:v1": ["registry-unauthorized"],
    });
    await rm(site.certsDir, { recursive: true });
  });

  test("inputs that can't be planned are refused", async () => {
    const { exitCode, err } = await dray(["prove", "--profile=/nowhere.json"]);
    expect(exitCode).toBe(2);
    expect(err).toContain("/nowhere.json");
    expect((await dray(["prove", "--profile=x", "--full", "--sample=5"])).exitCode).toBe(2);
  });
});

/** The layer that two of the images have. */
async function sharedLayer(dataDir: string): Promise<string> {
  const folder = join(dataDir, "blobs", "sha256");
  const counts = new Map<string, number>();
  for (const name of await readdir(folder)) {
    const file = Bun.file(join(folder, name));
    if (file.size > 10_000) continue;
    const document = await file.json().catch(() => undefined);
    for (const { digest } of document?.layers ?? []) {
      counts.set(digest, (counts.get(digest) ?? 0) + 1);
    }
  }
  const [digest] = [...counts].find(([, count]) => count > 1) ?? [];
  if (digest === undefined) throw new Error("no two images share a layer");
  return join(folder, digest.slice("sha256:".length));
}
