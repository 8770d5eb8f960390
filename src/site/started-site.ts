import type { Site } from "#profile";

/**
 * What of a site file counts from one start of the agent to the next: its doors stay where they are, for
 * people, nodes and mirrors know them there.
 */
const UNTIL_RESTART: Readonly<Record<string, (site: Site) => unknown>> = {
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

/** A site as it is meant now, served as it was when the agent started. */
export function asStarted(site: Site, started: Site): Site {
  const { listen, address, tls, htpasswd, pushers, anonymousPull } = started.registry;
  const served = { listen, address, tls, htpasswd, pushers, anonymousPull };
  const { dataDir } = started;
  return { ...site, dataDir, listen, registry: { ...site.registry, ...served } };
}

/** The keys of a site file that say something else than when the agent started, and don't count yet. */
export function changedSinceStart(site: Site, started: Site): readonly string[] {
  return Object.entries(UNTIL_RESTART)
    .filter(([, read]) => JSON.stringify(read(site)) !== JSON.stringify(read(started)))
    .map(([key]) => key);
}
