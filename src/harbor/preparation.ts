import type { Clock } from "#base";
import type { Access } from "#credential";
import type { HarborClient } from "./client.ts";
import type { PolicyImage } from "./policy.ts";
import type { RobotSecrets } from "./ports.ts";

/** What `prepareHarbor` needs of the world. */
export interface HarborPorts {
  /** The API as this access sees it: the given one's, then the robots'. */
  readonly clientFor: (access: Access) => HarborClient;
  /** How Harbor is reached, and who may set it up: an admin, or a project admin, or somebody who may only push. */
  readonly access: Access;
  readonly secrets: RobotSecrets;
  readonly clock: Clock;
  /** A number in [0, 1), for the names of robot accounts: each site has its own. */
  readonly random: () => number;
}

/** What is wanted of a Harbor. */
export interface HarborWishes {
  readonly project: string;
  /** When the project must be created: anybody may pull from it. */
  readonly isPublic: boolean;
  /** All blobs of all images together, each once, whether they are there or not. */
  readonly needBytes: number;
  /** The images to be pushed. */
  readonly images: readonly PolicyImage[];
  /** A robot's secret is renewed when it is older. {@link ROTATE_AFTER_MS} by default. */
  readonly rotateAfterMs?: number;
  /**
   * How many of {@link HarborWishes.needBytes} the project holds already. Asked only when it decides
   * whether the quota suffices; without it that is a warning.
   */
  readonly presentBytes?: (push: Access) => Promise<number>;
}

/** Something that is no obstacle now, and that a person should know. */
export interface HarborWarning {
  /** Stable, kebab-case. */
  readonly code: string;
  readonly message: string;
  /** What to do about it. */
  readonly hint: string;
}

/** Thirty days. */
export const ROTATE_AFTER_MS: number = 30 * 24 * 3_600_000;

/** What the steps of a preparation share. */
export interface Preparation {
  readonly ports: HarborPorts;
  readonly wishes: HarborWishes;
  readonly harbor: HarborClient;
  /** What was found so far; steps add to it. */
  readonly warnings: HarborWarning[];
  readonly signal: AbortSignal;
}
