import type { Clock, SingleFlight } from "#base";
import type { Fetcher } from "#content";
import type { GrpcSocket } from "./grpc.ts";

/** Where CRI, and so kubelet, keeps its images. */
export const KUBERNETES_NAMESPACE = "k8s.io";

/** What the parts of an import share. */
export interface ImportSession {
  readonly api: GrpcSocket;
  /** Gives the content: the store. */
  readonly content: Fetcher;
  /** Of CRI's configuration: what is unpacked elsewhere is of no use to kubelet. */
  readonly snapshotter: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Joins what several images share: a blob is sent once, a layer unpacked once. */
  readonly flights: SingleFlight<void>;
  /** What is brought in under it is not collected before something names it. */
  readonly lease: string;
}

/** The headers of a call: namespace and lease (containerd, `docs/namespaces.md`, `docs/garbage-collection.md`). */
export function headers({ lease }: Pick<ImportSession, "lease">): Readonly<Record<string, string>> {
  return { "containerd-namespace": KUBERNETES_NAMESPACE, "containerd-lease": lease };
}
