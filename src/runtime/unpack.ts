import { createHash } from "node:crypto";
import { Failure, printable } from "#base";
import type { Descriptor } from "#oci";
import { API, apiDescriptor } from "./api.ts";
import { hasGrpcCode } from "./grpc-failure.ts";
import { GRPC } from "./grpc-wire.ts";
import { headers, type ImportSession } from "./session.ts";
import { deadlineFor, labelContent } from "./write-content.ts";

/** A layer that is in containerd's content store, or is about to be. */
export interface UnpackedLayer {
  readonly descriptor: Descriptor;
  /** Digest of the archive, unpacked. */
  readonly diffId: string;
  /** Settles when the layer is there. */
  readonly written: Promise<void>;
}

/** How many times as much a layer may be once it is unpacked, for a deadline. */
const UNPACKED_FACTOR = 4;

/**
 * Unpacks layers into snapshots, each on the one below it, and gives the name of the topmost; undefined
 * when there are no layers. A snapshot that is there costs one call.
 *
 * @throws {Failure} `runtime-failed`, `runtime-unreachable`
 */
export async function unpack(
  layers: readonly UnpackedLayer[],
  session: ImportSession,
): Promise<string | undefined> {
  let parent: string | undefined;
  for (const layer of layers) {
    await layer.written;
    const chainId = chainIdOf(parent, layer.diffId);
    const below = parent ?? "";
    await session.flights.run(chainId, () => unpackLayer(layer, chainId, below, session));
    parent = chainId;
  }
  return parent;
}

/** OCI image spec, "Layer ChainID". */
function chainIdOf(parent: string | undefined, diffId: string): string {
  if (parent === undefined) return diffId;
  return `sha256:${createHash("sha256").update(`${parent} ${diffId}`).digest("hex")}`;
}

async function unpackLayer(
  { descriptor, diffId }: UnpackedLayer,
  chainId: string,
  parent: string,
  session: ImportSession,
): Promise<void> {
  const { api, snapshotter, signal, clock } = session;
  const settings = { signal, metadata: headers(session) };
  if (await hasSnapshot(chainId, session)) {
    // It may be a left-over that nothing names: it must not go before our image names it.
    const resource = { id: chainId, type: `snapshots/${snapshotter}` };
    await api.call(API.addToLease, { id: session.lease, resource }, settings);
    return;
  }
  const key = `drayage-${clock.now()}-${chainId}`;
  const { mounts } = await api.call(API.prepareSnapshot, { snapshotter, key, parent }, settings);
  // A snapshotter walks all files of a snapshot when it is committed, to know its size.
  const patient = { ...settings, deadlineMs: deadlineFor(descriptor.size * UNPACKED_FACTOR) };
  try {
    const diff = apiDescriptor(descriptor);
    const { applied } = await api.call(API.apply, { diff, mounts }, patient);
    if (applied?.digest !== diffId) throw mismatch(descriptor, diffId, applied?.digest ?? "");
    await api.call(API.commitSnapshot, { snapshotter, key, name: chainId }, patient);
  } catch (error) {
    await remove(key, session);
    // Somebody else unpacked the same meanwhile.
    if (!hasGrpcCode(error, GRPC.ALREADY_EXISTS)) throw error;
  }
  await labelContent(descriptor, { "containerd.io/uncompressed": diffId }, session);
}

function mismatch({ digest }: Descriptor, diffId: string, applied: string): Failure {
  return new Failure({
    code: "layer-mismatch",
    message: `Cannot unpack layer ${digest}: it unpacks to ${printable(applied)}, expected ${diffId}, which the config of its image names`,
    hint: "Ask the publisher to push the image again: its config does not fit its layers",
  });
}

/** Also after the end was called for: nobody else would, before the lease ends. */
async function remove(key: string, session: ImportSession): Promise<void> {
  const { api, snapshotter } = session;
  const settings = { signal: AbortSignal.timeout(5_000), metadata: headers(session) };
  await api.call(API.removeSnapshot, { snapshotter, key }, settings).catch(() => undefined);
}

async function hasSnapshot(key: string, session: ImportSession): Promise<boolean> {
  const { api, snapshotter, signal } = session;
  const settings = { signal, metadata: headers(session) };
  try {
    await api.call(API.statSnapshot, { snapshotter, key }, settings);
    return true;
  } catch (error) {
    if (hasGrpcCode(error, GRPC.NOT_FOUND)) return false;
    throw error;
  }
}
