import { createHash } from "node:crypto";
import {
  distinctLayers,
  type ImageShape,
  keyOf,
  type LayerShape,
  layerPieces,
} from "./image-set.ts";

/** The project of a registry that all images are under. */
export const PROJECT = "spectro-images";

/** What a registry was filled with. */
export interface FilledSet {
  readonly images: readonly ImageShape[];
  /** Each blob once, by size descending: layers, then configs. */
  readonly blobs: readonly FilledBlob[];
  /** What has to cross a link at least: each blob and each manifest once. */
  readonly bytes: number;
}

/** A blob as a plain HTTP client fetches it. */
export interface FilledBlob {
  readonly image: string;
  readonly digest: string;
  readonly bytes: number;
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

interface Layer extends Descriptor {
  readonly diffId: string;
}

const OCI = "application/vnd.oci.image";

/** Makes the images and pushes them, each layer once: images that share one mount it. */
export async function fill(address: string, images: readonly ImageShape[]): Promise<FilledSet> {
  const layers = new Map<string, { readonly layer: Layer; readonly image: string }>();
  const blobs: FilledBlob[] = [];
  let manifestBytes = 0;
  for (const { name, layers: shapes } of images) {
    const registry = `http://${address}/v2/${PROJECT}/${name}`;
    const own: Layer[] = [];
    for (const shape of shapes) {
      const known = layers.get(keyOf(shape));
      if (known !== undefined) await mount(registry, known.layer.digest, known.image);
      const layer = known?.layer ?? (await pushLayer(registry, shape));
      own.push(layer);
      if (known !== undefined) continue;
      layers.set(keyOf(shape), { layer, image: name });
      blobs.push({ image: name, digest: layer.digest, bytes: layer.size });
    }
    const config = await pushConfig(registry, name, own);
    blobs.push({ image: name, digest: config.digest, bytes: config.size });
    manifestBytes += await pushManifest(registry, config, own);
  }
  const bytes = blobs.reduce((sum, blob) => sum + blob.bytes, manifestBytes);
  return { images, blobs: blobs.sort((a, b) => b.bytes - a.bytes), bytes };
}

/** How many bytes the files of a set hold, before it is made. */
export function plannedBytes(images: readonly ImageShape[]): number {
  return distinctLayers(images).reduce((sum, { bytes }) => sum + bytes, 0);
}

async function pushLayer(registry: string, shape: LayerShape): Promise<Layer> {
  const hash = createHash("sha256");
  const tarHash = createHash("sha256");
  let size = 0;
  const pieces = layerPieces(shape, (piece) => void tarHash.update(piece));
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      const { done, value } = pieces.next();
      if (done === true) return controller.close();
      hash.update(value);
      size += value.byteLength;
      controller.enqueue(value);
    },
  });
  const patched = await ask(await startUpload(registry), { method: "PATCH", body });
  const digest = `sha256:${hash.digest("hex")}`;
  await finishUpload(registry, patched, digest);
  // Whoever looks into the layer compares it: drayage does, for core images in the provider image.
  const diffId = `sha256:${tarHash.digest("hex")}`;
  return { mediaType: `${OCI}.layer.v1.tar+gzip`, digest, size, diffId };
}

async function pushConfig(
  registry: string,
  name: string,
  layers: readonly Layer[],
): Promise<Descriptor> {
  const bytes = JSON.stringify({
    created: "2024-01-01T00:00:00Z",
    os: "linux",
    architecture: "amd64",
    config: { Labels: { name } },
    rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
    history: layers.map((_, i) => ({ created_by: `layer ${i}` })),
  });
  const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
  const url = new URL(await startUpload(registry));
  url.searchParams.set("digest", digest);
  await ask(url, { method: "PUT", body: bytes });
  return { mediaType: `${OCI}.config.v1+json`, digest, size: Buffer.byteLength(bytes) };
}

async function pushManifest(
  registry: string,
  config: Descriptor,
  layers: readonly Layer[],
): Promise<number> {
  const mediaType = `${OCI}.manifest.v1+json`;
  const described = layers.map(({ mediaType, digest, size }) => ({ mediaType, digest, size }));
  const body = JSON.stringify({ schemaVersion: 2, mediaType, config, layers: described });
  const headers = { "content-type": mediaType };
  await ask(`${registry}/manifests/v1`, { method: "PUT", body, headers });
  return Buffer.byteLength(body);
}

async function mount(registry: string, digest: string, from: string): Promise<void> {
  await ask(`${registry}/blobs/uploads/?mount=${digest}&from=${PROJECT}/${from}`, {
    method: "POST",
  });
}

async function startUpload(registry: string): Promise<string> {
  const answer = await ask(`${registry}/blobs/uploads/`, { method: "POST" });
  return location(answer, registry);
}

async function finishUpload(registry: string, patched: Response, digest: string): Promise<void> {
  const url = new URL(location(patched, registry));
  url.searchParams.set("digest", digest);
  await ask(url, { method: "PUT" });
}

function location(answer: Response, registry: string): string {
  return new URL(answer.headers.get("location") ?? "", registry).href;
}

async function ask(url: string | URL, request: RequestInit): Promise<Response> {
  const answer = await fetch(url, request);
  const text = await answer.text();
  if (answer.ok) return answer;
  throw new Error(`${request.method} ${url} was answered with ${answer.status}: ${text}`);
}
