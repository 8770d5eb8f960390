import { expect, setDefaultTimeout, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startHarbor } from "#test-support/harbor";
import { startLoopbackRegistry } from "#test-support/loopback-registry";
import { dray, temporaryFolder } from "#test-support/program";

// Programs are started and images made: on a busy machine that takes its time.
setDefaultTimeout(120_000);

const EXTERNAL = { username: "mirror", password: "external-canary" };
const PROJECT = "spectro-images";
const PLATFORMS = ["linux/amd64", "linux/arm64"];

/** Declared references, where each lies in the external registry, and whether it is uploaded. */
const IMAGES = [
  { declared: "quay.io/kairos/core:v1", path: "core:v1", layer: "os", isApplication: false },
  { declared: "docker.io/calico/node:v3", path: "node:v3", layer: "cni", isApplication: false },
  { declared: "goharbor/core:v2", path: "core:v2", layer: "harbor", isApplication: false },
  { declared: "nginx:1.27", path: "nginx:1.27", layer: "addon", isApplication: true },
  { declared: "ghcr.io/shop/till:v9", path: "till:v9", layer: "addon", isApplication: true },
] as const;

const THERE: Readonly<Record<string, string>> = {
  "nginx:1.27": `${PROJECT}/docker.io/library/nginx`,
  "ghcr.io/shop/till:v9": `${PROJECT}/ghcr.io/shop/till`,
};

/** What skopeo finds: the bytes of the manifest or index, as they are. */
async function inspect(login: string, reference: string): Promise<string> {
  const words = ["inspect", "--raw", "--tls-verify=false", "--creds", login];
  const child = Bun.spawn(["skopeo", ...words, `docker://${reference}`], { stderr: "pipe" });
  const [out, err, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return exitCode === 0 ? out : `skopeo failed: ${err}`;
}

const sha256 = (text: string) => new Bun.CryptoHasher("sha256").update(text).digest("hex");

test("a Harbor declared by its pack holds exactly the application images, as they are in the external registry that asks for a password", async () => {
  await using folder = await temporaryFolder();
  await using harbor = await startHarbor();
  const path = (name: string) => join(folder.path, name);
  const images = IMAGES.map(({ path: name, declared }) => {
    return [`mirror/${name}`, { seed: declared, platforms: PLATFORMS, layers: 2 }] as const;
  });
  await using external = await startLoopbackRegistry(path("external"), {
    images: { ...Object.fromEntries(images), "mirror/late:v1": { seed: "late" } },
    login: EXTERNAL,
  });
  const content = (layer: string) =>
    IMAGES.filter((each) => each.layer === layer).map(({ declared: image }) => ({ image }));
  const pack = (name: string, layer: string, values: object) => ({
    ...{ name, layer },
    values: JSON.stringify(values),
  });
  const packs = [
    pack("edge-native-byoi", "os", { options: { "system.uri": "quay.io/kairos/core:v1" } }),
    pack("cni-calico", "cni", { pack: { content: { images: content("cni") } } }),
    pack("harbor-edge-native-config", "addon", {
      pack: { content: { images: content("harbor") } },
      "harbor-config": { auth: { password: harbor.adminPassword } },
    }),
    pack("shop", "addon", { pack: { content: { images: content("addon") } } }),
  ];
  const profile = { metadata: { name: "edge" }, spec: { template: { packs } } };
  await writeFile(path("profile.json"), JSON.stringify(profile));
  const domain = `${external.address}/mirror`;
  const userData = { stylus: { registryCredentials: { domain, ...EXTERNAL } } };
  await writeFile(path("user-data.yaml"), `#cloud-config\n${JSON.stringify(userData)}\n`);
  const { address, caFile } = harbor;
  // Only what no profile can know: where on this machine it is, and whom to trust.
  const localRegistry = { kind: "harbor", address, caFile, indexes: "complete" };
  const site = { apiVersion: "drayage/v1", kind: "Site", localRegistry };
  await writeFile(path("site.yaml"), JSON.stringify(site));
  const deliver = () =>
    dray([
      ...["deliver", `--profile=${path("profile.json")}`, `--user-data=${path("user-data.yaml")}`],
      ...[`--site=${path("site.yaml")}`, `--data-dir=${path("store")}`, "--platform=linux/amd64"],
    ]);
  const run = await deliver();
  expect(run.out).toContain("2 uploaded");
  expect(run.exitCode).toBe(0);
  for (const secret of [EXTERNAL.password, harbor.adminPassword]) {
    expect(run.out + run.err).not.toContain(secret);
  }

  const pushed = harbor.requests.flatMap(({ method, path }) => {
    const [, repository] = /^\/v2\/(.+)\/manifests\//.exec(path) ?? [];
    return method === "PUT" && repository !== undefined ? [repository] : [];
  });
  expect([...new Set(pushed)].toSorted()).toEqual(Object.values(THERE).toSorted());
  const admin = `admin:${harbor.adminPassword}`;
  const mirror = `${EXTERNAL.username}:${EXTERNAL.password}`;
  for (const { declared, path: name, isApplication } of IMAGES) {
    const [, tag] = name.split(":");
    const source = await inspect(mirror, `${external.address}/mirror/${name}`);
    expect(source).toStartWith("{");
    const there = THERE[declared];
    if (there === undefined || !isApplication) continue;
    expect(await inspect(admin, `${address}/${there}:${tag}`)).toBe(source);
    expect(await inspect(admin, `${address}/${there}@sha256:${sha256(source)}`)).toBe(source);
  }

  const before = harbor.requests.length;
  const again = await deliver();
  expect(again.out).toContain("0 uploaded, 2 there already, 0 B sent");
  const sent = harbor.requests.slice(before).filter(({ method, path }) => {
    return path.startsWith("/v2/") && method !== "GET" && method !== "HEAD";
  });
  expect(sent).toEqual([]);

  // Somebody changed the password of the admin, and a new image is wanted: the robot still pushes.
  const late = pack("late", "addon", { pack: { content: { images: [{ image: "late:v1" }] } } });
  const later = { ...profile, spec: { template: { packs: [...packs, late] } } };
  await writeFile(path("profile.json"), JSON.stringify(later));
  await writeFile(path("password"), "stale-canary\n");
  const stale = { ...localRegistry, username: "admin", passwordFile: path("password") };
  await writeFile(path("site.yaml"), JSON.stringify({ ...site, localRegistry: stale }));
  const despite = await deliver();
  expect(despite.out).toContain("1 uploaded, 2 there already");
  expect(despite.exitCode).toBe(0);
  expect(despite.err).toContain("can't be looked after with the credential of site:localRegistry");
  expect(despite.out + despite.err).not.toContain("stale-canary");
  const there = await inspect(admin, `${address}/${PROJECT}/docker.io/library/late:v1`);
  expect(there).toBe(await inspect(mirror, `${external.address}/mirror/late:v1`));
});
