import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Secret, systemClock } from "#base";
import { copyContent, createMemoryStore, readImageGraph, readWholeGraph } from "#content";
import { type Access, ANONYMOUS } from "#credential";
import { type Digest, parsePlatform } from "#oci";
import { parseReference } from "#reference";
import { Remote } from "#remote";
import { openStore } from "#store";
import { testCertificates } from "#test-support/certificates";
import { buildImage, type ImageOptions } from "#test-support/images";
import { startRegistryProgram } from "#test-support/serving-program";

/** Who may log in. */
export interface Login {
  readonly username: string;
  readonly password: string;
}

/** A `dray registry serve` of the demo. */
export interface DemoRegistry extends AsyncDisposable {
  /** `127.0.0.1:port`. */
  readonly address: string;
  /** How our own clients get in. */
  readonly access: Access;
}

/** Starts an embedded registry; with a login it serves TLS and asks for that. */
export async function startDemoRegistry(dataDir: string, login?: Login): Promise<DemoRegistry> {
  if (login === undefined) {
    const { address, ...program } = await startRegistryProgram(dataDir);
    return { ...program, address, access: ANONYMOUS };
  }
  await mkdir(dataDir, { recursive: true });
  const htpasswd = `${dataDir}-users`;
  const { username, password } = login;
  await writeFile(htpasswd, `${username}:${await Bun.password.hash(password, "bcrypt")}\n`);
  await chmod(htpasswd, 0o600);
  const { server, ca } = testCertificates();
  const tls = [`--tls-cert=${server.certificatePath}`, `--tls-key=${server.keyPath}`];
  const { address, ...program } = await startRegistryProgram(dataDir, [
    ...[...tls, `--htpasswd=${htpasswd}`],
  ]);
  const credential = { kind: "password", username, password: new Secret(password) } as const;
  const access: Access = { origin: "demo", credential, insecure: false, certificates: [ca] };
  return { ...program, address, access };
}

/** What came of a pull. */
export interface PulledImage {
  readonly digest: Digest;
  readonly blobs: number;
  readonly bytes: number;
}

/** A client made of our own rooms: the demo needs no program but Node and npm. */
export class DemoClient implements Disposable {
  readonly #remote = new Remote({
    ...{ clock: systemClock, random: Math.random, userAgent: "dray/demo" },
    ...{ proxy: {}, trustedTokenHosts: [], helpers: { get: async () => undefined } },
    lookupAddresses: async () => ["127.0.0.1"],
  });

  [Symbol.dispose](): void {
    this.#remote.close();
  }

  /** Makes images in a folder, and pushes them, all platforms of each; gives how many bytes crossed. */
  async push(
    folder: string,
    images: Readonly<Record<string, ImageOptions>>,
    { address, access }: DemoRegistry,
  ): Promise<number> {
    await using made = await openStore(join(folder, "made"), { clock: systemClock });
    const { signal } = new AbortController();
    let bytesSent = 0;
    for (const [name, options] of Object.entries(images)) {
      const root = await buildImage(made, name, options);
      const reference = parseReference(`${address}/${name}`);
      const target = this.#remote.target(reference, access);
      const { documents, blobs } = await readWholeGraph(made, root, { signal });
      for (const blob of blobs) {
        bytesSent += (await target.pushBlob(blob, made, { signal })).bytesSent;
      }
      for (const { descriptor, bytes } of documents) {
        const tag = descriptor.digest === root.digest ? { tag: reference.tag ?? "latest" } : {};
        await target.pushManifest(descriptor, bytes, { signal, ...tag });
      }
    }
    return bytesSent;
  }

  /** Pulls an image of linux/amd64 into memory, where every byte is compared with its digest. */
  async pull(name: string, { address, access }: DemoRegistry): Promise<PulledImage> {
    const reference = parseReference(`${address}/${name}`);
    const source = this.#remote.repository(reference, access);
    const { signal } = new AbortController();
    const memory = createMemoryStore();
    const root = await source.resolve(reference.tag ?? "latest", { signal });
    const platform = parsePlatform("linux/amd64");
    const { blobs } = await readImageGraph(source, root, platform, { signal });
    for (const blob of blobs) await copyContent(source, memory, blob, { signal });
    return { digest: root.digest, blobs: blobs.length, bytes: sumOf(blobs) };
  }
}

function sumOf(blobs: readonly { readonly size: number }[]): number {
  return blobs.reduce((sum, { size }) => sum + size, 0);
}
