import type { Repositories, Uploads } from "#content";
import type { Caller } from "./access.ts";
import type { Catalog, ServedStore } from "./catalog.ts";
import type { Repository } from "./repository.ts";

/** A request that leads into a repository, by somebody who may make it. */
export interface RepositoryRequest {
  readonly store: ServedStore;
  /** Those of the store, which remember what they answered: everything is written through them. */
  readonly repositories: Repositories;
  /** Those of the store, within limits; undefined where the registry is for reading. */
  readonly uploads: Uploads | undefined;
  readonly catalog: Catalog;
  readonly repository: Repository;
  /** The repository as the client calls it. */
  readonly name: string;
  readonly request: Request;
  readonly url: URL;
  readonly caller: Caller;
  /** Whether the caller may push here as well, and the registry lets anybody push. */
  readonly mayPush: () => boolean;
  /** The repository that the client calls so, if it may pull from it; undefined also for what is no name. */
  readonly openSource: (name: string) => Promise<Repository | undefined>;
}

/**
 * Where something of the repository is. Without scheme and host, so that it is right behind any proxy
 * and under any name of this machine (S-32); with the namespace that the request named.
 */
export function locationOf({ name, url }: RepositoryRequest, path: string): string {
  const namespace = url.searchParams.get("ns");
  const query = namespace === null ? "" : `?${new URLSearchParams({ ns: namespace })}`;
  return `/v2/${name}/${path}${query}`;
}
