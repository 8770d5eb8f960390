import type { ImageGraph } from "#content";

/** An image of the store that a cluster is to run. */
export interface RuntimeImage {
  /** As declared, normalised. */
  readonly name: string;
  readonly graph: ImageGraph;
}

/**
 * The program that runs the cluster's containers on this machine, as a delivery sees it: a place that
 * images are put into, so that nothing has to be pulled when a container starts.
 */
export interface Runtime {
  /** What people call it: its kind, and where it is. */
  readonly address: string;
  /**
   * Makes sure that it can be loaded into, and tells what an operator should know: that a version lacks
   * something. Each sentence once.
   *
   * @throws {Failure} `runtime-unreachable`, `runtime-old`, …: what a person must do first
   */
  prepare(options: { readonly signal: AbortSignal }): Promise<readonly string[]>;
  /**
   * Makes the image one that containers can be started from, under the name that is asked for, and keeps
   * it there. What is there already costs next to nothing; an artifact that no container can run is
   * `not-runnable`.
   *
   * @throws {Failure}
   */
  load(
    image: RuntimeImage,
    options: { readonly signal: AbortSignal },
  ): Promise<"loaded" | "present" | "not-runnable">;
  /**
   * Keeps no other image than these on our account. Names as declared.
   *
   * @throws {Failure}
   */
  retain(names: readonly string[], options: { readonly signal: AbortSignal }): Promise<void>;
}
