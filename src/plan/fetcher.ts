import { formatDuration } from "#base";
import type { Access } from "#credential";
import { type ClusterInputs, isAuthenticated, type Site, type SiteFetcher } from "#profile";
import { formatReference, prependRegistry, type Reference } from "#reference";
import { decideSiteAccess, passwordCredential } from "./access.ts";
import type { Reason } from "./plan.ts";

/** What an image is called at the host that fetches, as its embedded registry serves it. */
export function nameAtFetcher(declared: Reference, { registry }: SiteFetcher): Reference {
  return prependRegistry(declared, registry.location);
}

/** Decides who is asked before the source; undefined where this host fetches itself. */
export function decideFetcher(
  declared: Reference,
  { fetcher }: Pick<Site, "fetcher">,
): { readonly name: string; readonly because: readonly Reason[] } | undefined {
  if (fetcher === undefined) return undefined;
  const { domain } = fetcher.registry.location;
  const name = formatReference(nameAtFetcher(declared, fetcher));
  const uplink =
    fetcher.fallbackMs === undefined
      ? "this host never uses the uplink for it"
      : `when nothing new has come from there for ${formatDuration(fetcher.fallbackMs)}, it is fetched from the source over the uplink`;
  const text = `link.fetcher has it fetched by ${domain}, from where it comes as ${name}; ${uplink}`;
  return { name, because: [{ rule: "link-fetcher", text }] };
}

/** How the host that fetches is talked to: as `link.fetcher` says, else as `credentials` of the site file do. */
export function decideFetcherAccess(
  { registry }: SiteFetcher,
  inputs: Pick<ClusterInputs, "site" | "userData">,
): Access {
  const site = decideSiteAccess(registry.location, inputs, () => undefined);
  return {
    ...site,
    ...(isAuthenticated(registry)
      ? { origin: registry.origin, credential: passwordCredential(registry) }
      : {}),
    insecure: registry.insecure || site.insecure,
    certificates: [...new Set([...registry.certificates, ...site.certificates])],
  };
}
