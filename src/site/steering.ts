import { type Failure, Findings, isFailure } from "#base";
import { decideSiteAccess } from "#plan";
import { isAddress, readClusterInputs } from "#profile";
import { Remote, type RemoteNotice } from "#remote";
import {
  type ArtifactStore,
  artifactName,
  fetchArtifact,
  parseArtifactAddress,
  resolveArtifact,
  type SiteArtifact,
} from "#steering";
import type { SiteContext } from "./context.ts";
import { openStoreIfThere } from "./own-store.ts";
import { dockerCredentials, type Planned, type PlanSources, planInputs } from "./plan-inputs.ts";
import { remoteOptions } from "./uplink.ts";

/** What fetching the artifacts of a site takes. */
export interface SteeringOptions {
  /** Where the last ones are, and whatever of the new ones is here already. */
  readonly store?: ArtifactStore | undefined;
  readonly signal: AbortSignal;
  readonly onNotice: (notice: RemoteNotice) => void;
  /** Told why what came last stands. */
  readonly onStale: (because: Failure) => void;
}

/**
 * Plans from files and from the artifacts that registries have under the addresses among the profiles.
 * Where none is given, nobody is asked. The last ones are looked for in the site's store.
 *
 * @throws {Failure} what `fetchArtifact` throws; what `openStoreIfThere` does
 */
export async function planSite(
  sources: PlanSources & { readonly dataDir?: string },
  context: SiteContext,
  options: Omit<SteeringOptions, "store">,
): Promise<Planned> {
  const steering = readSteering(sources, context);
  if (steering.addresses.length === 0) return planInputs(sources, context);
  await using store = await openStoreIfThere(
    sources.dataDir ?? steering.inputs.site.dataDir,
    context,
  );
  const artifacts = await fetchArtifacts(sources, context, { ...options, store });
  return planInputs(sources, context, artifacts);
}

/**
 * Fetches every artifact that is named in place of a profile: on the command line, else in the site file.
 * Its few kilobytes are neither held back by the link's budget nor counted.
 *
 * @throws {Failure} what `fetchArtifact` throws
 */
export async function fetchArtifacts(
  sources: PlanSources,
  context: SiteContext,
  { store, signal, onNotice, onStale }: SteeringOptions,
): Promise<readonly SiteArtifact[]> {
  using registries = openSteering(sources, context, onNotice);
  const artifacts: SiteArtifact[] = [];
  for (const { reference, source } of registries.repositories) {
    const last = store === undefined ? {} : { store };
    artifacts.push(await fetchArtifact(reference, { source, ...last, signal, onStale }));
  }
  return artifacts;
}

/**
 * Whether an address stands for something else than what came last, by one small request for each. A
 * registry that can't be reached says nothing new.
 *
 * @throws {Failure} what keeps a registry from answering, when waiting does not help
 */
export async function haveArtifactsMoved(
  sources: PlanSources,
  artifacts: readonly Pick<SiteArtifact, "name" | "manifest">[],
  context: SiteContext,
  { signal, onNotice }: Pick<SteeringOptions, "signal" | "onNotice">,
): Promise<boolean> {
  using registries = openSteering(sources, context, onNotice);
  const known = new Set(artifacts.map(({ manifest }) => manifest.descriptor.digest));
  for (const { reference, source } of registries.repositories) {
    try {
      const root = await resolveArtifact(reference, source, { signal, patience: "brief" });
      if (!known.has(root.digest)) return true;
    } catch (error) {
      if (!isFailure(error) || !error.transient) throw error;
    }
  }
  return false;
}

/** The addresses among the profiles, as they are named. */
export function readSteeringAddresses(
  sources: PlanSources,
  context: SiteContext,
): readonly string[] {
  return readSteering(sources, context).addresses;
}

/**
 * The names that artifacts among the profiles have in a store. What can't be read as an address has none.
 */
export function steeringNames(sources: PlanSources, context: SiteContext): readonly string[] {
  return readSteeringAddresses(sources, context).flatMap((address) => {
    try {
      return [artifactName(parseArtifactAddress(address))];
    } catch (error) {
      if (!isFailure(error)) throw error;
      return [];
    }
  });
}

/** Who steers, and what the site says of how to talk to it. */
function readSteering(sources: PlanSources, context: SiteContext) {
  const { site: siteFile, userData, profile = [] } = sources;
  const names = {
    ...(siteFile === undefined ? {} : { site: siteFile }),
    ...(userData === undefined ? {} : { userData }),
  };
  // Whatever is wrong in these files is told when they are planned from; no profile is read here.
  const findings = new Findings();
  const inputs = readClusterInputs({ ...names, profiles: ["-"] }, withoutStdin(context), findings);
  const named = profile.length > 0 ? profile : inputs.site.profiles;
  return { addresses: [...new Set(named)].filter(isAddress), inputs };
}

/** Standard input can be read only once, and what is read for this is read again. */
function withoutStdin({ files }: SiteContext): SiteContext["files"] {
  return {
    read: (path) =>
      path === "-" ? { code: "input-missing", message: "it is for the plan" } : files.read(path),
    list: (folder) => files.list(folder),
  };
}

function openSteering(
  sources: PlanSources,
  context: SiteContext,
  onNotice: (notice: RemoteNotice) => void,
) {
  const { addresses, inputs } = readSteering(sources, context);
  const docker = dockerCredentials(sources, inputs, context, new Findings());
  const remote = new Remote(remoteOptions({ inputs, context, onNotice, onPause: () => undefined }));
  return {
    repositories: addresses.map(parseArtifactAddress).map((reference) => ({
      reference,
      source: remote.repository(reference, decideSiteAccess(reference, inputs, docker)),
    })),
    [Symbol.dispose]: () => remote.close(),
  };
}
