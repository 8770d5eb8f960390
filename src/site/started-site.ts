import type { Site } from "#profile";

/**
 * What of a site file counts from one start of the agent to the next: its doors stay where they are, for
 * people, nodes and mirrors know them there.
 */
const UNTIL_RESTART: Readonly<Record<string, (site: StartedSite) => unknown>> = {
  dataDir: ({ dataDir }) => dataDir,
  "agent.listen": ({ agent }) => agent.listen,
  "agent.tls": ({ agent }) => agent.tls,
  "agent.htpasswd": ({ agent }) => agent.htpasswd,
  "agent.operators": ({ agent }) => agent.operators,
  "agent.metricsTokenFile": ({ agent }) => agent.metricsTokenFile,
  "registry.listen": ({ registry }) => registry.listen,
  "registry.address": ({ registry }) => registry.address,
  "registry.tls": ({ registry }) => registry.tls,
  "registry.htpasswd": ({ registry }) => registry.htpasswd,
  "registry.pushers": ({ registry }) => registry.pushers,
  "registry.anonymousPull": ({ registry }) => registry.anonymousPull,
};

/** What of a site counts until the agent is started again; there is no secret in it. */
export interface StartedSite extends Pick<Site, "dataDir" | "listen"> {
  readonly agent: Pick<
    Site["agent"],
    "listen" | "tls" | "htpasswd" | "operators" | "metricsTokenFile"
  >;
  readonly registry: Pick<
    Site["registry"],
    "listen" | "address" | "tls" | "htpasswd" | "pushers" | "anonymousPull"
  >;
}

/** That of a site whose agent starts now. */
export function startedSite({ dataDir, listen, agent, registry }: Site): StartedSite {
  const { tls, htpasswd, operators, metricsTokenFile } = agent;
  const { address, pushers, anonymousPull } = registry;
  return {
    ...{ dataDir, listen },
    agent: { listen: agent.listen, tls, htpasswd, operators, metricsTokenFile },
    registry: {
      ...{ listen: registry.listen, address, tls: registry.tls, htpasswd: registry.htpasswd },
      ...{ pushers, anonymousPull },
    },
  };
}

/** A site as it is meant now, served as it was when the agent started. */
export function asStarted(site: Site, started: StartedSite): Site {
  const { listen, address, tls, htpasswd, pushers, anonymousPull } = started.registry;
  // Each by its name: what was not set then may be no key at all by now.
  const served = { listen, address, tls, htpasswd, pushers, anonymousPull };
  const { dataDir } = started;
  return { ...site, dataDir, listen, registry: { ...site.registry, ...served } };
}

/** The keys of a site file that say something else than when the agent started, and don't count yet. */
export function changedSinceStart(site: StartedSite, started: StartedSite): readonly string[] {
  return Object.entries(UNTIL_RESTART)
    .filter(([, read]) => JSON.stringify(read(site)) !== JSON.stringify(read(started)))
    .map(([key]) => key);
}
