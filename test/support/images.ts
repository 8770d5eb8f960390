import { createCipheriv, createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { digestOf, type Store, writeContent } from "#content";
import {
  type Descriptor,
  type Digest,
  DOCKER_MANIFEST,
  DOCKER_MANIFEST_LIST,
  OCI_INDEX,
  OCI_MANIFEST,
  parsePlatform,
} from "#oci";

/** What an image is made of. The same options always give the same digests. */
export interface ImageOptions {
  /** Images of different seeds share nothing but their base. */
  readonly seed: string;
  /** `os/architecture`; several give an index over one manifest each. linux/amd64 by default. */
  readonly platforms?: readonly string[];
  /** Layers of each manifest, the base included. 2 by default. */
  readonly layers?: number;
  /** Size of each layer, within a few hundred bytes. 4096 by default. */
  readonly layerBytes?: number;
  /** Docker's media types in place of the OCI's. */
  readonly docker?: boolean;
  /** Seed of the first layer: images of one base and one layer size share that layer. */
  readonly sharedBase?: string;
}

interface MediaTypes {
  readonly index: string;
  readonly manifest: string;
  readonly config: string;
  readonly layer: string;
}

const OCI: MediaTypes = {
  index: OCI_INDEX,
  manifest: OCI_MANIFEST,
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar+gzip",
};

const DOCKER: MediaTypes = {
  index: DOCKER_MANIFEST_LIST,
  manifest: DOCKER_MANIFEST,
  config: "application/vnd.docker.container.image.v1+json",
  layer: "application/vnd.docker.image.rootfs.diff.tar.gzip",
};

/**
 * Builds an image that real tools accept, straight into a store, and names it: gzipped tar layers of
 * incompressible content, a config that lists them, a manifest for each platform, an index over several.
 */
export async function buildImage(
  store: Store,
  name: string,
  options: ImageOptions,
): Promise<Descriptor> {
  const types = options.docker === true ? DOCKER : OCI;
  const platforms = options.platforms ?? ["linux/amd64"];
  const manifests: Descriptor[] = [];
  for (const platform of platforms) {
    const manifest = await buildManifest(store, platform, types, options);
    manifests.push({ ...manifest, platform: parsePlatform(platform) });
  }
  const [only, ...others] = manifests;
  const root =
    only !== undefined && others.length === 0
      ? { mediaType: only.mediaType, digest: only.digest, size: only.size }
      : await putJson(store, types.index, { schemaVersion: 2, mediaType: types.index, manifests });
  await store.name(name, root);
  return root;
}

async function buildManifest(
  store: Store,
  platform: string,
  types: MediaTypes,
  { seed, layers: layerCount = 2, layerBytes = 4096, sharedBase }: ImageOptions,
): Promise<Descriptor> {
  const layers: Descriptor[] = [];
  const diffIds: Digest[] = [];
  for (let position = 0; position < layerCount; position += 1) {
    const isBase = position === 0 && sharedBase !== undefined;
    const layerSeed = isBase ? `base/${sharedBase}` : `${seed}/${platform}/${position}`;
    const tar = tarOf(`opt/layer-${position}`, randomBytes(layerSeed, layerBytes));
    diffIds.push(digestOf(tar));
    // Stored, not deflated: the content does not compress, and a demo should not wait for it.
    layers.push(await putBytes(store, types.layer, gzipSync(tar, { level: 0 })));
  }
  const { os, architecture, variant } = parsePlatform(platform);
  const config = await putJson(store, types.config, {
    created: "2024-01-01T00:00:00Z",
    os,
    architecture,
    ...(variant === undefined ? {} : { variant }),
    config: { Cmd: ["/opt/layer-0"], Labels: { seed } },
    rootfs: { type: "layers", diff_ids: diffIds },
    history: diffIds.map((_, i) => ({ created: "2024-01-01T00:00:00Z", created_by: `layer ${i}` })),
  });
  const document = { schemaVersion: 2, mediaType: types.manifest, config, layers };
  return putJson(store, types.manifest, document);
}

/** Puts bytes into a store under their own digest. */
export async function putBytes(
  store: Store,
  mediaType: string,
  bytes: Uint8Array,
): Promise<Descriptor> {
  const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.byteLength };
  await writeContent(store, descriptor, bytes);
  return descriptor;
}

/** Puts a JSON document into a store under its own digest. */
export function putJson(store: Store, mediaType: string, value: unknown): Promise<Descriptor> {
  return putBytes(store, mediaType, new TextEncoder().encode(JSON.stringify(value)));
}

/** Bytes that the seed alone decides and that do not compress. */
export function randomBytes(seed: string, length: number): Uint8Array<ArrayBuffer> {
  const key = createHash("sha256").update(seed).digest();
  const cipher = createCipheriv("aes-256-ctr", key, new Uint8Array(16));
  return new Uint8Array(cipher.update(new Uint8Array(length)));
}

const TAR_BLOCK_BYTES = 512;

/** A tar archive (POSIX ustar) with one executable file of root's. */
function tarOf(path: string, content: Uint8Array): Uint8Array {
  const paddedBytes = Math.ceil(content.byteLength / TAR_BLOCK_BYTES) * TAR_BLOCK_BYTES;
  // Two empty blocks end an archive.
  const archive = new Uint8Array(TAR_BLOCK_BYTES + paddedBytes + 2 * TAR_BLOCK_BYTES);
  archive.set(tarHeader(path, content.byteLength));
  archive.set(content, TAR_BLOCK_BYTES);
  return archive;
}

function tarHeader(path: string, size: number): Uint8Array {
  const header = new Uint8Array(TAR_BLOCK_BYTES);
  const write = (offset: number, text: string) =>
    header.set(new TextEncoder().encode(text), offset);
  const octal = (value: number, digits: number) => value.toString(8).padStart(digits, "0");
  write(0, path);
  write(100, `${octal(0o755, 7)}\0`);
  write(108, `${octal(0, 7)}\0`);
  write(116, `${octal(0, 7)}\0`);
  write(124, `${octal(size, 11)}\0`);
  write(136, `${octal(0, 11)}\0`);
  write(148, " ".repeat(8));
  write(156, "0");
  write(257, "ustar\0" + "00");
  const checksum = header.reduce((sum, byte) => sum + byte, 0);
  write(148, `${octal(checksum, 6)}\0 `);
  return header;
}
