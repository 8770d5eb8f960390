import { digestOf } from "#content";
import { type Digest, type DigestAlgorithm, OCI_MANIFEST } from "#oci";
import type { Registry } from "#registry";

/** What a test sends beside method and path. */
export interface Sent {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>;
}

/** A manifest as a test pushes it. */
export interface PushedManifest {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly descriptor: {
    readonly mediaType: string;
    readonly digest: Digest;
    readonly size: number;
  };
}

/** A client at its smallest: it speaks to the registry as a function, and hides nothing. */
export class PushingClient {
  readonly #registry: Registry;
  readonly #headers: Readonly<Record<string, string>>;

  /** @param headers go with every request */
  constructor(registry: Registry, headers: Readonly<Record<string, string>> = {}) {
    this.#registry = registry;
    this.#headers = headers;
  }

  send(method: string, path: string, { headers = {}, body }: Sent = {}): Promise<Response> {
    const request = new Request(new URL(path, "http://registry.test").href, {
      method,
      headers: { ...this.#headers, ...headers },
      ...(body === undefined ? {} : { body }),
    });
    return this.#registry.fetch(request);
  }

  /** Begins an upload, and gives where it is. */
  async begin(repository: string): Promise<string> {
    const response = await this.send("POST", `/v2/${repository}/blobs/uploads/`);
    return response.headers.get("location") ?? `no location: ${await response.text()}`;
  }

  /** Pushes a blob whole. */
  async blob(
    repository: string,
    bytes: Uint8Array<ArrayBuffer>,
    algorithm: DigestAlgorithm = "sha256",
  ): Promise<Digest> {
    const digest = digestOf(bytes, algorithm);
    const path = `/v2/${repository}/blobs/uploads/?digest=${digest}`;
    const response = await this.send("POST", path, { body: bytes });
    if (response.status !== 201) throw new Error(`${response.status} ${await response.text()}`);
    return digest;
  }

  /** Pushes a manifest under a tag or its digest. */
  manifest(
    repository: string,
    reference: string,
    { bytes, mediaType }: PushedManifest,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Response> {
    return this.send("PUT", `/v2/${repository}/manifests/${reference}`, {
      headers: { "content-type": mediaType, ...headers },
      body: bytes,
    });
  }

  /** Pushes the blobs of an image, and gives its manifest, which is not pushed. */
  async image(
    repository: string,
    seed: string,
    more: object = {},
    algorithm: DigestAlgorithm = "sha256",
  ): Promise<PushedManifest> {
    const bytesOf = (text: string) => new TextEncoder().encode(text);
    const [config, layer] = [bytesOf(JSON.stringify({ seed })), bytesOf(`layer of ${seed}`)];
    const entry = async (mediaType: string, bytes: Uint8Array<ArrayBuffer>) => ({
      mediaType,
      digest: await this.blob(repository, bytes, algorithm),
      size: bytes.byteLength,
    });
    return manifestOf(
      {
        schemaVersion: 2,
        mediaType: OCI_MANIFEST,
        config: await entry("application/vnd.oci.image.config.v1+json", config),
        layers: [await entry("application/vnd.oci.image.layer.v1.tar", layer)],
        ...more,
      },
      OCI_MANIFEST,
      algorithm,
    );
  }
}

/** The manifest that a document is, when it is written as JSON. */
export function manifestOf(
  document: unknown,
  mediaType: string,
  algorithm: DigestAlgorithm = "sha256",
): PushedManifest {
  const text = typeof document === "string" ? document : JSON.stringify(document);
  const bytes = new TextEncoder().encode(text);
  const digest = digestOf(bytes, algorithm);
  return { digest, mediaType, bytes, descriptor: { mediaType, digest, size: bytes.byteLength } };
}

/** The code of the first error of an answer, and its status: `404 BLOB_UNKNOWN`. */
export async function errorOf(response: Response): Promise<string> {
  if (response.headers.get("content-type") !== "application/json") {
    return `${response.status} without an error document`;
  }
  const { errors } = (await response.json()) as { errors: { code: string; message: string }[] };
  return `${response.status} ${errors[0]?.code}`;
}
