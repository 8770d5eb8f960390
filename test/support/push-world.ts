import { createMemoryStore, type Fetcher, type Target } from "#content";
import { type Access, ANONYMOUS } from "#credential";
import { type Descriptor, OCI_INDEX, OCI_MANIFEST } from "#oci";
import { parseReference } from "#reference";
import type { Remote } from "#remote";
import { putBytes, putJson, randomBytes } from "./images.ts";
import { remoteWith, signal } from "./remote-world.ts";

/** The repository `team/app` of a registry, or another, to push to. */
export function targetAt(
  address: string,
  { repository = "team/app", access = ANONYMOUS, remote = remoteWith() }: TargetOptions = {},
): Target {
  return remote.target(parseReference(`${address}/${repository}:1`), access);
}

/** Where and as whom to push. */
export interface TargetOptions {
  readonly repository?: string;
  readonly access?: Access;
  readonly remote?: Remote;
}

/** An image that lies in a store, ready to be pushed. */
export interface PushedImage {
  readonly content: Fetcher;
  readonly blobs: readonly Descriptor[];
  readonly manifest: Descriptor;
  readonly manifestBytes: Uint8Array<ArrayBuffer>;
}

/** Makes an image with layers of so many bytes. */
export async function imageToPush(
  layerBytes: readonly number[],
  { seed = "image", more = {} }: { readonly seed?: string; readonly more?: object } = {},
): Promise<PushedImage> {
  const store = createMemoryStore();
  const config = await putJson(store, "application/vnd.oci.image.config.v1+json", { seed });
  const layers: Descriptor[] = [];
  for (const [i, bytes] of layerBytes.entries()) {
    const type = "application/vnd.oci.image.layer.v1.tar";
    layers.push(await putBytes(store, type, randomBytes(`${seed} ${i}`, bytes)));
  }
  const document = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers, ...more };
  const manifest = await putJson(store, OCI_MANIFEST, document);
  return {
    content: store,
    blobs: [config, ...layers],
    manifest,
    ...(await bytesOf(store, manifest)),
  };
}

/** Makes an index of these manifests, which are not in it. */
export async function indexToPush(manifests: readonly Descriptor[]): Promise<{
  readonly manifest: Descriptor;
  readonly manifestBytes: Uint8Array<ArrayBuffer>;
}> {
  const store = createMemoryStore();
  const document = { schemaVersion: 2, mediaType: OCI_INDEX, manifests };
  const manifest = await putJson(store, OCI_INDEX, document);
  return { manifest, ...(await bytesOf(store, manifest)) };
}

/** Pushes blobs, then the manifest, under the tag `1` unless it is told another. */
export async function pushImage(
  target: Target,
  { content, blobs, manifest, manifestBytes }: PushedImage,
  tag = "1",
): Promise<number> {
  let sent = 0;
  for (const blob of blobs) sent += (await target.pushBlob(blob, content, { signal })).bytesSent;
  await target.pushManifest(manifest, manifestBytes, { signal, tag });
  return sent;
}

async function bytesOf(
  content: Fetcher,
  descriptor: Descriptor,
): Promise<{ readonly manifestBytes: Uint8Array<ArrayBuffer> }> {
  const stream = await content.fetch(descriptor, { signal });
  return { manifestBytes: new Uint8Array(await new Response(stream).arrayBuffer()) };
}
