import type { CallOptions, Source } from "#content";
import type { Descriptor } from "#oci";
import type { PlannedImage } from "#plan";
import type { FollowedEndpoint } from "#redirect";

/** The part that a registry of the site plays. */
export type SiteRole = "local" | "embedded";

/** A repository of a registry of the site, asked exactly as a runtime asks it. */
export interface ServedRepository extends Source {
  /** Whether it answers HEAD for a blob, with the size that the blob has. */
  holds(blob: Descriptor, options: CallOptions): Promise<boolean>;
}

/** How one image is asked for at one registry of the site. */
export interface Way {
  /** URL of the manifest; without any secret. */
  readonly url: string;
  readonly repository: ServedRepository;
}

/** The registries on the site, and none beside them. */
export interface SiteRegistries {
  /** Which of them an endpoint of a runtime's files leads to; undefined for all others, which are not asked. */
  roleOf(endpoint: FollowedEndpoint): SiteRole | undefined;
  /**
   * The way that a runtime goes which has this endpoint, with its credential and certificates.
   *
   * @throws {Failure} when those can't be read
   */
  wayOf(endpoint: FollowedEndpoint): Way;
  /** The way that needs no runtime, by what the site file says; undefined when the address is not known. */
  directWay(role: SiteRole, image: PlannedImage): Way | undefined;
}

/** An image that a runtime has under a name. */
export interface RuntimeImage {
  /** Digest of its config, which is what runtimes know images by. */
  readonly config: string;
  /** Undefined where the runtime knows no pinning. */
  readonly isPinned: boolean | undefined;
}
