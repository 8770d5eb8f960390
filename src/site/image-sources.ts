import type { Clock } from "#base";
import type { Source } from "#content";
import { createFetchingHost } from "#deliver";
import { decideFetcherAccess, nameAtFetcher, type PlannedImage } from "#plan";
import type { ClusterInputs } from "#profile";
import { formatReference, tagOrDigest } from "#reference";
import type { Remote, RemoteNotice } from "#remote";

/** What the sources of a site's images are opened with. */
export interface ImageSourcesOptions {
  readonly inputs: Pick<ClusterInputs, "site" | "userData">;
  /** Over the link of the site. */
  readonly uplink: Pick<Remote, "repository">;
  /** Within the site: neither held back nor counted. */
  readonly near: Pick<Remote, "repository">;
  readonly clock: Clock;
  readonly random: () => number;
  readonly onNotice: (notice: RemoteNotice) => void;
  /** How long the host that fetches is waited for, in place of what the site file says. */
  readonly fallbackMs?: number;
}

/**
 * Where images come from: their sources over the uplink, or the host that fetches for this one
 * (`link.fetcher` of the site file as it is now).
 */
export function openImageSources(options: ImageSourcesOptions): (image: PlannedImage) => Source {
  const { inputs, uplink, near, clock, random, onNotice } = options;
  const { fetcher } = inputs.site;
  const direct = ({ source, access }: PlannedImage) => uplink.repository(source, access);
  if (fetcher === undefined) return direct;
  const access = decideFetcherAccess(fetcher, inputs);
  const { domain: host } = fetcher.registry.location;
  const fetching = createFetchingHost({
    ...{ host, clock, random },
    fallbackMs: options.fallbackMs ?? fetcher.fallbackMs,
    onFallback: (image) =>
      onNotice({
        registry: host,
        message: `it has brought nothing new for so long that ${image} comes over this host's uplink`,
      }),
  });
  return (image) =>
    fetching.source(
      formatReference(image.declared),
      tagOrDigest(image.source),
      near.repository(nameAtFetcher(image.declared, fetcher), access),
      direct(image),
    );
}
