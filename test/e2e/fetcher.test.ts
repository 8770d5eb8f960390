import { expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { testCertificates } from "#test-support/certificates";
import type { ImageOptions } from "#test-support/images";
import { startLoopbackRegistry } from "#test-support/loopback-registry";
import { dray, startDray, temporaryFolder } from "#test-support/program";
import { SAMPLE_IMAGES, SAMPLE_LOGIN, writeSampleSite } from "#test-support/sample-site";
import { startRegistryProgram } from "#test-support/serving-program";

// Programs are started and images made; what is not there yet is asked for every five seconds.
setDefaultTimeout(120_000);

/** A cluster of two hosts: one with the uplink, whose embedded registry runs, and one without. */
async function openCluster() {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const images = Object.fromEntries(
    SAMPLE_IMAGES.map((name): [string, ImageOptions] => [
      `spectro-images/${name}`,
      { seed: name, layers: 3, layerBytes: 60_000, sharedBase: "base" },
    ]),
  );
  const upstream = stack.use(
    await startLoopbackRegistry(join(folder.path, "upstream"), { images, login: SAMPLE_LOGIN }),
  );
  const first = stack.use(await startRegistryProgram(join(folder.path, "first")));
  const { args } = await writeSampleSite(folder.path, upstream.address);
  const site = join(folder.path, "second.yaml");
  const words = (store: string) => [
    ...["deliver", ...args, `--data-dir=${join(folder.path, store)}`],
    ...["--platform=linux/amd64", "--output=json"],
  ];
  const moved = stack.move();
  return {
    ...{ folder: folder.path, upstream, first, planArgs: args },
    deliverFirst: () => dray(words("first")),
    second: async (more = "") => {
      await writeFile(site, `link:\n  fetcher: { address: "${first.address}"${more} }\n`);
      return [...words("second"), `--site=${site}`];
    },
    /** Blobs and manifests that upstream has given so far. */
    given: () =>
      upstream.requests
        .filter(({ method, status }) => method === "GET" && status === 200)
        .map(({ path }) => path)
        .filter((path) => /\/(blobs|manifests)\//.test(path)),
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}

async function blobsIn(store: string): Promise<readonly string[]> {
  const folder = join(store, "blobs", "sha256");
  const names = (await readdir(folder)).sort();
  for (const name of names) {
    const bytes = await readFile(join(folder, name));
    expect(createHash("sha256").update(bytes).digest("hex")).toBe(name);
  }
  return names;
}

test("a second host waits for the first, takes all from it, and upstream gives each blob once", async () => {
  await using cluster = await openCluster();
  const child = startDray(await cluster.second());
  const waited = Promise.withResolvers<string>();
  let out = "";
  const reading = (async () => {
    for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
      out += chunk;
      const line = out.split("\n").find((each) => each.includes('"type":"waiting"'));
      if (line !== undefined) waited.resolve(line);
    }
    waited.reject(new Error(`It ended: ${out}`));
  })();
  const { reason } = JSON.parse(await waited.promise);
  expect(reason).toMatch(
    new RegExp(`^Cannot fetch .* from ${cluster.first.address}: it is not there yet$`),
  );
  expect(cluster.upstream.requests).toEqual([]);
  expect((await cluster.deliverFirst()).exitCode).toBe(0);
  const [err] = await Promise.all([new Response(child.stderr).text(), reading]);
  expect({ err, exit: await child.exited }).toEqual({ err: expect.anything(), exit: 0 });
  const given = cluster.given();
  expect(given.filter((path) => path.includes("/blobs/")).length).toBeGreaterThan(10);
  expect(given.length).toBe(new Set(given).size);
  const [first, second] = ["first", "second"].map((name) => join(cluster.folder, name));
  expect(await blobsIn(second ?? "")).toEqual(await blobsIn(first ?? ""));
});

test("the uplink is used when the first host brings nothing for as long as is allowed", async () => {
  await using cluster = await openCluster();
  const run = await dray(await cluster.second(", fallback: 0"));
  expect(run.exitCode).toBe(0);
  expect(run.err).toContain(`warning: ${cluster.first.address}: it has brought nothing new`);
  expect(cluster.given().length).toBeGreaterThan(10);
});

test("a first host that wants a login and has a certificate of its own is asked with both, off the budget", async () => {
  await using cluster = await openCluster();
  expect((await cluster.deliverFirst()).exitCode).toBe(0);
  const users = join(cluster.folder, "users");
  const hash = await Bun.password.hash("c4nary", { algorithm: "bcrypt", cost: 4 });
  await writeFile(users, `node:${hash}\n`);
  const { server, caPath } = testCertificates();
  await using guarded = await startRegistryProgram(join(cluster.folder, "first"), [
    ...["--read-only", `--htpasswd=${users}`],
    ...[`--tls-cert=${server.certificatePath}`, `--tls-key=${server.keyPath}`],
  ]);
  const site = join(cluster.folder, "second.yaml");
  const deliver = async (password: string) => {
    await writeFile(join(cluster.folder, "password"), password);
    const address = guarded.address.replace("127.0.0.1", "localhost");
    await writeFile(
      site,
      `link:\n  fetcher: { address: "${address}", username: node, passwordFile: password, caFile: ${caPath} }\n`,
    );
    const words = ["deliver", ...cluster.planArgs, `--site=${site}`, "--platform=linux/amd64"];
    return dray([...words, `--data-dir=${join(cluster.folder, "second")}`]);
  };
  const asked = cluster.upstream.requests.length;
  const refused = await deliver("wrong");
  expect(refused.exitCode).toBe(1);
  expect(refused.out).toContain("registry-unauthorized");
  const run = await deliver("c4nary");
  expect(run.exitCode).toBe(0);
  expect(run.out).toMatch(/\n0 B over the uplink\n$/);
  expect(refused.err + run.err + refused.out + run.out).not.toContain("c4nary");
  expect(cluster.upstream.requests.length).toBe(asked);
});

test("the plan says who fetches, and leaves the source to the rules", async () => {
  await using cluster = await openCluster();
  const site = (await cluster.second()).at(-1) ?? "";
  const run = await dray(["plan", ...cluster.planArgs, site, "--output=json"]);
  expect(run.exitCode).toBe(0);
  const [provider] = JSON.parse(run.out).stages[0].images;
  expect(provider.source).toStartWith(`${cluster.upstream.address}/spectro-images/`);
  expect(provider.via).toBe(`${cluster.first.address}/spectro-images/${provider.declared}`);
  expect(JSON.stringify(provider.because)).toContain("link-fetcher");
});
