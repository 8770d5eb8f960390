import type { Descriptor } from "#oci";
import { method } from "./grpc-wire.ts";

/** Labels of anything that containerd keeps. */
export type Labels = Readonly<Record<string, string>>;

/** A descriptor as containerd has it. */
export interface ApiDescriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** An image of the images service: a name, and what it stands for. */
export interface ApiImage {
  readonly name: string;
  readonly labels: Labels;
  readonly target: ApiDescriptor;
}

/** What `Content/Write` is told, message by message. */
export interface WriteRequest {
  readonly action: "STAT" | "WRITE" | "COMMIT";
  readonly ref?: string;
  readonly total?: number;
  readonly expected?: string;
  readonly offset?: number;
  readonly data?: Uint8Array;
  readonly labels?: Labels;
}

/** How the file system of a snapshot is mounted. */
export interface Mount {
  readonly type: string;
  readonly source: string;
  readonly target: string;
  readonly options: readonly string[];
}

/** An image as CRI lists it: one for each config. */
export interface CriImage {
  /** Digest of the config. */
  readonly id: string;
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
  /** False also where the runtime has no pinning. */
  readonly pinned: boolean;
}

interface FieldMask {
  readonly paths: readonly string[];
}

type Nothing = Readonly<Record<never, never>>;

interface SnapshotKey {
  readonly snapshotter: string;
  readonly key: string;
}

interface ContentInfo {
  readonly digest: string;
  readonly labels?: Labels;
}

const content = "containerd.services.content.v1.Content";
const images = "containerd.services.images.v1.Images";
const leases = "containerd.services.leases.v1.Leases";
const snapshots = "containerd.services.snapshots.v1.Snapshots";
const criImages = "runtime.v1.ImageService";

/** The methods that we call. */
export const API = {
  version: method<Nothing, { readonly version: string }>(
    "containerd.services.version.v1.Version/Version",
  ),
  writeContent: method<WriteRequest, { readonly offset: number; readonly digest: string }>(
    `${content}/Write`,
  ),
  contentInfo: method<
    { readonly digest: string },
    { readonly info: { readonly size: number; readonly labels: Labels } | null }
  >(`${content}/Info`),
  updateContent: method<{ readonly info: ContentInfo; readonly updateMask: FieldMask }, unknown>(
    `${content}/Update`,
  ),
  listImages: method<{ readonly filters: readonly string[] }, { images: readonly ApiImage[] }>(
    `${images}/List`,
  ),
  createImage: method<{ readonly image: ApiImage }, unknown>(`${images}/Create`),
  updateImage: method<{ readonly image: ApiImage; readonly updateMask: FieldMask }, unknown>(
    `${images}/Update`,
  ),
  deleteImage: method<{ readonly name: string; readonly sync: boolean }, unknown>(
    `${images}/Delete`,
  ),
  createLease: method<
    { readonly id: string; readonly labels: Labels },
    { readonly lease: { readonly id: string } | null }
  >(`${leases}/Create`),
  deleteLease: method<{ readonly id: string; readonly sync: boolean }, unknown>(`${leases}/Delete`),
  addToLease: method<
    { readonly id: string; readonly resource: { readonly id: string; readonly type: string } },
    unknown
  >(`${leases}/AddResource`),
  prepareSnapshot: method<
    SnapshotKey & { readonly parent: string },
    { readonly mounts: readonly Mount[] }
  >(`${snapshots}/Prepare`),
  commitSnapshot: method<SnapshotKey & { readonly name: string }, unknown>(`${snapshots}/Commit`),
  removeSnapshot: method<SnapshotKey, unknown>(`${snapshots}/Remove`),
  statSnapshot: method<SnapshotKey, unknown>(`${snapshots}/Stat`),
  apply: method<
    { readonly diff: ApiDescriptor; readonly mounts: readonly Mount[] },
    { readonly applied: ApiDescriptor | null }
  >("containerd.services.diff.v1.Diff/Apply"),
  criVersion: method<
    Nothing,
    { readonly runtimeName: string; readonly runtimeVersion: string; readonly version: string }
  >("runtime.v1.RuntimeService/Version"),
  criStatus: method<
    { readonly verbose: boolean },
    { readonly info: Readonly<Record<string, string>> }
  >("runtime.v1.RuntimeService/Status"),
  criListImages: method<Nothing, { readonly images: readonly CriImage[] }>(
    `${criImages}/ListImages`,
  ),
  criImageStatus: method<
    { readonly image: { readonly image: string } },
    { readonly image: CriImage | null }
  >(`${criImages}/ImageStatus`),
  criImageFsInfo: method<
    Nothing,
    {
      readonly imageFilesystems: readonly {
        readonly fsId: { readonly mountpoint: string } | null;
      }[];
    }
  >(`${criImages}/ImageFsInfo`),
  criPullImage: method<
    { readonly image: { readonly image: string } },
    { readonly imageRef: string }
  >(`${criImages}/PullImage`),
} as const;

/** A descriptor, without what belongs to where it was listed. */
export function apiDescriptor({ mediaType, digest, size }: Descriptor): ApiDescriptor {
  return { mediaType, digest, size };
}
