import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { Secret, systemClock } from "#base";
import { createMemoryPushSessions, readImageGraph, type Target } from "#content";
import { type Access, ANONYMOUS } from "#credential";
import { type Descriptor, parsePlatform } from "#oci";
import { type DiskStore, openStore } from "#store";
import { testCertificates } from "#test-support/certificates";
import { openCuttingLink } from "#test-support/cutting-link";
import {
  type DockerRegistryOptions,
  hasDistribution3,
  hasDockerRegistry,
  startDockerRegistry,
} from "#test-support/docker-registry";
import { buildImage, putBytes, randomBytes } from "#test-support/images";
import { temporaryFolder } from "#test-support/program";
import { imageToPush, pushImage, targetAt } from "#test-support/push-world";
import { failureOf, remoteWith, signal } from "#test-support/remote-world";
import { startEmptyRegistryProgram } from "#test-support/serving-program";
import { hasZot, startZot } from "#test-support/zot";

const MIB = 1024 * 1024;
const LOGIN = { username: "edge", password: "s3cret:with colon" };
const NAME = "quay.io/team/app:v1";
const { ca, server } = testCertificates();

interface Running extends AsyncDisposable {
  readonly address: string;
  readonly caFile?: string;
}

/** A registry that is there, or not, and how it is known. */
interface Kind {
  readonly isHere: boolean;
  readonly start: () => Promise<Running>;
  readonly access: Access;
  /** Keeps a list of referrers itself. */
  readonly hasReferrers: boolean;
  /** Keeps what came of a chunk that was cut. */
  readonly keepsCutUploads: boolean;
}

const withPassword: Access = {
  ...ANONYMOUS,
  origin: "site:localRegistry",
  credential: { kind: "password", username: LOGIN.username, password: new Secret(LOGIN.password) },
  certificates: [ca],
};

const distribution = (options: DockerRegistryOptions, access = withPassword): Kind => ({
  isHere: options.program === "registry" ? hasDistribution3 : hasDockerRegistry,
  start: () => startDockerRegistry(options),
  access,
  hasReferrers: false,
  keepsCutUploads: options.program === "registry",
});

const KINDS: Readonly<Record<string, Kind>> = {
  "docker-registry 2.8, open": distribution({}, ANONYMOUS),
  "docker-registry 2.8 with htpasswd over TLS": distribution({ htpasswd: LOGIN, tls: server }),
  "docker-registry 2.8 with tokens": distribution({ token: LOGIN }),
  "distribution 3 with htpasswd over TLS": distribution({
    program: "registry",
    htpasswd: LOGIN,
    tls: server,
  }),
  "distribution 3 with tokens": distribution({ program: "registry", token: LOGIN }),
  "zot with htpasswd over TLS": {
    isHere: hasZot,
    start: () => startZot(LOGIN),
    access: withPassword,
    hasReferrers: true,
    keepsCutUploads: false,
  },
  "dray registry serve": {
    isHere: true,
    start: startEmptyRegistryProgram,
    access: ANONYMOUS,
    hasReferrers: true,
    keepsCutUploads: true,
  },
};

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let images: DiskStore;
let root: Descriptor;

beforeAll(async () => {
  folder = await temporaryFolder();
  images = await openStore(join(folder.path, "images"), { clock: systemClock });
  const platforms = ["linux/amd64", "linux/arm64"];
  root = await buildImage(images, NAME, {
    seed: "push",
    platforms,
    layers: 3,
    layerBytes: 3 * MIB,
  });
});

afterAll(async () => {
  await images[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

/** Pushes all of {@link root} in the order of C-100; gives how many bytes of blobs were sent. */
async function pushIndex(target: Target): Promise<number> {
  let sent = 0;
  const index = await read(root);
  for (const child of JSON.parse(index.toString()).manifests as Descriptor[]) {
    const bytes = await read(child);
    const { config, layers } = JSON.parse(bytes.toString());
    for (const blob of [config, ...layers]) {
      sent += (await target.pushBlob(blob, images, { signal })).bytesSent;
    }
    await target.pushManifest(child, new Uint8Array(bytes), { signal });
  }
  await target.pushManifest(root, new Uint8Array(index), { signal, tag: "v1" });
  return sent;
}

async function read(descriptor: Descriptor): Promise<Buffer> {
  const stream = await images.fetch(descriptor, { signal });
  return Buffer.from(await new Response(stream).arrayBuffer());
}

async function inspect(words: readonly string[], reference: string): Promise<Buffer> {
  const login = `${LOGIN.username}:${LOGIN.password}`;
  const command = [
    "skopeo",
    "inspect",
    "--raw",
    "--tls-verify=false",
    ...words,
    `docker://${reference}`,
  ];
  if (words.length === 0) command.splice(3, 0, "--creds", login);
  const child = Bun.spawn(command, { stdout: "pipe", stderr: "pipe" });
  const [out, err] = await Promise.all([
    new Response(child.stdout).arrayBuffer(),
    new Response(child.stderr).text(),
  ]);
  if ((await child.exited) !== 0) throw new Error(err);
  return Buffer.from(out);
}

const here = Object.entries(KINDS).filter(([, { isHere }]) => isHere);
const absent = Object.entries(KINDS).filter(([, { isHere }]) => !isHere);

for (const [name] of absent)
  console.warn(`${name}: the program is not installed, so it is left out`);
test.skip.each(absent)("%s is left out: the program is not on this machine", () => undefined);

describe.each(here)("%s", (_, kind) => {
  let registry: Running;
  const open = (repository = "team/app", remote = remoteWith()) =>
    targetAt(registry.address, { repository, remote, access: kind.access });

  beforeAll(async () => {
    registry = await kind.start();
  });
  afterAll(() => registry[Symbol.asyncDispose]());

  test("takes an image whole, and skopeo reads it back by tag and by digest", async () => {
    const target = open("team/whole");
    expect(await pushIndex(target)).toBeGreaterThan(12 * MIB);
    const words = kind.access === ANONYMOUS ? ["--no-creds"] : [];
    const index = await read(root);
    const name = `${registry.address}/team/whole`;
    expect(await inspect(words, `${name}:v1`)).toEqual(index);
    expect(await inspect(words, `${name}@${root.digest}`)).toEqual(index);
    const graph = await readImageGraph(target, root, parsePlatform("linux/arm64"), { signal });
    expect(graph.blobs.length).toBe(4);
    for (const blob of graph.blobs) expect(await target.has(blob, { signal })).toBe(true);
  });

  test("is sent nothing of what it has", async () => {
    await pushIndex(open());
    expect(await pushIndex(open())).toBe(0);
  });

  test("mounts from another of its repositories, and no byte is sent", async () => {
    await pushIndex(open());
    const { content, blobs } = await imageToPush([MIB], { seed: "mounted" });
    for (const blob of blobs) {
      expect((await open().pushBlob(blob, content, { signal })).outcome).toBe("sent");
      const options = { signal, mountFrom: ["team/app"] };
      const pushed = await open("team/other").pushBlob(blob, content, options);
      expect(pushed).toEqual({ outcome: "mounted", bytesSent: 0 });
    }
  });

  test("has what refers to an image, in its own list or by the fallback tag", async () => {
    const target = open("team/signed");
    const image = await imageToPush([1000], { seed: "signed" });
    await pushImage(target, image);
    const { mediaType, digest, size } = image.manifest;
    const more = { subject: { mediaType, digest, size }, artifactType: "application/x.signature" };
    const signature = await imageToPush([10], { seed: "signature", more });
    for (const blob of signature.blobs) await target.pushBlob(blob, signature.content, { signal });
    await target.pushManifest(signature.manifest, signature.manifestBytes, { signal });
    const found = (await target.referrers?.(digest, { signal })) ?? [];
    expect(found).toMatchObject([
      { digest: signature.manifest.digest, artifactType: more.artifactType },
    ]);
    const fallback = target.resolve(digest.replace(":", "-"), { signal });
    if (kind.hasReferrers) expect((await failureOf(fallback)).code).toBe("content-missing");
    else expect((await fallback).size).toBeGreaterThan(0);
  });

  test("gets a blob over a link that cuts, from where it was when it keeps that", async () => {
    await using link = await openCuttingLink(registry.address, { cutAfterBytes: 5 * MIB + 12_345 });
    const content = await openStore(join(folder.path, `cut-${kind.keepsCutUploads}`), {
      clock: systemClock,
    });
    await using _store = content;
    const layer = await putBytes(
      content,
      "application/x.layer",
      randomBytes(registry.address, 48 * MIB),
    );
    const through = targetAt(link.address, {
      repository: "team/cut",
      access: kind.access,
      // In real time, as wherever it runs: what came before a cut must be read before it is asked for.
      remote: remoteWith({
        ...{ pushSessions: createMemoryPushSessions(), clock: systemClock, random: Math.random },
      }),
    });
    const pushed = await through.pushBlob(layer, content, { signal });
    expect(pushed.outcome).toBe("sent");
    expect(link.cuts).toBeGreaterThan(0);
    expect(await open("team/cut").has(layer, { signal })).toBe(true);
    if (kind.keepsCutUploads) expect(link.upBytes).toBeLessThan(layer.size * 1.05);
  });
});
