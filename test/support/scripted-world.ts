import { Failure } from "#base";
import { type ByteRange, digestOf, type Source } from "#content";
import {
  type Descriptor,
  type Digest,
  isIndexType,
  isManifestType,
  OCI_INDEX,
  OCI_MANIFEST,
} from "#oci";
import { parseReference, type Reference, repositoryName } from "#reference";

/** One thing that was asked of a {@link ScriptedWorld}. */
export interface ScriptedRequest {
  /** Of what is asked by name: whether the caller has something to stand on. */
  readonly patience?: "full" | "brief";
  /** A manifest that is asked for by name comes with what the name stands for. */
  readonly kind: "resolve" | "manifest" | "blob" | "referrers";
  readonly repository: string;
  /** Tag or digest. */
  readonly target: string;
  /** Of a blob: the part that is asked for, when it is not all of it. */
  readonly range?: ByteRange;
}

/** How a request goes wrong: not answered, cut after some bytes, or answered with other bytes. */
export type Fault =
  | { readonly kind: "refuse"; readonly failure: Failure }
  | { readonly kind: "cut"; readonly afterBytes: number; readonly failure: Failure }
  | { readonly kind: "lie" }
  /** Serves no part that ends before the end. */
  | { readonly kind: "whole-only" }
  | { readonly kind: "hang" };

/** What to make an image of. */
export interface ScriptedImage {
  /** One text a layer; the same text is the same layer. */
  readonly layers: readonly string[];
  /** Makes an index of these platforms, of which only the layers of the first are as given. */
  readonly platforms?: readonly string[];
  /** Index entries that do not say their platform. */
  readonly unsaid?: boolean;
}

/** What to make an attachment of, and how it is found. */
export interface ScriptedAttachment {
  /** What its one layer holds. */
  readonly text: string;
  /** What it refers to; it is listed among the referrers of that. */
  readonly subject?: Descriptor;
  /** What lists it as a referrer, whatever it refers to. */
  readonly listedFor?: Descriptor;
  readonly tag?: string;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** All registries there are, in memory: what they hold, what they were asked, how they fail. */
export interface ScriptedWorld {
  readonly requests: readonly ScriptedRequest[];
  /** Blobs that are on their way now, and the most that ever were at once. */
  readonly blobsOpen: { now: number; max: number };
  /** Decides whether the request with this number (from 1) fails; every request succeeds without it. */
  fault: ((request: ScriptedRequest, ordinal: number) => Fault | undefined) | undefined;
  push(reference: string, image: ScriptedImage): Descriptor;
  /** From the first on, all repositories can be asked for referrers. */
  attach(repository: string, attachment: ScriptedAttachment): Descriptor;
  /** Takes content out of every repository. */
  remove(digest: Digest): void;
  open(reference: Reference): Source;
  forget(): void;
}

/** Registries that hold nothing yet. */
export function createScriptedWorld(): ScriptedWorld {
  const contents = new Map<string, Uint8Array<ArrayBuffer>>();
  const tags = new Map<string, Descriptor>();
  const referrers = new Map<string, Descriptor[]>();
  let hasAttachments = false;
  const requests: ScriptedRequest[] = [];
  const blobsOpen = { now: 0, max: 0 };
  let ordinal = 0;

  const keep = (repository: string, bytes: Uint8Array<ArrayBuffer>, mediaType: string) => {
    const digest = digestOf(bytes);
    contents.set(`${repository} ${digest}`, bytes);
    return { mediaType, digest, size: bytes.byteLength };
  };
  const keepJson = (repository: string, value: object, mediaType: string) =>
    keep(repository, new TextEncoder().encode(JSON.stringify(value)), mediaType);

  const pushManifest = (repository: string, layers: readonly string[], platform: string) => {
    const [os, architecture] = platform.split("/");
    const config = keepJson(
      repository,
      { os, architecture, layers },
      "application/vnd.oci.image.config.v1+json",
    );
    const layerType = "application/vnd.oci.image.layer.v1.tar+gzip";
    const blobs = layers.map((text) => keep(repository, new TextEncoder().encode(text), layerType));
    const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: blobs };
    return keepJson(repository, manifest, OCI_MANIFEST);
  };

  const world: ScriptedWorld = {
    requests,
    blobsOpen,
    fault: undefined,
    push(text, { layers, platforms, unsaid }) {
      const reference = parseReference(text);
      const repository = repositoryName(reference);
      let root: Descriptor;
      if (platforms === undefined) root = pushManifest(repository, layers, "linux/amd64");
      else {
        const manifests = platforms.map((platform, i) => {
          const own = i === 0 ? layers : layers.map((layer) => `${layer} for ${platform}`);
          const manifest = pushManifest(repository, own, platform);
          const [os, architecture] = platform.split("/");
          return unsaid === true ? manifest : { ...manifest, platform: { os, architecture } };
        });
        root = keepJson(
          repository,
          { schemaVersion: 2, mediaType: OCI_INDEX, manifests },
          OCI_INDEX,
        );
      }
      tags.set(`${repository} ${reference.tag ?? ""}`, root);
      tags.set(`${repository} ${root.digest}`, root);
      return root;
    },
    attach(repository, { text, subject, listedFor = subject, tag, artifactType, annotations }) {
      hasAttachments = true;
      const config = keepJson(repository, {}, "application/vnd.oci.empty.v1+json");
      const layer = keep(repository, new TextEncoder().encode(text), "text/plain");
      const more = { subject, artifactType, annotations };
      const manifest = keepJson(
        repository,
        { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [layer], ...more },
        OCI_MANIFEST,
      );
      const listed = { ...manifest, ...(artifactType === undefined ? {} : { artifactType }) };
      const key = `${repository} ${listedFor?.digest}`;
      referrers.set(key, [...(referrers.get(key) ?? []), listed]);
      if (tag !== undefined) tags.set(`${repository} ${tag}`, manifest);
      return manifest;
    },
    remove(digest) {
      for (const key of contents.keys()) if (key.endsWith(digest)) contents.delete(key);
    },
    forget() {
      requests.length = 0;
      ordinal = 0;
    },
    open(reference) {
      const repository = repositoryName(reference);
      const admit = async (request: ScriptedRequest, signal: AbortSignal) => {
        signal.throwIfAborted();
        requests.push(request);
        ordinal += 1;
        const fault = world.fault?.(request, ordinal);
        await Promise.resolve();
        if (fault?.kind === "refuse") throw fault.failure;
        if (fault?.kind === "hang") await untilAborted(signal);
        return fault;
      };
      const list: NonNullable<Source["referrers"]> = async (subject, { signal, patience }) => {
        const more = patience === undefined ? {} : { patience };
        await admit({ kind: "referrers", repository, target: subject, ...more }, signal);
        return referrers.get(`${repository} ${subject}`) ?? [];
      };
      return {
        ...(hasAttachments ? { referrers: list } : {}),
        async resolve(target, { signal, patience = "full" }) {
          await admit({ kind: "resolve", repository, target, patience }, signal);
          const root = tags.get(`${repository} ${target}`);
          if (root === undefined) throw missing(target);
          return root;
        },
        async fetchManifest(target, { signal, patience = "full" }) {
          const fault = await admit({ kind: "manifest", repository, target, patience }, signal);
          const root = tags.get(`${repository} ${target}`);
          const bytes = contents.get(`${repository} ${root?.digest}`);
          if (root === undefined || bytes === undefined) throw missing(target);
          const stream = answer(bytes.slice(), fault, signal, () => undefined);
          return { descriptor: root, bytes: await new Response(stream).bytes() };
        },
        async fetch({ digest, mediaType, size }, { signal, range }) {
          const isBlob = !isManifestType(mediaType) && !isIndexType(mediaType);
          const request = {
            kind: isBlob ? "blob" : "manifest",
            repository,
            target: digest,
            ...(range === undefined ? {} : { range }),
          } as const;
          const fault = await admit(request, signal);
          const bytes = contents.get(`${repository} ${digest}`);
          if (bytes === undefined) throw missing(digest);
          if (fault?.kind === "whole-only" && range !== undefined && range.end < size) {
            throw rangeIgnored(digest);
          }
          if (isBlob) {
            blobsOpen.now += 1;
            blobsOpen.max = Math.max(blobsOpen.max, blobsOpen.now);
          }
          return answer(bytes.slice(range?.start, range?.end), fault, signal, () => {
            if (isBlob) blobsOpen.now -= 1;
          });
        },
      };
    },
  };
  return world;
}

/** Large content comes in about so many pieces. */
const CHUNKS = 64;

const CHUNK_BYTES_MIN = 4;

/** A few bytes at a time, so that others get their turn in between. */
function answer(
  bytes: Uint8Array<ArrayBuffer>,
  fault: Fault | undefined,
  signal: AbortSignal,
  onEnd: () => void,
): ReadableStream<Uint8Array> {
  const sent = fault?.kind === "lie" ? bytes.map((byte) => byte ^ 1) : bytes;
  const cutAt = fault?.kind === "cut" ? Math.min(fault.afterBytes, bytes.byteLength) : undefined;
  const chunkBytes = Math.max(CHUNK_BYTES_MIN, Math.ceil(bytes.byteLength / CHUNKS));
  let offset = 0;
  let isOpen = true;
  const end = () => {
    if (isOpen) onEnd();
    isOpen = false;
  };
  return new ReadableStream(
    {
      async pull(controller) {
        await Promise.resolve();
        if (signal.aborted) {
          end();
          return controller.error(signal.reason);
        }
        if (fault?.kind === "cut" && offset === cutAt) {
          end();
          return controller.error(fault.failure);
        }
        if (offset === sent.byteLength) {
          end();
          return controller.close();
        }
        const next = Math.min(offset + chunkBytes, cutAt ?? sent.byteLength, sent.byteLength);
        controller.enqueue(sent.slice(offset, next));
        offset = next;
      },
      cancel: end,
    },
    { highWaterMark: 0 },
  );
}

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

function rangeIgnored(target: string): Failure {
  return new Failure({
    code: "range-ignored",
    message: `Cannot fetch a part of ${target}: the registry sent all of it, expected the part`,
    hint: "Ask for all of it",
  });
}

function missing(target: string): Failure {
  return new Failure({
    code: "content-missing",
    message: `Cannot find ${target}: the registry has none, expected one`,
    hint: "Push it",
  });
}
